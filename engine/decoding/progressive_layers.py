"""Modules that run a prefix of their ranks, and the stage that says how long a prefix."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from engine.errors import InvalidSpecError
from engine.model.experts import grouped_product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.model.experts import ExpertStack, FactoredStack, Routing

Ranks = tuple[int | None, ...]
"""The active rank of one block by stage, never growing; ``None`` is dense."""


class ActiveStage:
    """The stage at which each thread decodes; 0 in a thread that is not generating."""

    def __init__(self) -> None:
        self._of_thread: dict[int, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles start with no thread generating."""
        return {"_of_thread": {}}

    @property
    def index(self) -> int:
        """Stage of the calling thread."""
        return self._of_thread.get(threading.get_ident(), 0)

    def advance(self, index: int) -> None:
        """Set the stage of the calling thread, which is generating."""
        self._of_thread[threading.get_ident()] = index

    @contextmanager
    def generation(self) -> Iterator[None]:
        """Start the calling thread at stage 0 and forget it at the end.

        Raises:
            InvalidSpecError: the thread is generating with this model already.
        """
        thread = threading.get_ident()
        if thread in self._of_thread:
            raise InvalidSpecError(
                "A second generation was started inside one that runs in the same thread, and their steps would mix; "
                "wait for the first to end, or start the second in another thread."
            )
        self._of_thread[thread] = 0
        try:
            yield
        finally:
            del self._of_thread[thread]


class ProgressiveInner(nn.Module):
    """z = right[:r] x - shift[:r], r being the active rank.

    Args:
        right: (R, in), so that a prefix is contiguous.
        shift: (R,) right times the offset around which the factors were taken, or ``None``.
        ranks: by stage.
        stage: shared by the whole model.
    """

    def __init__(self, right: torch.Tensor, shift: torch.Tensor | None, ranks: Ranks, stage: ActiveStage) -> None:
        super().__init__()
        self.right = nn.Parameter(right, requires_grad=False)
        self.shift = None if shift is None else nn.Parameter(-shift, requires_grad=False)
        self.ranks = ranks
        self.stage = stage

    @property
    def active_rank(self) -> int | None:
        """Rank of the calling thread's stage; ``None`` is dense."""
        return self.ranks[self.stage.index]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., in) to (..., r)."""
        rank = self.active_rank
        return functional.linear(x, self.right[:rank], None if self.shift is None else self.shift[:rank])


class ProgressiveLinear(nn.Module):
    """y = left[:, :r] z + bias at the active rank r, or the dense module where a stage says so.

    Args:
        inner: a ProgressiveInner, or a SharedInner around one.
        left_transposed: (R, out), so that a prefix of ranks is contiguous.
        bias: (out,) or ``None``.
        dense: the module it replaces; ``None`` if no stage is dense.
        ranks: by stage.
        stage: shared by the whole model.
    """

    def __init__(
        self,
        inner: nn.Module,
        left_transposed: torch.Tensor,
        bias: torch.Tensor | None,
        dense: nn.Module | None,
        ranks: Ranks,
        stage: ActiveStage,
    ) -> None:
        super().__init__()
        self.inner = inner
        self.left_transposed = nn.Parameter(left_transposed, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.dense = dense
        self.ranks = ranks
        self.stage = stage

    @property
    def active_rank(self) -> int | None:
        """Rank of the calling thread's stage; ``None`` is dense."""
        return self.ranks[self.stage.index]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., in) to (..., out)."""
        rank = self.active_rank
        if rank is None:
            assert self.dense is not None
            y: torch.Tensor = self.dense(x)
            return y
        return functional.linear(self.inner(x), self.left_transposed[:rank].T, self.bias)


class ProgressiveStack(nn.Module):
    """y = left_e[:, :r] right_e[:r] x for the rows of every expert e at the active rank r, or the dense stack.

    Args:
        largest: the stack at the largest rank of any stage.
        dense: the stack it replaces; ``None`` if no stage is dense.
        ranks: by stage.
        stage: shared by the whole model.
    """

    def __init__(self, largest: FactoredStack, dense: ExpertStack | None, ranks: Ranks, stage: ActiveStage) -> None:
        super().__init__()
        self.largest = largest
        self.dense = dense
        self.ranks = ranks
        self.stage = stage

    @property
    def active_rank(self) -> int | None:
        """Rank of the calling thread's stage; ``None`` is dense."""
        return self.ranks[self.stage.index]

    def forward(self, rows: torch.Tensor, routing: Routing) -> torch.Tensor:
        """Map (rows, in) to (rows, out)."""
        rank = self.active_rank
        if rank is None:
            assert self.dense is not None
            y: torch.Tensor = self.dense(rows, routing)
            return y
        left, right = self.largest.left.weight, self.largest.right.weight
        z = grouped_product(rows, right[:, :rank], routing.ends)
        return grouped_product(z, left[..., :rank], routing.ends)
