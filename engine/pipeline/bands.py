"""Bands of neighbouring decoder layers, which are compressed together to see what nats count there; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FIFTHS: Final = 5


def bands_of(n_layers: int) -> list[NDArray[np.int64]]:
    """Return fifths of the layers, the last of them in halves: what widths cost rises steeply there."""
    *first, last = np.array_split(np.arange(n_layers), min(_FIFTHS, max(n_layers, 1)))
    return [*first, *(half for half in np.array_split(last, 2) if len(half))]
