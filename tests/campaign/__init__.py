"""Campaigns of wrong input, kills and load against the whole program; run them with ``make campaign``."""
