"""Figures of this stage: `plan` decides which ones a run gets; the other modules draw them."""
