"""Allocation: the rank board, and what is done with its map."""
