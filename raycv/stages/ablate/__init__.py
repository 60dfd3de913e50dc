"""What becomes of a network without a group of its units."""
