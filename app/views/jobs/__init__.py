"""Jobs: what waits, runs and ran."""
