"""Networks trained in conditions that share more or less, and what makes them converge."""
