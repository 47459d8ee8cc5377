"""From an analysis to the curves that allocators read, and to summaries of spectra; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.formats import max_useful_rank, uniform_rank
from engine.types import DistortionCurve, Format, GroupCurves, Importance, InputGroup, Metric, block_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.analysis.value import Analysis
    from engine.types import Mlp, Projection


def group_curves(analysis: Analysis, metric: Metric, importance: Importance = Importance.TAYLOR2) -> list[GroupCurves]:
    """Return one entry per input group, in model order.

    Args:
        analysis: what was found in the model.
        metric: what the factors are computed in.
        importance: which of FLRC's importances the curves carry.

    Raises:
        RankScopeError: the analysis stored no factors in ``metric``.
    """
    analysis.require_factors(metric)
    mlps = {mlp.down.name: mlp for mlp in analysis.inventory.mlps}
    return [
        _curves_of(group, mlps.get(group.members[0].name), analysis, metric, importance)
        for group in analysis.inventory.groups
    ]


def _curves_of(group: InputGroup, mlp: Mlp | None, analysis: Analysis, metric: Metric, mode: Importance) -> GroupCurves:
    column = list(Importance).index(mode)

    def curve(members: tuple[str, ...], out_features: int) -> DistortionCurve:
        importance = sum(float(analysis.importances[name][column]) for name in members)
        nats = analysis.nats[metric][block_name(members)]
        matrices = group.members[0].matrices
        return DistortionCurve(members, group.in_features, out_features, nats, importance, matrices)

    separate = tuple(curve((p.name,), p.out_features) for p in group.members)
    if len(separate) == 1:
        return GroupCurves(separate, None, None if mlp is None else _width_of(mlp, analysis, metric))
    return GroupCurves(separate, curve(tuple(p.name for p in group.members), group.out_features))


def _width_of(mlp: Mlp, analysis: Analysis, metric: Metric) -> DistortionCurve | None:
    nats = analysis.nats[metric].get(mlp.name)
    if nats is None:
        return None
    return DistortionCurve(tuple(p.name for p in mlp.members), mlp.neurons, mlp.params_per_neuron, nats, 0.0)


def predicted_increase(
    analysis: Analysis, projection: Projection, kept_fraction: float, metric: Metric | None = None
) -> float:
    """Return the predicted loss increase (nats per token) when one projection alone is cut, in low-rank format.

    Args:
        analysis: of the model.
        projection: that is cut.
        kept_fraction: of its parameters.
        metric: what its factors are computed in; ``None``: the analysis' default.
    """
    nats = analysis.nats[analysis.default_metric if metric is None else metric]
    return float(nats[projection.name][rank_alone(projection, kept_fraction)])


def rank_alone(projection: Projection, kept_fraction: float) -> int:
    """Return the rank at which a projection keeps a fraction of its own parameters, in low-rank format."""
    shape = projection.in_features, projection.out_features
    return max(min(uniform_rank(Format.LOW_RANK, kept_fraction, *shape), max_useful_rank(Format.LOW_RANK, *shape)), 1)


@dataclass(frozen=True, slots=True)
class SpectrumSummary:
    """One number per question about a spectrum.

    Attributes:
        effective_rank: exp of the entropy of the singular values over their sum (Roy & Vetterli 2007).
        stable_rank: total energy over the largest.
        rank_99: smallest rank holding 99 % of the energy.
        full_rank: number of singular values.
    """

    effective_rank: float
    stable_rank: float
    rank_99: int
    full_rank: int


def summarise_spectrum(energies: NDArray[np.float64]) -> SpectrumSummary:
    """Summarise sigma squared (k,), descending."""
    total = energies.sum()
    if total <= 0:
        return SpectrumSummary(0.0, 0.0, 0, len(energies))
    sigma = np.sqrt(energies[energies > 0])
    parts = sigma / sigma.sum()
    entropy = -(parts * np.log(parts)).sum()
    return SpectrumSummary(
        float(np.exp(entropy)), float(total / energies[0]), rank_at_energy(energies, 0.99), len(energies)
    )


def rank_at_energy(energies: NDArray[np.float64], fraction: float) -> int:
    """Return the smallest rank that holds a fraction of the energy; sigma squared (k,) is descending."""
    total = energies.sum()
    if total <= 0:
        return 0
    return min(int(np.searchsorted(np.cumsum(energies / total), fraction) + 1), len(energies))
