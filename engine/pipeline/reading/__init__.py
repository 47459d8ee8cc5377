"""What can be answered from the store alone, without torch."""
