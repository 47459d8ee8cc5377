"""Measure what this machine's processor reads and multiplies, and what every operation takes besides."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np
import psutil
import torch
from torch import nn
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
_SMALL, _MANY = 16, 200
"""Side of a weight whose product takes no longer than starting it, and how many are timed together."""


def measure_this_machine() -> dict[str, Device]:
    """Return this machine as it computes in each type; takes some seconds, and other programs falsify it."""
    return {dtype: _measure(dtype) for dtype in MEASURED_TYPES}


@torch.inference_mode()
def _measure(dtype: str) -> Device:
    kind: torch.dtype = getattr(torch, dtype)
    threads = torch.get_num_threads()
    weight, rows = torch.randn(_COMPUTING).to(kind), torch.randn(_TOKENS, _COMPUTING[1]).to(kind)
    computing = _fastest(lambda: functional.linear(rows, weight))
    n_bytes = np.array([out * width * weight.element_size() for out, width in _SHAPES], dtype=np.float64)
    seconds = np.array([_cold_product(shape, kind) for shape in _SHAPES])
    per_byte, kernel_s = line(n_bytes, seconds, _small_product(kind))
    return Device(
        title=f"this machine, {threads} thread{'s' * (threads > 1)}, {dtype}",
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


def _small_product(kind: torch.dtype) -> float:
    """Return the seconds of a module's product that is next to nothing."""
    module, token = nn.Linear(_SMALL, _SMALL, bias=False).to(kind), torch.randn(1, _SMALL).to(kind)

    def many() -> None:
        for _ in range(_MANY):
            module(token)

    return _fastest(many) / _MANY


def line(n_bytes: NDArray[np.float64], seconds: NDArray[np.float64], least: float) -> tuple[float, float]:
    """Return slope and intercept of the line with the least relative errors whose intercept is at least ``least``.

    On a machine that is not idle a free line may start below 0, and operations would look free.
    """
    design = np.stack([n_bytes, np.ones_like(n_bytes)], axis=1) / seconds[:, None]
    _, free = np.linalg.lstsq(design, np.ones_like(seconds), rcond=None)[0]
    intercept = max(min(float(free), float(seconds.min())), least)
    weight = n_bytes / seconds
    slope = float(weight @ (1 - intercept / seconds) / (weight @ weight))
    return max(slope, 1e-15), intercept


def _fastest(run: Callable[[], object]) -> float:
    run()
    seconds = []
    for _ in range(_REPETITIONS):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)
