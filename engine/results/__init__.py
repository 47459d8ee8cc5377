"""Measured numbers and how they are shown; free of torch."""
