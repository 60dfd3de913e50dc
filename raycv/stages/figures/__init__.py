"""All figures of a run, as every stage plans them."""
