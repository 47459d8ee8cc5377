"""A compressed model as an ONNX graph with a cache, and what runs it without torch."""
