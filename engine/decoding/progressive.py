"""Progressive low-rank decoding: the active rank of every projection shrinks while tokens are generated.

A projection's factors are stored once, at their largest rank and in descending singular order; every stage
runs with a prefix of them. What is in the cache stays as it was written.

References:
    FLRC, arXiv:2510.09332, implemented from the published description.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from engine.compression.apply import factored_stack, with_replacements
from engine.compression.layers import SharedInner
from engine.decoding.progressive_layers import ActiveStage, ProgressiveInner, ProgressiveLinear, ProgressiveStack
from engine.decoding.schedules import clip_ranks, require_sliceable
from engine.errors import InvalidSpecError
from engine.formats import allocated_params, block_params
from engine.model.experts import ExpertStack
from engine.model.module import weight_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from engine.decoding.progressive_layers import Ranks
    from engine.decoding.schedules import RankSchedule, Stage
    from engine.factorization.blocks import Factors
    from engine.types import Inventory


class _FollowSchedule(StoppingCriteria):
    """Never stops; ``generate`` calls it after every token, which is when the stage may change."""

    def __init__(self, schedule: RankSchedule, stage: ActiveStage) -> None:
        self._schedule = schedule
        self._stage = stage
        self._length_before: int | None = None

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        length = input_ids.shape[1]
        if self._length_before is None:
            self._length_before = length - 1
        self._stage.advance(self._schedule.stage_at(length - self._length_before))
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


class ProgressiveModel:
    """A model whose ``generate`` follows a rank schedule.

    Threads may generate at the same time: each has its own stage. Called outside :meth:`generate` the
    module runs at stage 0.

    Attributes:
        module: the network; its projections are ProgressiveLinear modules where any stage is factored, and stacks of
            experts ProgressiveStack ones.
        schedule: which stage produces which token.
        stages: the decisions of every stage, no rank growing.
        params_by_stage: active parameters of all compressible projections.
        compressible_params: the same when dense.
        resident_params: parameters of the compressible projections that are held in memory: factors at
            their largest rank, and beside them the weights of projections that are dense in some stage.
    """

    def __init__(
        self,
        module: nn.Module,
        schedule: RankSchedule,
        stages: tuple[Stage, ...],
        inventory: Inventory,
        stage: ActiveStage,
    ) -> None:
        self.module = module
        self.schedule = schedule
        self.stages = stages
        self.compressible_params = inventory.compressible_params
        self.params_by_stage = tuple(allocated_params(blocks, inventory) for blocks in stages)
        self.resident_params = _resident_params(stages, inventory)
        self._stage = stage

    def generate(self, *inputs: Any, **settings: Any) -> Any:
        """Call ``generate`` of transformers, from stage 0 on; arguments and result are the same.

        Raises:
            InvalidSpecError: this thread is generating with this model already.
        """
        own = _FollowSchedule(self.schedule, self._stage)
        criteria = StoppingCriteriaList([*(settings.pop("stopping_criteria", None) or ()), own])
        with self._stage.generation():
            return self.module.generate(*inputs, stopping_criteria=criteria, **settings)  # type: ignore[operator]

    def active_params(self, n_tokens: int) -> list[int]:
        """Return the active parameters that produce each of the first ``n_tokens`` generated tokens."""
        return [self.params_by_stage[self.schedule.stage_at(index)] for index in range(n_tokens)]


def make_progressive(
    module: nn.Module,
    schedule: RankSchedule,
    stages: Sequence[Stage],
    inventory: Inventory,
    factors_of: Callable[[tuple[str, ...]], Factors],
) -> ProgressiveModel:
    """Return a model that runs at the ranks of ``stages``; everything untouched is shared with ``module``.

    Args:
        module: the dense model; it is not changed.
        schedule: as many stages as ``stages``.
        stages: decisions per stage; ranks that grow are clipped to the stage before.
        inventory: of the model.
        factors_of: member names -> the stored factors of that block.

    Raises:
        InvalidSpecError: a block is in a skip format or changes its format, or a stage is missing.
    """
    if len(stages) != schedule.stages:
        raise InvalidSpecError(f"The schedule has {schedule.stages} stages, but ranks for {len(stages)} were given.")
    clipped: list[Stage] = []
    for blocks in stages:
        for block in blocks:
            require_sliceable(block.format, block.name)
        clipped.append(clip_ranks(blocks, clipped[-1]) if clipped else tuple(blocks))
    ranks = _ranks_by_block(clipped)
    stage = ActiveStage()

    def replacements(members: tuple[str, ...], linears: Sequence[nn.Module]) -> Sequence[nn.Module]:
        if isinstance(linears[0], ExpertStack):
            return [_progressive_stack(linears[0], factors_of(members), ranks[members], stage)]
        return _progressive_modules(linears, factors_of(members), ranks[members], stage)

    replaced = with_replacements(module, list(ranks), replacements)
    return ProgressiveModel(replaced, schedule, tuple(clipped), inventory, stage)


@torch.no_grad()
def _progressive_modules(
    linears: Sequence[nn.Module], factors: Factors, ranks: Ranks, stage: ActiveStage
) -> list[ProgressiveLinear]:
    """Return the replacements of the linear modules of one block, in order."""
    weights = [weight_matrix(linear) for linear in linears]
    target = weights[0]
    stacked = torch.cat(weights).float() if len(weights) > 1 else target.float()
    left, right = factors.at_rank(max(rank for rank in ranks if rank is not None), stacked)
    shift = output_shift = None
    if factors.offset is not None:
        offset = factors.offset.to(stacked)
        shift, output_shift = (right @ offset).to(target), stacked @ offset
    inner: nn.Module = ProgressiveInner(right.to(target).contiguous(), shift, ranks, stage)
    if len(linears) > 1:
        inner = SharedInner(inner, len(linears))
    result = []
    start = 0
    for linear, weight in zip(linears, weights, strict=True):
        rows = slice(start, start + len(weight))
        bias: torch.Tensor | None = getattr(linear, "bias", None)
        if output_shift is not None:
            bias = (output_shift[rows] if bias is None else bias.float() + output_shift[rows]).to(target)
        left_transposed = left[rows].to(target).T.contiguous()
        dense = linear if None in ranks else None
        result.append(
            ProgressiveLinear(inner, left_transposed, None if bias is None else bias.detach(), dense, ranks, stage)
        )
        start = rows.stop
    return result


@torch.no_grad()
def _progressive_stack(stack: ExpertStack, factors: Factors, ranks: Ranks, stage: ActiveStage) -> ProgressiveStack:
    largest = factored_stack(stack, max(rank for rank in ranks if rank is not None), factors)
    return ProgressiveStack(largest, stack if None in ranks else None, ranks, stage)


def _ranks_by_block(stages: Sequence[Stage]) -> dict[tuple[str, ...], Ranks]:
    """Return the ranks by stage of every block that is factored in some stage."""
    factored = {block.members: None for blocks in stages for block in blocks if block.rank is not None}
    by_stage = [{block.members: block.rank for block in blocks} for blocks in stages]
    return {members: tuple(ranks.get(members) for ranks in by_stage) for members in factored}


def _resident_params(stages: Sequence[Stage], inventory: Inventory) -> int:
    projections = inventory.by_name
    largest = {b.members: b for blocks in reversed(stages) for b in blocks if b.rank is not None}
    factored_at_first = {name for block in stages[0] if block.rank is not None for name in block.members}
    weights = sum(p.params for p in inventory.projections if p.name not in factored_at_first)
    return weights + sum(block_params(block, projections) for block in largest.values())
