"""Spectra: singular values of every block."""
