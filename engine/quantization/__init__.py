"""Weights rounded to 8 or 4 bits: what that does to a model is measured, what it takes is counted."""
