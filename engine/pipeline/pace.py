"""How fast this machine is at what an analysis consists of, measured in a moment."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from engine.model.module import device_for_float64

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.pipeline.plan import Work

_ROWS: Final = 1024
_LEAST_WIDTH: Final = 64
_EIGEN_SIDES: Final = (256, 576)
_REPETITIONS: Final = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """Measured rates.

    Attributes:
        pass_flops: per second, of products in the type of the passes.
        single_flops: per second, of products in float32.
        eigen_cubes: n^3 per second, of eigendecompositions of n rows in float64 on one thread.
    """

    pass_flops: float
    single_flops: float
    eigen_cubes: float

    def seconds(self, work: Work, n_workers: int) -> float:
        """Return about what some work takes, with ``n_workers`` decompositions side by side."""
        return (
            work.pass_flops / self.pass_flops
            + work.single_flops / self.single_flops
            + work.eigen_cubes / self.eigen_cubes / n_workers
        )


def measure_pace(dtype: torch.dtype, device: torch.device, width: int) -> Pace:
    """Time products of a model's width in two types, and an eigendecomposition of that many rows or a few hundred."""
    width = max(width, _LEAST_WIDTH)
    states, moments = (torch.ones(_ROWS, width, dtype=of, device=device) for of in (dtype, torch.float32))
    weight = torch.ones(width, width, dtype=dtype, device=device)
    side = min(max(width, _EIGEN_SIDES[0]), _EIGEN_SIDES[1])
    symmetric = torch.randn(side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    symmetric = (symmetric + symmetric.T).to(device_for_float64(device))
    flops = 2 * _ROWS * width**2
    return Pace(
        flops / _least_seconds(lambda: states @ weight),
        flops / _least_seconds(lambda: moments.T @ moments),
        side**3 / _on_one_thread(lambda: _least_seconds(lambda: torch.linalg.eigh(symmetric)[0])),
    )


def _on_one_thread(timed: Callable[[], float]) -> float:
    """Time what runs on one thread of each of several workers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return timed()
    finally:
        torch.set_num_threads(threads)


def _least_seconds(work: Callable[[], torch.Tensor]) -> float:
    seconds = []
    for _ in range(_REPETITIONS):
        begun = time.perf_counter()
        work().flatten()[0].item()  # waits for a device that works on its own
        seconds.append(time.perf_counter() - begun)
    return min(seconds)
