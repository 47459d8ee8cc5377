"""Passes over the calibration text, and the second moments they leave behind."""
