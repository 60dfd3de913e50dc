"""Pure functions on arrays: they know nothing of Ray, of files or of where activations came from."""
