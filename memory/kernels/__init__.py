"""Attention over the rows of a memory; one file per way to compute it."""
