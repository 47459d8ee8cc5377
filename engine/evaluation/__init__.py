"""Measurements of a model, always beside the dense one on the same data."""

from engine.evaluation.perplexity import DenseReference, Measurement, measure, take_reference

__all__ = ["DenseReference", "Measurement", "measure", "take_reference"]
