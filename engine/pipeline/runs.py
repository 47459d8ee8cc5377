"""Runs of calibration sequences: what statistics are summed over, stored and shared out by."""

from __future__ import annotations

from typing import Final, NamedTuple

RUN_LENGTH: Final = 64
"""Sequences of a run; the sums of longer texts are those of their runs, added in order."""


class Run(NamedTuple):
    """The sequences ``first`` up to, without, ``stop``."""

    first: int
    stop: int


def runs_of(n_sequences: int) -> tuple[Run, ...]:
    """Return the runs of a text; all but the last have the same length, so that a longer text begins with them."""
    return tuple(Run(first, min(first + RUN_LENGTH, n_sequences)) for first in range(0, n_sequences, RUN_LENGTH))
