"""What an operator sees of a run: each stage with its state, progress, size and last error."""
