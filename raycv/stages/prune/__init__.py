"""Which units can be removed."""
