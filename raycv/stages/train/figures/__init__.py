"""Figures of this stage: `plan` says which a run gets, the drawings are beside it."""
