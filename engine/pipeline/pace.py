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

_SIDE: Final = 1024
_EIGEN_SIDE: Final = 256
_REPETITIONS: Final = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """Measured rates.

    Attributes:
        pass_flops: per second, of products in the type of the passes.
        moment_flops: per second, of products in float32.
        eigen_cubes: n^3 per second, of eigendecompositions of n rows in float64.
    """

    pass_flops: float
    moment_flops: float
    eigen_cubes: float

    def seconds(self, work: Work, n_workers: int) -> float:
        """Return about what some work takes, with ``n_workers`` decompositions side by side."""
        return (
            work.pass_flops / self.pass_flops
            + work.moment_flops / self.moment_flops
            + work.eigen_cubes / self.eigen_cubes / n_workers
        )


def measure_pace(dtype: torch.dtype, device: torch.device) -> Pace:
    """Time a product in two types and a small eigendecomposition."""
    passes, moments = (torch.ones(_SIDE, _SIDE, dtype=of, device=device) for of in (dtype, torch.float32))
    symmetric = torch.randn(_EIGEN_SIDE, _EIGEN_SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    symmetric = (symmetric + symmetric.T).to(device_for_float64(device))
    flops = 2 * _SIDE**3
    return Pace(
        flops / _least_seconds(lambda: passes @ passes),
        flops / _least_seconds(lambda: moments @ moments),
        _EIGEN_SIDE**3 / _least_seconds(lambda: torch.linalg.eigh(symmetric)[0]),
    )


def _least_seconds(work: Callable[[], torch.Tensor]) -> float:
    seconds = []
    for _ in range(_REPETITIONS):
        begun = time.perf_counter()
        work().flatten()[0].item()  # waits for a device that works on its own
        seconds.append(time.perf_counter() - begun)
    return min(seconds)
