"""Run many small decompositions side by side instead of one after another on all cores."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def single_threaded_workers(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool with one worker per core, each with one arithmetic thread; one worker on a GPU.

    A factorisation of a few hundred rows gains nothing from a second thread, two of them side by side do.
    """
    threads = torch.get_num_threads()
    workers = threads if device.type == "cpu" else 1
    try:
        with ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(1)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
