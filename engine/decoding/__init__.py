"""Token generation, with constant or progressively lower ranks."""
