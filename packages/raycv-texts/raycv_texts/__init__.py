"""Passages of nine plays of Shakespeare, as Parquet files beside this one. raycv finds them by this module."""
