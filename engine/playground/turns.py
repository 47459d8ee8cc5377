"""Threads that run one at a time, token by token, so that both models' times are their own."""

from __future__ import annotations

import time
from collections import deque
from threading import Condition
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Turns:
    """A lock that is given in the order in which it was asked for."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._line: deque[object] = deque()

    def take(self) -> None:
        """Return when everybody who asked before has given the turn back."""
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            self._changed.wait_for(lambda: self._line[0] is ticket)

    def give(self) -> None:
        """Let the next one run."""
        with self._changed:
            self._line.popleft()
            self._changed.notify_all()


class Runner:
    """One thread's part in the turns, and a clock that stands still while others have theirs."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._waited = 0.0

    def __enter__(self) -> Self:
        self._turns.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._turns.give()

    def let_others(self) -> None:
        """Give everybody who waits one turn."""
        begun = time.monotonic()
        self._turns.give()
        self._turns.take()
        self._waited += time.monotonic() - begun

    def clock(self) -> float:
        """Return seconds in which it was this thread's turn, from an arbitrary start."""
        return time.monotonic() - self._waited
