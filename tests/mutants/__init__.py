"""Central lines of the product, each broken in one way that the tests have to notice."""
