"""What `raycv run` would do: which stages, with how much memory, data and time."""
