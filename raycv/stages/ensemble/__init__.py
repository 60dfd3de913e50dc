"""What several networks give together."""
