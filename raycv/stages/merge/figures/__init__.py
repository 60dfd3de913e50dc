"""Figures of merged networks."""
