"""Measure what this machine's processor reads and multiplies, and what every operation takes besides."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np
import psutil
import torch
from torch.nn import functional

from engine.devices.known import MEASURED_TYPES
from engine.devices.value import Device

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_SHAPES: Final = ((192, 576), (211, 576), (576, 211), (576, 576), (333, 1536), (1536, 333), (1536, 576), (4096, 4096))
"""(out, in) of products with one token, from factors of a small model, odd ranks among them, to a large matrix."""
_COLD_BYTES: Final = 100_000_000
"""As many different weights take turns, so that no cache holds them."""
_COMPUTING: Final = (4096, 4096)
_TOKENS: Final = 256
_REPETITIONS: Final = 3


def measure_this_machine() -> dict[str, Device]:
    """Return this machine as it computes in each type; takes some seconds, and other programs falsify it."""
    return {dtype: _measure(dtype) for dtype in MEASURED_TYPES}


@torch.inference_mode()
def _measure(dtype: str) -> Device:
    kind: torch.dtype = getattr(torch, dtype)
    weight, rows = torch.randn(_COMPUTING).to(kind), torch.randn(_TOKENS, _COMPUTING[1]).to(kind)
    computing = _fastest(lambda: functional.linear(rows, weight))
    n_bytes = np.array([out * width * weight.element_size() for out, width in _SHAPES], dtype=np.float64)
    seconds = np.array([_cold_product(shape, kind) for shape in _SHAPES])
    per_byte, kernel_s = _line(n_bytes, seconds)
    return Device(
        title=f"this machine, {torch.get_num_threads()} threads, {dtype}",
        memory_bytes=float(psutil.virtual_memory().total),
        bytes_per_s=1 / per_byte,
        multiply_adds_per_s=weight.numel() * _TOKENS / computing,
        kernel_s=kernel_s,
        source="measured here",
    )


def _cold_product(shape: tuple[int, int], kind: torch.dtype) -> float:
    """Return the seconds of one token's product with a weight that is in no cache."""
    out, width = shape
    weights = torch.randn(max(_COLD_BYTES // (out * width * kind.itemsize), 2), out, width).to(kind).unbind()
    token = torch.randn(1, width).to(kind)

    def all_of_them() -> None:
        for weight in weights:
            functional.linear(token, weight)

    return _fastest(all_of_them) / len(weights)


def _line(n_bytes: NDArray[np.float64], seconds: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and intercept, both above 0, of the line with the least relative errors."""
    design = np.stack([n_bytes, np.ones_like(n_bytes)], axis=1) / seconds[:, None]
    slope, intercept = np.linalg.lstsq(design, np.ones_like(seconds), rcond=None)[0]
    least = float(seconds.min())
    return max(float(slope), 1e-15), min(max(float(intercept), 1e-9), least)


def _fastest(run: Callable[[], object]) -> float:
    run()
    seconds = []
    for _ in range(_REPETITIONS):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)
