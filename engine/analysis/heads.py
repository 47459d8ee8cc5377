"""What single attention heads hold of a projection that is cut as a whole; numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from engine.types import Projection


@dataclass(frozen=True, slots=True)
class HeadLayout:
    """How attention divides the outputs of q, k and v, and the inputs of o.

    Attributes:
        n_queries: heads of q and of o.
        n_keys: heads of k and of v; fewer where several query heads read the same keys.
        size: outputs of one head.
    """

    n_queries: int
    n_keys: int
    size: int

    def count(self, projection: Projection) -> int | None:
        """Return how many heads the outputs, or of o the inputs, are divided into; ``None``: they are not."""
        number = {"q": self.n_queries, "k": self.n_keys, "v": self.n_keys, "o": self.n_queries}.get(projection.kind)
        width = projection.in_features if divides_inputs(projection) else projection.out_features
        return number if number is not None and number * self.size == width else None

    def keys_of(self, query: int) -> int:
        """Return the key head that a query head reads."""
        return query * self.n_keys // self.n_queries


def divides_inputs(projection: Projection) -> bool:
    """Whether heads divide what a projection reads, not what it computes."""
    return projection.kind == "o"


def layout_of(config: Mapping[str, object]) -> HeadLayout | None:
    """Return the layout that a transformers configuration describes; ``None`` where it names no heads."""
    inner = config.get("text_config")
    values = inner if isinstance(inner, dict) else config
    number, width = values.get("num_attention_heads"), values.get("hidden_size")
    if not isinstance(number, int) or not isinstance(width, int) or number < 1:
        return None
    keys, size = values.get("num_key_value_heads"), values.get("head_dim")
    n_keys = keys if isinstance(keys, int) and keys > 0 else number
    return HeadLayout(number, n_keys, size if isinstance(size, int) else width // number)


@dataclass(frozen=True, slots=True)
class HeadSpectra:
    """The heads of one projection, in the metric it was decomposed in.

    Attributes:
        directions: (heads, k) energy of every head in every singular direction of the whole projection.
        energies: (heads, size) squared singular values of every head by itself, descending.
    """

    directions: NDArray[np.float64]
    energies: NDArray[np.float64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """(heads,) of the energy of all heads."""
        totals: NDArray[np.float64] = self.directions.sum(axis=1)
        return totals / max(float(totals.sum()), np.finfo(np.float64).tiny)

    def lost(self, rank: int) -> NDArray[np.float64]:
        """Return (heads,) the share of its own energy that every head loses where the projection is cut to a rank."""
        totals = np.maximum(self.directions.sum(axis=1), np.finfo(np.float64).tiny)
        lost: NDArray[np.float64] = self.directions[:, rank:].sum(axis=1) / totals
        return lost


def head_spectra(
    basis: NDArray[np.floating], dual: NDArray[np.floating] | None, energies: NDArray[np.float64], n_heads: int
) -> HeadSpectra:
    """Divide the left factor of a decomposition by the rows of heads.

    The right singular vectors are orthonormal, so that the rows of a head in ``basis * sigma`` have the singular
    values of the head's own weights in the metric of the inputs. Where outputs are weighted, the block of a head in
    that metric weighs its rows; what two heads have in common counts for neither. Heads that divide the inputs are
    those of the transposed weight: then ``dual.T`` is the basis, and ``basis.T`` the dual.

    Args:
        basis: (out, k), the map out of the truncated space.
        dual: (k, out), the map into it; ``None``: ``basis`` is orthonormal, and outputs are not weighted.
        energies: (k,) squared singular values of the projection.
        n_heads: that divide ``out``.
    """
    size = len(basis) // n_heads
    directions, own = [], []
    for head in range(n_heads):
        rows = slice(head * size, (head + 1) * size)
        left = basis[rows].astype(np.float64)
        if dual is not None:
            into = dual[:, rows].astype(np.float64)
            left = np.linalg.cholesky(into.T @ into).T @ left
        in_directions = left**2 * energies
        directions.append(in_directions.sum(axis=0))
        own.append(np.linalg.eigvalsh((left * energies) @ left.T)[::-1].clip(min=0))
    return HeadSpectra(np.stack(directions), np.stack(own))
