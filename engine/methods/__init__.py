"""Methods offered by name, and what they answer to a target; free of torch."""
