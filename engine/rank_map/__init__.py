"""Rank maps: the document, its table, its identity, files and names; free of torch."""
