"""What a nat promised for widths counts beside one promised for ranks, as two compressed models show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.errors import InfeasibleBudgetError
from engine.evaluation.perplexity import measure, take_reference
from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.cost import cost_of
from engine.pipeline.layerwise import dense_by_layer
from engine.pipeline.reading.analyses import curves_by_metric
from engine.results.words import percent
from engine.types import RANK_FORMATS, Budget, Format, Metric

if TYPE_CHECKING:
    import torch

    from engine.pipeline.opened import OpenedAnalysis
    from engine.progress import Report
    from engine.specs import EvaluationSpec

N_SEQUENCES: Final = 4
"""Of the calibration text, from its beginning."""
_KEPT: Final = 0.7
_VISIBLE_NATS: Final = 0.02
"""Below this two thousand tokens say little."""
_LARGEST: Final = 4.0


def weigh_widths(opened: OpenedAnalysis, tokens: torch.Tensor, spec: EvaluationSpec, report: Report) -> float:
    """Return measured over predicted nats of a map of widths alone, over the same of a map of ranks alone.

    The second order promises too little for ranks and too much for widths, or the other way round, depending on the
    model, so that a budget spent on raw nats would take too few widths or too many.

    Args:
        opened: an analysis whose widths are not weighed yet, with its model.
        tokens: (n_sequences, length) from the calibration text.
        spec: how models are measured.
        report: told of the runs.

    Returns:
        Between 1/4 and 4, to two decimals; 1 where there are no widths, where they alone do not save enough, and where
        the damage is too small to be seen.
    """
    analysis = opened.analysis
    if not any(mlp.name in analysis.nats.get(Metric.LOSS, {}) for mlp in analysis.inventory.mlps):
        return 1.0
    curves, budget = curves_by_metric(analysis), Budget.of_kept_fraction(_KEPT, analysis.inventory.compressible_params)
    try:
        maps = [
            allocate_rank_map(analysis, curves, "water-filling", budget, Request(formats=formats))
            for formats in (frozenset({Format.WIDTH}), RANK_FORMATS)
        ]
    except InfeasibleBudgetError:
        return 1.0
    predicted = [cost_of(analysis, one).nats for one in maps]
    if min(predicted) < _VISIBLE_NATS:
        return 1.0
    dense = opened.dense
    reference = take_reference(dense.module if dense.weights is None else dense_by_layer(dense), tokens, spec, report)
    measured = []
    for name, one in zip(("widths", "ranks"), maps, strict=True):
        report("pilot", None, f"Weighing widths: {name} alone, {percent(_KEPT)} kept")
        found = measure(opened.runnable(one), tokens, reference, spec, report)
        measured.append(found.nll - found.dense_nll)
    if min(measured) < _VISIBLE_NATS:
        return 1.0
    of_widths, of_ranks = (found / promised for found, promised in zip(measured, predicted, strict=True))
    return round(min(max(of_widths / of_ranks, 1 / _LARGEST), _LARGEST), 2)
