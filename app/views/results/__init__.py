"""Results: everything measured with one analysis."""
