"""One folder per stage. No stage imports another: what it needs of an earlier one it reads from the run."""
