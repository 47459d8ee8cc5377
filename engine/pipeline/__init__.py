"""Stages wired to the store; with ``engine.jobs`` the only place that reads and writes artifacts.

``reading`` is free of torch, so that the dashboard opens and allocates without loading it.
"""
