"""All stages of a run, in order."""
