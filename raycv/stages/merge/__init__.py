"""`raycv merge`: networks of a run merged into one."""
