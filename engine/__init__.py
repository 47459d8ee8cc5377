"""The stages from a model to a measured compressed one; see ``engine.pipeline`` for how they meet."""

import os

# Read once, when torch loads GNU's OpenMP: its threads wait for each other by spinning for milliseconds, which makes
# passes two to three times as long where another program needs a core.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
