"""Comparing networks and recorded activations in one process, without a run: `raycv.compare` and `raycv.Moments`."""
