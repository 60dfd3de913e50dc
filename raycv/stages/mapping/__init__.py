"""Units of one network predicted from a few units of another (paper, section 4)."""
