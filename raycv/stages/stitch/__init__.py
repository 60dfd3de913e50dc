"""Networks put together from two, through a mapping layer."""
