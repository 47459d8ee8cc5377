"""What rounding each kind of projection really adds, as the model with that kind alone rounded shows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from engine.evaluation.perplexity import measure, take_reference
from engine.pipeline.measure.plan import dense_map
from engine.pipeline.plan import N_SEQUENCES
from engine.pipeline.reading.analyses import analysis_spec
from engine.precision import ROUNDINGS
from engine.progress import part_of
from engine.specs import EvaluationSpec
from engine.types import BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.pipeline.opened import OpenedAnalysis
    from engine.progress import Report

_BITS: Final = min(ROUNDINGS)
"""Of the rounding that can be seen."""
_VISIBLE_NATS: Final = 0.005
"""Less than this is the text's own uncertainty."""
_LARGEST: Final = 8.0


def weigh_kinds(opened: OpenedAnalysis, nats: Mapping[str, float], report: Report) -> dict[str, float]:
    """Return by kind of projection how much more rounding adds than was predicted.

    A product of average inputs and average gradients errs by kind: most where a few tokens have all of the gradient, as
    values have that many queries look at. The text is the beginning of that of the analysis; rounding does not fit it.

    Args:
        opened: an analysis in float32 with its model.
        nats: projection -> what its rounding to the fewest bits is predicted to add.
        report: told of the runs.

    Returns:
        Between 1/8 and 8; 1 where too little is predicted and measured to be seen.
    """
    corpus = analysis_spec(opened.analysis).corpus
    tokens = opened.sequences(corpus, report)[:N_SEQUENCES]
    spec = EvaluationSpec(corpus, "float32", batch_size=1)
    names = defaultdict(list)
    for projection in opened.analysis.projections.values():
        if projection.name in nats:
            names[projection.kind].append(projection.name)
    reference = take_reference(opened.dense.module, tokens, spec, part_of(report, 0.0, 1 / (len(names) + 1)))
    weights = {}
    for done, (kind, of_kind) in enumerate(names.items(), 1):
        told = part_of(report, done / (len(names) + 1), (done + 1) / (len(names) + 1))
        told("rounding", 0.0, f"Rounding {kind} alone to {_BITS} bits")
        blocks = tuple(BlockRank((name,), Format.DENSE, None, _BITS) for name in of_kind)
        module = opened.module(replace(dense_map(opened.analysis), blocks=blocks))
        found = measure(module, tokens, reference, spec, told)
        added, predicted = found.nll - found.dense_nll, sum(nats[name] for name in of_kind)
        seen = max(added, predicted) > _VISIBLE_NATS
        weights[kind] = min(max(added / predicted, 1 / _LARGEST), _LARGEST) if seen and predicted > 0 else 1.0
    return weights
