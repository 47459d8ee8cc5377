"""Modules that run the storage formats in place of a linear module.

An exported model carries this file as it is: it imports nothing but torch.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence


def linear_of(weight: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Linear:
    """Return an ordinary linear module, as quantisers look for, around a weight (out, in) that is not copied."""
    linear = nn.Linear(1, 1, bias=bias is not None, device="meta")
    linear.out_features, linear.in_features = weight.shape
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear


class LowRankInner(nn.Module):
    """z = right x.

    Args:
        right: (r, in).
    """

    def __init__(self, right: torch.Tensor) -> None:
        super().__init__()
        self.right = linear_of(right)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., in) to (..., r)."""
        z: torch.Tensor = self.right(x)
        return z


class SkipInner(nn.Module):
    """z = x1 + mix x2, where x1 and x2 are the kept and the mixed columns of x.

    Args:
        mix: (r, in - r).
        columns: (in,) order of the input columns, kept ones first.
    """

    columns: torch.Tensor

    def __init__(self, mix: torch.Tensor, columns: torch.Tensor) -> None:
        super().__init__()
        self.mix = linear_of(mix)
        self.register_buffer("columns", columns.to(torch.int32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., in) to (..., r)."""
        rank = self.mix.out_features
        ordered = x.gather(-1, self.columns.long().expand_as(x))  # index_select is 9 to 30 times slower on a CPU
        z: torch.Tensor = ordered[..., :rank] + self.mix(ordered[..., rank:])
        return z


@dataclass(slots=True)
class _Remembered:
    x: weakref.ref[torch.Tensor]
    state: tuple[object, ...]
    z: torch.Tensor
    readers_left: int


class SharedInner(nn.Module):
    """An inner factor computed once for all projections of an input group.

    The result is kept from the first member's call to the last one's, per thread, and only for the very
    tensor object it was computed from, unchanged since, at the same rank and in the same gradient and autocast
    mode. Inference tensors do not count their changes, so theirs are not noticed. ``torch.compile`` shares
    while it traces: its graph holds the inner factor once.

    Args:
        inner: the wrapped inner factor.
        n_readers: projections that read its result in every forward pass.
    """

    def __init__(self, inner: nn.Module, n_readers: int) -> None:
        super().__init__()
        self.inner = inner
        self.n_readers = n_readers
        self._remembered: dict[int, _Remembered] = {}
        self._traced: tuple[torch.Tensor, torch.Tensor, int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles start with nothing remembered."""
        return {**self.__dict__, "_remembered": {}, "_traced": None}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., in) to (..., r)."""
        if torch.compiler.is_compiling():
            return self._trace(x)
        thread = threading.get_ident()
        rank = getattr(self.inner, "active_rank", None)
        state = (_version(x), rank, *_modes(x.device.type), *(_version(p) for p in self.inner.parameters()))
        known = self._remembered.pop(thread, None)
        if known is not None and known.x() is x and known.state == state:
            known.readers_left -= 1
            z = known.z
        else:
            z = self.inner(x)
            known = _Remembered(weakref.ref(x), state, z, self.n_readers - 1)
        if known.readers_left > 0:
            self._remembered[thread] = known
        return z

    def _trace(self, x: torch.Tensor) -> torch.Tensor:
        """Do the same in terms a compiler can follow; nothing outlives the trace of the last reader."""
        if self._traced is not None and self._traced[0] is x:
            _, z, readers_left = self._traced
        else:
            z, readers_left = self.inner(x), self.n_readers
        self._traced = (x, z, readers_left - 1) if readers_left > 1 else None
        return z


def _version(tensor: torch.Tensor) -> int:
    """Return the count of in-place changes; inference tensors have none."""
    return 0 if tensor.is_inference() else tensor._version


def _modes(device_type: str) -> tuple[object, ...]:
    """Return what decides, besides its arguments, what an operation's result is."""
    autocast = torch.is_autocast_enabled(device_type)
    dtype = torch.get_autocast_dtype(device_type) if autocast else None
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), dtype


class FactoredLinear(nn.Module):
    """y = left z + bias, with z from an inner factor.

    Args:
        inner: LowRankInner, SkipInner, or a SharedInner around one.
        left: (out, r).
        bias: (out,) or ``None``.
        lists_inner: whether the inner factor is listed under this module, as it is under one of its readers; it
            moves, is saved and is loaded with that one.
    """

    inner: nn.Module

    def __init__(
        self, inner: nn.Module, left: torch.Tensor, bias: torch.Tensor | None, *, lists_inner: bool = True
    ) -> None:
        super().__init__()
        self.left = linear_of(left, bias)
        if lists_inner:
            self.inner = inner
        else:
            self.__dict__["inner"] = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., in) to (..., out)."""
        y: torch.Tensor = self.left(self.inner(x))
        return y


class NarrowedLinear(nn.Linear):
    """A linear module of an MLP with fewer neurons: an ordinary one, and known as compressed by its class.

    Args:
        weight: (out, in); neither copied nor initialised.
        bias: (out,) or ``None``.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
        self.weight = nn.Parameter(weight, requires_grad=False)
        if bias is not None:
            self.bias = nn.Parameter(bias, requires_grad=False)


def factored_group(
    inner: nn.Module, lefts: Sequence[torch.Tensor], biases: Sequence[torch.Tensor | None]
) -> list[FactoredLinear]:
    """Return the projections that read one inner factor, listed under the first of them.

    Args:
        inner: LowRankInner or SkipInner; computed once for all of them.
        lefts: (out, r) of every projection, in the order they run.
        biases: (out,) of every projection, or ``None``.
    """
    shared = SharedInner(inner, len(lefts)) if len(lefts) > 1 else inner
    return [
        FactoredLinear(shared, left, bias, lists_inner=index == 0)
        for index, (left, bias) in enumerate(zip(lefts, biases, strict=True))
    ]
