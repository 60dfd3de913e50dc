"""What a run has found, once more."""
