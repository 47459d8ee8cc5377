"""Small made-up models for property tests, and what can be said about them without our allocators."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from engine.formats import block_params, rank_params
from engine.types import (
    Allocation,
    BlockRank,
    Budget,
    DistortionCurve,
    Format,
    GroupCurves,
    InputGroup,
    Inventory,
    Projection,
)

FACTORED = (Format.LOW_RANK, Format.CAT, Format.SKIP, Format.SKIP_CAT)
ALONE = {Format.CAT: Format.LOW_RANK, Format.SKIP_CAT: Format.SKIP}
STYLES = ("spectrum", "random", "steps", "flat", "zero", "never-zero", "cliff")


@dataclass(frozen=True)
class ToyModel:
    """Curves of a made-up model."""

    groups: tuple[GroupCurves, ...]

    @property
    def curves(self) -> list[DistortionCurve]:
        return [curve for group in self.groups for curve in group.separate]

    @property
    def total(self) -> int:
        return sum(curve.dense_params for curve in self.curves)

    @property
    def projections(self) -> dict[str, Projection]:
        return {c.name: Projection(c.name, 0, c.name, c.out_features, c.in_features) for c in self.curves}

    @property
    def inventory(self) -> Inventory:
        groups = tuple(InputGroup(tuple(self.projections[c.name] for c in g.separate)) for g in self.groups)
        return Inventory("ToyForCausalLM", 1, groups, (), self.total)

    def budget(self, params: int) -> Budget:
        return Budget(params, self.total)

    def curve(self, block: BlockRank) -> DistortionCurve:
        every = [*self.curves, *(group.shared for group in self.groups if group.shared is not None)]
        return next(curve for curve in every if curve.members == block.members)


def toy_nats(style: str, max_rank: int, rng: np.random.Generator) -> np.ndarray:
    """Return a curve of (max_rank + 1,) nats that never increases."""
    steps = rng.random(max_rank) * rng.lognormal(-2, 1)
    if style == "spectrum":
        steps = np.sort(steps)
    elif style == "steps":
        steps = rng.integers(0, 3, max_rank) / 4
    elif style == "flat":
        steps = np.full(max_rank, 0.25)
    elif style == "zero":
        steps = np.zeros(max_rank)
    elif style == "cliff":
        steps = np.where(np.arange(max_rank) == rng.integers(0, max(max_rank, 1)), 1.0, 0.0)
    floor = rng.random() if style == "never-zero" else 0.0
    return np.append(np.cumsum(steps)[::-1], 0.0) + floor


def toy_model(
    seed: int,
    n_groups: int,
    largest: int,
    style: str | None,
    *,
    sharing: bool = True,
    truncated: bool = False,
) -> ToyModel:
    """Return a model of ``n_groups`` groups of 1 to 3 projections with sides up to ``largest``."""
    rng = np.random.default_rng(seed)

    def curve(members: tuple[str, ...], n_in: int, n_out: int) -> DistortionCurve:
        max_rank = min(n_in, n_out)
        if truncated:
            max_rank = int(rng.integers(0, max_rank + 1))
        chosen = style if style is not None else str(rng.choice(STYLES))
        importance = float(rng.lognormal(0, 2)) if chosen != "zero" else 0.0
        return DistortionCurve(members, n_in, n_out, toy_nats(chosen, max_rank, rng), importance)

    groups = []
    for g in range(n_groups):
        n_in = int(rng.integers(1, largest + 1))
        outs = [int(rng.integers(1, largest + 1)) for _ in range(rng.integers(1, 4))]
        names = [f"layers.{g}.p{m}" for m in range(len(outs))]
        separate = tuple(curve((name,), n_in, n_out) for name, n_out in zip(names, outs, strict=True))
        together = sharing and (len(outs) > 1 or rng.random() < 0.2) and rng.random() < 0.9
        groups.append(GroupCurves(separate, curve(tuple(names), n_in, sum(outs)) if together else None))
    return ToyModel(tuple(groups))


def toy_locks(model: ToyModel, seed: int, share: float) -> tuple[BlockRank, ...]:
    """Return locks on about a fraction ``share`` of the groups: whole, single members, factored or dense."""
    rng = np.random.default_rng(seed)
    locks = []
    for group in model.groups:
        if rng.random() >= share:
            continue
        names = tuple(name for curve in group.separate for name in curve.members)
        if rng.random() < 0.1:
            locks.append(BlockRank(names, Format.DENSE, None))
        elif group.shared is not None and len(names) > 1 and group.shared.max_rank > 0 and rng.random() < 0.5:
            rank = int(rng.integers(1, group.shared.max_rank + 1))
            locks.append(BlockRank(names, (Format.CAT, Format.SKIP_CAT)[rng.integers(2)], rank))
        else:
            for curve in group.separate:
                if rng.random() < 0.6:
                    locks.append(_single_lock(curve, rng))
    return tuple(locks[i] for i in rng.permutation(len(locks)))


def _single_lock(curve: DistortionCurve, rng: np.random.Generator) -> BlockRank:
    if curve.max_rank == 0 or rng.random() < 0.3:
        return BlockRank(curve.members, Format.DENSE, None)
    storage = (Format.LOW_RANK, Format.SKIP)[rng.integers(2)]
    return BlockRank(curve.members, storage, int(rng.integers(1, curve.max_rank + 1)))


seeds = st.integers(0, 2**32 - 1)
styles = st.sampled_from((None, *STYLES))


def toy_models(
    n_groups: int = 4, largest: int = 6, style: st.SearchStrategy[str | None] = styles, truncated: bool = True
) -> st.SearchStrategy[ToyModel]:
    """Return a strategy of models, tiny ones (1 x 1, 1 x n) included."""
    return st.builds(
        toy_model,
        seeds,
        st.integers(1, n_groups),
        st.integers(1, largest),
        style,
        truncated=st.booleans() if truncated else st.just(False),
    )


def options(
    group: GroupCurves,
    formats: frozenset[Format],
    locks: tuple[BlockRank, ...],
    rank_step: int,
    *,
    force: bool,
) -> list[tuple[int, float, tuple[BlockRank, ...]]]:
    """Enumerate every way to store a group: (params, nats, blocks).

    Args:
        group: its curves.
        formats: factored formats allowed.
        locks: of the whole model.
        rank_step: ranks are multiples of it.
        force: a group that can be shared has to be (one format for all).
    """
    names = {name for curve in group.separate for name in curve.members}
    own = {name: lock for lock in locks for name in lock.members if name in names}
    for lock in own.values():
        if len(lock.members) > 1 and lock.rank is not None:
            assert group.shared is not None
            return [_option(group.shared, lock)]
    can_share = group.shared is not None and len(group.separate) > 1 and not own
    per_member = []
    for curve in group.separate:
        lock = own.get(curve.name)
        if lock is not None and lock.rank is None:
            per_member.append([_option(curve, BlockRank(curve.members, Format.DENSE, None))])
        elif lock is not None:
            per_member.append([_option(curve, lock)])
        else:
            mine = {f for f in formats if not f.is_shared} if can_share else {ALONE.get(f, f) for f in formats}
            per_member.append(_options(curve, mine, rank_step))
    result = [
        (sum(c for c, _, _ in combo), sum(n for _, n, _ in combo), tuple(b for _, _, bs in combo for b in bs))
        for combo in itertools.product(*per_member)
    ]
    if can_share and group.shared is not None:
        together = _options(group.shared, {f for f in formats if f.is_shared}, rank_step)
        result = together if force and any(f.is_shared for f in formats) else result + together
    return result


def _options(
    curve: DistortionCurve, formats: set[Format], rank_step: int
) -> list[tuple[int, float, tuple[BlockRank, ...]]]:
    result = [(curve.dense_params, 0.0, tuple(BlockRank((n,), Format.DENSE, None) for n in curve.members))]
    for storage in sorted(formats - {Format.DENSE}):
        for rank in range(rank_step, curve.max_rank + 1, rank_step):
            option = _option(curve, BlockRank(curve.members, storage, rank))
            if option[0] < curve.dense_params:
                result.append(option)
    return result


def _option(curve: DistortionCurve, block: BlockRank) -> tuple[int, float, tuple[BlockRank, ...]]:
    if block.rank is None:
        return curve.dense_params, 0.0, (block,)
    params = rank_params(block.format, block.rank, curve.in_features, curve.out_features)
    return params, float(curve.nats[block.rank]), (block,)


def floor_params(
    model: ToyModel, formats: frozenset[Format], locks: tuple[BlockRank, ...], rank_step: int, *, force: bool
) -> int:
    """Return the parameters of the cheapest allocation, by enumeration."""
    return sum(min(params for params, _, _ in options(g, formats, locks, rank_step, force=force)) for g in model.groups)


def optimum(model: ToyModel, formats: frozenset[Format], locks: tuple[BlockRank, ...], rank_step: int) -> np.ndarray:
    """Return the least nats at every budget 0, 1, 2, ..., by dynamic programming over all options."""
    every = [options(group, formats, locks, rank_step, force=False) for group in model.groups]
    size = sum(max(params for params, _, _ in group) for group in every) + 1
    best = np.zeros(size)
    for group in every:
        following = np.full(size, np.inf)
        for params, nats, _ in group:
            np.minimum(following[params:], best[: size - params] + nats, out=following[params:])
        best = following
    return best


def assert_keeps_the_contract(
    allocation: Allocation,
    model: ToyModel,
    budget: Budget,
    formats: frozenset[Format],
    locks: tuple[BlockRank, ...],
) -> None:
    """Check what every allocator promises (see ``engine.allocation.Allocator``)."""
    assert allocation.params <= budget.params
    assert allocation.params == sum(block_params(block, model.projections) for block in allocation.blocks)
    nats = [0.0 if b.rank is None else model.curve(b).nats[b.rank] for b in allocation.blocks]
    assert math.isclose(allocation.nats, sum(nats), rel_tol=1e-12, abs_tol=1e-300)
    names = [name for block in allocation.blocks for name in block.members]
    assert names == [curve.name for curve in model.curves]
    locked = {name: lock for lock in locks for name in lock.members}
    for block in allocation.blocks:
        lock = locked.get(block.members[0])
        if lock is not None:
            expected = ALONE.get(lock.format, lock.format) if len(block.members) == 1 else lock.format
            assert (block.format, block.rank) == (expected, lock.rank)
            assert block.members == lock.members or lock.rank is None
        elif block.rank is None:
            assert len(block.members) == 1
        else:
            assert not any(name in locked for name in block.members)
            allowed = formats if len(block.members) > 1 else {ALONE.get(f, f) for f in formats}
            assert block.format in allowed
            assert block_params(block, model.projections) < model.curve(block).dense_params
