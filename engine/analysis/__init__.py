"""The outcome of an analysis, and the curves that follow from it; free of torch."""
