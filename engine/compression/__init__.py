"""A model under a rank map: slices of stored factors, no decomposition."""
