"""What each unit looks for: its top patches and what in them drives it."""
