"""Sensitivity: how much every projection matters."""
