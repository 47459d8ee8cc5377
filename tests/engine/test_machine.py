"""The memory of the process that a stage runs in."""

from __future__ import annotations

import sys

import psutil
import pytest

from engine.machine import return_freed_memory


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of other systems returns memory by itself")
def test_what_was_freed_goes_back_to_the_system_although_something_later_is_in_use():
    blocks = [bytearray(100_000) for _ in range(3_000)]
    last = blocks[-1]
    blocks.clear()
    kept = psutil.Process().memory_info().rss
    return_freed_memory()
    assert kept - psutil.Process().memory_info().rss > 200_000_000
    assert len(last) == 100_000
