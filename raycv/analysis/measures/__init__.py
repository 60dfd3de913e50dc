"""Measures of how similar two representations are, each from the covariances of the units of both alone."""
