"""What a rank map was made for, where that is no number of parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

USUAL_CONTEXT: Final = 1024
"""Tokens of a sequence in the cache, where nobody says how many."""


@dataclass(frozen=True, slots=True)
class ByteCeiling:
    """A size of the whole model.

    Attributes:
        n_bytes: at most; blocks have bits of their own.
    """

    n_bytes: int


@dataclass(frozen=True, slots=True)
class TimeCeiling:
    """The predicted time of a token.

    Attributes:
        step_s: seconds at most in which every sequence gets a token.
        device: name of the device it was predicted for.
        dtype: number type of the weights.
        batch: sequences at once.
        context: tokens of each in the cache.
    """

    step_s: float
    device: str
    dtype: str
    batch: int
    context: int


Ceiling = ByteCeiling | TimeCeiling
