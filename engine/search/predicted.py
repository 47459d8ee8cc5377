"""The search space's best maps as predictions have them, of every size at once; free of torch and Optuna.

The predicted increase of a map is a sum over its projections, so nothing has to be sampled: the front of two variables
together is what is best among the sums of their own, and the variables are merged one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from engine.allocation import PredictedMaps
from engine.errors import NumericalError
from engine.search.space import LOWEST, SearchSpace, SpaceSpec
from engine.types import Budget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from engine.search.space import Variable
    from engine.types import Inventory, Projection

    Curves = Mapping[str, NDArray[np.float64]]

MOST_MAPS: Final = 512
"""So many maps at most are kept, about evenly spaced in size."""

_MOST_MERGED: Final = 8 * MOST_MAPS

_FEWEST_RANKS: Final = 32
"""Ranks are multiples of what a search takes, or of less where the widest projection would have fewer of them."""


def search_predictions(inventory: Inventory, curves: Curves) -> PredictedMaps:
    """Return the best map of every size, from the smallest of the search space to the dense model.

    Args:
        inventory: of the model.
        curves: projection name -> predicted increase at every rank, nats per token.

    Raises:
        NumericalError: a curve is not finite.
    """
    widest = max(min(p.in_features, p.out_features) for p in inventory.projections)
    step = min(SpaceSpec().rank_step, max(widest // _FEWEST_RANKS, 1))
    space = SearchSpace.of(inventory, SpaceSpec(rank_step=step))
    levels, front = _searched(space, curves)
    front = front.thinned(MOST_MAPS)
    ranks = np.zeros((len(front.params), 1), dtype=np.int64)  # the first column is of what always stays dense
    columns = dict.fromkeys((p.name for p in inventory.projections), 0)
    for each, chosen in zip(levels, front.choices.T, strict=True):
        for name, shape in each.shapes.items():
            columns[name] = ranks.shape[1] + shape
        ranks = np.hstack([ranks, each.ranks[chosen]])
    factored = [(curves[name], column) for name, column in columns.items() if column]
    return PredictedMaps(
        projections=tuple(columns),
        columns=tuple(columns.values()),
        ranks=tuple(map(tuple, ranks.tolist())),
        params=tuple(front.params.tolist()),
        nats=tuple(sum(float(curve[row[c]]) for curve, c in factored if row[c]) for row in ranks.tolist()),
    )


def best_predicted_point(space: SearchSpace, curves: Curves, kept_fraction: float) -> dict[str, float] | None:
    """Return the point with the least predicted increase that keeps at most ``kept_fraction``, or ``None``.

    Raises:
        NumericalError: a curve is not finite.
    """
    levels, front = _searched(space, curves)
    budget = Budget.of_kept_fraction(kept_fraction, space.inventory.compressible_params)
    place = int(np.searchsorted(front.params, budget.params, side="right")) - 1
    if place < 0:
        return None
    chosen = zip(space.variables, levels, front.choices[place], strict=True)
    return {variable.name: each.cuts[choice] for variable, each, choice in chosen}


def _searched(space: SearchSpace, curves: Curves) -> tuple[list[_Levels], _Front]:
    levels = [_Levels.of(space, variable, curves) for variable in space.variables]
    fixed = space.inventory.compressible_params - sum(variable.params for variable in space.variables)
    front = _Front(np.array([fixed]), np.zeros(1), np.empty((1, 0), dtype=np.int64))
    for each in levels:
        front = front.merged(each).thinned(_MOST_MERGED)
    return levels, front


@dataclass(frozen=True, slots=True, eq=False)
class _Levels:
    """What a variable can mean, from its smallest fraction to dense.

    Attributes:
        cuts: (n,) the smallest fractions that mean it.
        shapes: projection name -> its column of ``ranks``.
        ranks: (n, shapes); 0 is dense.
        params: (n,) of all its projections.
        nats: (n,) of all its projections.
    """

    cuts: Sequence[float]
    shapes: Mapping[str, int]
    ranks: NDArray[np.int64]
    params: NDArray[np.int64]
    nats: NDArray[np.float64]

    @classmethod
    def of(cls, space: SearchSpace, variable: Variable, curves: Curves) -> _Levels:
        by_shape: dict[tuple[int, int, int], list[Projection]] = {}
        for p in variable.projections:
            by_shape.setdefault((p.in_features, p.out_features, p.matrices), []).append(p)
        step = space.spec.rank_step
        cuts = {LOWEST, 1.0}
        for width, height, _ in by_shape:
            saving = range(step, width * height // (width + height) + 1, step)
            cuts |= {max(rank * (width + height) / (width * height), LOWEST) for rank in saving}
        ordered = sorted(cuts)
        ranks = np.array(
            [[space.decide(members[0], cut).rank or 0 for members in by_shape.values()] for cut in ordered]
        )
        params, nats = np.zeros(len(ordered), dtype=np.int64), np.zeros(len(ordered))
        for column, ((width, height, count), members) in zip(ranks.T, by_shape.items(), strict=True):
            params += len(members) * count * np.where(column > 0, column * (width + height), width * height)
            for projection in members:
                nats += np.where(column > 0, curves[projection.name][column], 0.0)
        if not np.isfinite(nats).all():
            raise NumericalError(
                f"A distortion curve of {variable.name} is not finite; expected finite nats, so analyse the model "
                "again."
            )
        return cls(ordered, {p.name: i for i, of in enumerate(by_shape.values()) for p in of}, ranks, params, nats)


@dataclass(frozen=True, slots=True, eq=False)
class _Front:
    """What no other choice beats in both size and prediction, smallest first.

    Attributes:
        params: (n,) ascending.
        nats: (n,) descending.
        choices: (n, variables so far) the level of each.
    """

    params: NDArray[np.int64]
    nats: NDArray[np.float64]
    choices: NDArray[np.int64]

    def merged(self, levels: _Levels) -> _Front:
        """Return the front with one variable more."""
        params, nats = np.add.outer(self.params, levels.params).ravel(), np.add.outer(self.nats, levels.nats).ravel()
        order = np.lexsort((nats, params))
        least = np.minimum.accumulate(nats[order])
        best = order[np.flatnonzero(np.diff(least, prepend=np.inf) < 0)]
        before, level = np.divmod(best, len(levels.params))
        return _Front(params[best], nats[best], np.hstack([self.choices[before], level[:, None]]))

    def thinned(self, most: int) -> _Front:
        """Return at most so many of its points: of every part of the range of sizes the last, and the first of all."""
        if len(self.params) <= most:
            return self
        first, last = int(self.params[0]), int(self.params[-1])
        part = (self.params - first) * (most - 1) // (last - first + 1)
        kept = np.flatnonzero(np.diff(part, append=most))
        kept = np.unique(np.append(0, kept))
        return _Front(self.params[kept], self.nats[kept], self.choices[kept])
