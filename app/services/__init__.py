"""Everything views may ask for, by subject; the only use of Streamlit's caches.

Arguments are ids, names and numbers, so that a cache's key is whole. What is cached is decided by an analysis's id,
which is the fingerprint of its content, and by the names of the artifacts that grow while a job runs.
"""
