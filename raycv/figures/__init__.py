"""Drawing, from tables alone: every function takes pandas frames and returns a matplotlib figure."""
