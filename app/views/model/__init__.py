"""Model: choose a model and a text, analyse, and see what was found."""
