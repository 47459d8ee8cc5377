"""Compressed models as folders that transformers opens by itself."""
