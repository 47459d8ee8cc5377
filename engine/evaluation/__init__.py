"""Measurements of a model, always beside the dense one on the same data; some modules are free of torch."""
