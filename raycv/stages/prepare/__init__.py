"""Preparing images: decoded and resized once."""
