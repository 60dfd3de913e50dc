"""Spectral clusters of two networks' units (paper, S.3)."""
