"""Playground: the dense and a compressed model answer the same prompt."""
