"""Copying the results of a run to another place."""
