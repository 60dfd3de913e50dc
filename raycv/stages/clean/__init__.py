"""Removing what stages that did not finish have left in a run."""
