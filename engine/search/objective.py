"""What a point is worth: perplexity and divergence of the compressed model on a chosen subset of a text."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from engine.compression.apply import compress
from engine.evaluation.perplexity import DenseReference, measure, take_reference
from engine.progress import ignore_progress
from engine.search.specs import Subset
from engine.specs import EvaluationSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from engine.compression.apply import BlockFactors
    from engine.evaluation.perplexity import Measurement
    from engine.progress import Report
    from engine.search.specs import ObjectiveSpec
    from engine.types import BlockRank


@dataclass(frozen=True, slots=True)
class Outcome:
    """One measured map.

    Attributes:
        objective: perplexity + lambda * divergence.
        measurement: on the subset.
        apply_s: seconds taken by replacing the blocks.
        evaluate_s: seconds taken by running the model.
    """

    objective: float
    measurement: Measurement
    apply_s: float
    evaluate_s: float


def evaluation_spec(spec: ObjectiveSpec) -> EvaluationSpec:
    """Return how the models are run."""
    return EvaluationSpec(spec.pool, spec.dtype, spec.batch_size)


def choose_subset(
    module: nn.Module,
    pool: torch.Tensor,
    factors_of: Callable[[tuple[str, ...]], BlockFactors],
    allocations: Sequence[Sequence[BlockRank]],
    spec: ObjectiveSpec,
    report: Report,
) -> tuple[int, ...]:
    """Return the indices, ascending, of the sequences (of ``pool``) that points are measured on.

    Sensitive ones are those whose perplexity has the largest standard deviation over the allocations.

    Args:
        module: the dense model.
        pool: (n_sequences, length) tokens.
        factors_of: member names -> factors.
        allocations: random maps, used for the sensitive subset only.
        spec: how many, and how chosen.
        report: told about every allocation.
    """
    if spec.subset is Subset.ALL:
        return tuple(range(len(pool)))
    if spec.subset is Subset.RANDOM:
        drawing = random.Random(spec.seed)  # noqa: S311 - repeatable, no secret
        return tuple(sorted(drawing.sample(range(len(pool)), spec.n_subset)))
    only_nll = replace(evaluation_spec(spec), top_k=1)
    perplexities = []
    for i, blocks in enumerate(allocations):
        report("subset", i / len(allocations), f"Choosing the sequences: allocation {i + 1} of {len(allocations)}")
        nll = take_reference(compress(module, blocks, factors_of), pool, only_nll, ignore_progress).nll
        perplexities.append(nll.view(len(pool), -1).double().mean(1).exp())
    spread = torch.stack(perplexities).std(0)
    return tuple(sorted(spread.topk(spec.n_subset).indices.tolist()))


class Objective:
    """Measures maps on one subset, beside one dense reference.

    Args:
        module: the dense model.
        tokens: (n_subset, length) the subset.
        reference: of the dense model on it.
        factors_of: member names -> factors.
        spec: lambda and arithmetic.
    """

    def __init__(
        self,
        module: nn.Module,
        tokens: torch.Tensor,
        reference: DenseReference,
        factors_of: Callable[[tuple[str, ...]], BlockFactors],
        spec: ObjectiveSpec,
    ) -> None:
        self._module = module
        self._tokens = tokens
        self._reference = reference
        self._factors_of = factors_of
        self._spec = spec

    def __call__(self, blocks: Sequence[BlockRank], report: Report) -> Outcome:
        """Compress and measure.

        Raises:
            NumericalError: the loss is not finite, or its exponential is not.
        """
        begun = time.monotonic()
        compressed = compress(self._module, blocks, self._factors_of)
        applied = time.monotonic()
        measurement = measure(compressed, self._tokens, self._reference, evaluation_spec(self._spec), report)
        objective = math.exp(measurement.nll) + self._spec.divergence_weight * measurement.divergence
        return Outcome(objective, measurement, applied - begun, time.monotonic() - applied)
