"""Training the networks of a run, or bringing in trained ones."""
