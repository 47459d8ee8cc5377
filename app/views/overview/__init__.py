"""Overview: how small can this model get, and what does that cost?"""
