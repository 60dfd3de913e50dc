"""Figures of an attribution."""
