"""Correlation and mutual information of units, and the matchings that follow from them."""
