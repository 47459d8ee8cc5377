"""Functions that ask for one typed value, or show one thing that several pages need; a module each."""
