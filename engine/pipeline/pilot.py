"""What a nat promised for ranks, and one for widths, counts at every depth, as compressed parts of the model show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from engine.errors import InfeasibleBudgetError, UnstreamableError
from engine.evaluation.perplexity import measure, take_reference
from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.cost import cost_of
from engine.pipeline.bands import bands_of
from engine.pipeline.layerwise import dense_by_layer
from engine.pipeline.reading.analyses import analysis_spec, curves_by_metric
from engine.types import RANK_FORMATS, Budget, Format, Metric

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from engine.analysis.value import Analysis
    from engine.evaluation.perplexity import DenseReference
    from engine.evaluation.streamed import Start
    from engine.model.opening import OpenModel
    from engine.pipeline.opened import OpenedAnalysis
    from engine.progress import Report
    from engine.rank_map.document import RankMap
    from engine.specs import EvaluationSpec

_KEPT: Final = 0.7
_VISIBLE_NATS: Final = 0.005
"""Below this two thousand tokens say little."""
_SUPPOSED_NATS: Final = 0.02
"""Bands that were hardly cut say little of what cutting more costs there."""
_LARGEST: Final = 4.0
"""Relative to all depths together."""


@dataclass(frozen=True, slots=True)
class DepthWeights:
    """What promised nats count, by decoder layer in model order: those of ranks and those of widths."""

    ranks: tuple[float, ...]
    widths: tuple[float, ...]


def weigh_depths(opened: OpenedAnalysis, tokens: torch.Tensor, spec: EvaluationSpec, report: Report) -> DepthWeights:
    """Return measured over predicted nats of every depth.

    The second order promises too little for the last layers and too much for those in the middle, and errs differently
    for ranks and for widths, so that a budget spent on raw nats would cut in the wrong places. Bands of layers are
    compressed one at a time, by ranks alone and by widths alone; between the middles of bands weights change evenly in
    their logarithm.

    Args:
        opened: an analysis that is not weighed yet, with its model.
        tokens: (n_sequences, length) that the analysis has not read, where there are such.
        spec: how models are measured.
        report: told of the runs.

    Returns:
        Weights, to three digits and within a factor of four of that of all depths together; near it where little is
        cut, and 1 where nothing is seen.
    """
    analysis = opened.analysis
    layers = sorted({group.layer for group in analysis.inventory.groups})
    bands = bands_of(len(layers))
    kinds = {"ranks": RANK_FORMATS, "widths": frozenset({Format.WIDTH})}
    is_known = Metric.LOSS in analysis.nats
    maps = {kind: _map_of(analysis, formats) for kind, formats in kinds.items() if is_known}
    parts = {
        (kind, place): _within(one, analysis, {layers[i] for i in band})
        for kind, one in maps.items()
        if one is not None
        for place, band in enumerate(bands)
    }
    predicted = {part: nats for part, one in parts.items() if (nats := cost_of(analysis, one).nats) > _VISIBLE_NATS}
    measured = _increases(opened, {part: parts[part] for part in predicted}, tokens, spec, report) if predicted else {}
    if not any(measured.values()):
        return DepthWeights((1.0,) * len(layers), (1.0,) * len(layers))
    common = sum(measured.values()) / sum(predicted.values())

    def by_layer(kind: str) -> tuple[float, ...]:
        alike = [part for part in predicted if part[0] == kind] or list(predicted)
        usual = sum(measured[part] for part in alike) / sum(predicted[part] for part in alike)
        asked = [(kind, place) for place in range(len(bands))]
        found = np.array([(measured.get(part, 0.0), predicted.get(part, 0.0)) for part in asked])
        weights = (found[:, 0] + _SUPPOSED_NATS * usual) / (found[:, 1] + _SUPPOSED_NATS)
        logarithms = np.log(np.clip(weights, common / _LARGEST, common * _LARGEST))
        of_layers = np.exp(np.interp(np.arange(len(layers)), [band.mean() for band in bands], logarithms))
        return tuple(float(f"{weight:.3g}") for weight in of_layers)

    return DepthWeights(by_layer("ranks"), by_layer("widths"))


def _map_of(analysis: Analysis, formats: Collection[Format]) -> RankMap | None:
    """Return what water-filling makes of the model with some formats; ``None``: they alone do not save enough."""
    budget = Budget.of_kept_fraction(_KEPT, analysis.inventory.compressible_params)
    request = Request(formats=frozenset(formats))
    try:
        return allocate_rank_map(analysis, curves_by_metric(analysis), "water-filling", budget, request)
    except InfeasibleBudgetError:
        return None


def _within(rank_map: RankMap, analysis: Analysis, layers: Collection[int]) -> RankMap:
    """Return a map without the blocks of other layers, which stay dense."""
    return replace(
        rank_map, blocks=tuple(b for b in rank_map.blocks if analysis.projections[b.members[0]].layer in layers)
    )


def _increases(
    opened: OpenedAnalysis,
    parts: Mapping[tuple[str, int], RankMap],
    tokens: torch.Tensor,
    spec: EvaluationSpec,
    report: Report,
) -> dict[tuple[str, int], float]:
    """Return the increase of the loss under every map, measured in the analysis's type.

    Where layers can run one at a time, runs begin with the first that a map changes. How the increases compare is that
    of the divergences from the dense model, which vary less from text to text.
    """
    found = {}
    dtype = getattr(torch, analysis_spec(opened.analysis).calibration.compute_dtype)
    first = {
        part: min(opened.analysis.projections[b.members[0]].layer for b in one.blocks) for part, one in parts.items()
    }
    reference, starts = _dense_run(opened.dense, set(first.values()), tokens, spec, report, dtype)
    for done, (part, one) in enumerate(parts.items()):
        report("pilot", done / len(parts), f"Weighing depths: part {done + 1} of {len(parts)}, {part[0]} alone")
        module = opened.continued(one, starts[first[part]]) if starts else opened.module(one)
        found[part] = measure(module, tokens, reference, spec, report, dtype)
    divergence = sum(each.divergence for each in found.values())
    increase = max(sum(each.nll - each.dense_nll for each in found.values()), divergence / 2)
    share = increase / divergence if divergence > 0 else 0.0
    return {part: each.divergence * share for part, each in found.items()}


def _dense_run(
    dense: OpenModel,
    layers: Collection[int],
    tokens: torch.Tensor,
    spec: EvaluationSpec,
    report: Report,
    dtype: torch.dtype,
) -> tuple[DenseReference, Mapping[int, Start]]:
    """Return what the dense model predicts, and where runs that begin with ``layers`` can, if any can at all."""
    by_layer = dense_by_layer(dense, keep=layers)
    try:
        return take_reference(by_layer, tokens, spec, report, dtype), by_layer.starts
    except UnstreamableError:
        if dense.weights is not None:
            raise
        return take_reference(dense.module, tokens, spec, report, dtype), {}
