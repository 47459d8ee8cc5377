"""Whether what is about to be loaded fits the memory that is free."""

from __future__ import annotations

import psutil

_GIB = 2.0**30


def memory_shortage(what: str, needed_bytes: float, spared_bytes: int = 0) -> str | None:
    """Say what is missing if less memory is free than needed, as the beginning of a sentence.

    Args:
        what: needs the memory, for the sentence.
        needed_bytes: at its peak.
        spared_bytes: left to everything else on the machine.
    """
    free = max(psutil.virtual_memory().available - spared_bytes, 0)
    if needed_bytes <= free:
        return None
    return (
        f"{what} needs about {needed_bytes / _GIB:.1f} GiB of memory and {free / _GIB:.1f} GiB are free: "
        "close other programs"
    )
