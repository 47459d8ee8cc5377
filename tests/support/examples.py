"""How many examples a law is tried on, in a short run and in a long one."""

from __future__ import annotations

from hypothesis import settings

LEAST, MOST = 30, 100
"""Examples in a short run."""


def examples(in_a_long_run: int) -> settings:
    """Try a law on this many examples in a long run (``make test-long``), and on about a fifteenth in a short one."""
    is_long = settings.get_current_profile_name() == "long"
    return settings(max_examples=in_a_long_run if is_long else min(MOST, max(LEAST, in_a_long_run // 15)))
