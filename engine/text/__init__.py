"""Texts as token sequences, and pairs of texts."""
