"""From a source to an opened model and the inventory of what can be compressed in it."""
