"""Small made-up models for property tests, and what can be said about them without our allocators."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from engine.formats import block_params, rank_params
from engine.types import (
    Allocation,
    BlockRank,
    Budget,
    DistortionCurve,
    Experts,
    Format,
    GroupCurves,
    InputGroup,
    Inventory,
    Mlp,
    Projection,
)

FACTORED = (Format.LOW_RANK, Format.CAT, Format.SKIP, Format.SKIP_CAT)
EVERY = (*FACTORED, Format.WIDTH)
STACKED = dict.fromkeys((Format.CAT, Format.SKIP, Format.SKIP_CAT), Format.LOW_RANK)
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
        stacks = {c.name: Experts(c.matrices, 1, share_input=True) for c in self.curves if c.matrices > 1}
        return {
            c.name: Projection(c.name, 0, c.name, c.out_features, c.in_features, stacks.get(c.name))
            for c in self.curves
        }

    @property
    def widths(self) -> list[DistortionCurve]:
        return [group.width for group in self.groups if group.width is not None]

    @property
    def inventory(self) -> Inventory:
        groups = tuple(InputGroup(tuple(self.projections[c.name] for c in g.separate)) for g in self.groups)
        members = [[self.projections[name] for name in width.members] for width in self.widths]
        mlps = tuple(Mlp(tuple(up), down) for *up, down in members)
        return Inventory("ToyForCausalLM", 1, groups, (), self.total, mlps)

    def budget(self, params: int) -> Budget:
        return Budget(params, self.total)

    def curve(self, block: BlockRank) -> DistortionCurve:
        if block.format is Format.WIDTH:
            return next(width for width in self.widths if width.members == block.members)
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
    mlps: bool = False,
    experts: bool = False,
) -> ToyModel:
    """Return a model of ``n_groups`` groups of 1 to 3 projections with sides up to ``largest``.

    With ``mlps`` the last one or two projections of most groups feed an MLP, whose down projection follows, perhaps
    after a group of its own. With ``experts`` stacks of two or three matrices follow some groups.
    """
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
        n_up = int(rng.integers(0, min(len(outs), 2) + 1)) if mlps else 0
        if n_up:
            # In a fused projection a neuron is two rows.
            neurons, rows = int(rng.integers(1, largest + 1)), int(rng.integers(1, 3))
            outs[-n_up:] = [neurons * rows] * n_up
        separate = tuple(curve((name,), n_in, n_out) for name, n_out in zip(names, outs, strict=True))
        together = sharing and (len(outs) > 1 or rng.random() < 0.2) and rng.random() < 0.9
        groups.append(GroupCurves(separate, curve(tuple(names), n_in, sum(outs)) if together else None))
        if n_up:
            if rng.random() < 0.3:
                groups.append(GroupCurves((curve((f"layers.{g}.o",), n_in, n_in),), None))
            down = curve((f"layers.{g}.down",), neurons, int(rng.integers(1, largest + 1)))
            per_neuron = n_up * rows * n_in + down.out_features
            nats = toy_nats(style if style is not None else str(rng.choice(STYLES)), neurons, rng)
            nats[-1] = 0.0
            width = DistortionCurve((*names[-n_up:], down.name), neurons, per_neuron, nats, 0.0)
            groups.append(GroupCurves((down,), None, width))
        if experts and rng.random() < 0.6:
            one = curve((f"layers.{g}.experts",), *(int(side) for side in rng.integers(1, largest + 1, 2)))
            groups.append(GroupCurves((replace(one, matrices=int(rng.integers(2, 4))),), None))
    return ToyModel(tuple(groups))


def toy_locks(model: ToyModel, seed: int, share: float) -> tuple[BlockRank, ...]:
    """Return locks on about a fraction ``share`` of groups (whole, or single members; perhaps dense) and of widths."""
    rng = np.random.default_rng(seed)
    locks = []
    narrow = set()
    for width in model.widths:
        if rng.random() < share / 2:
            is_dense = rng.random() < 0.2
            rank = None if is_dense else int(rng.integers(1, width.max_rank + 1))
            locks.append(BlockRank(width.members, Format.DENSE if is_dense else Format.WIDTH, rank))
            narrow.update(width.members)
    for group in model.groups:
        if rng.random() >= share:
            continue
        names = tuple(name for curve in group.separate for name in curve.members)
        if narrow.intersection(names):
            locks += [_single_lock(c, rng) for c in group.separate if c.name not in narrow and rng.random() < 0.6]
        elif rng.random() < 0.1:
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
    n_groups: int = 4,
    largest: int = 6,
    style: st.SearchStrategy[str | None] = styles,
    truncated: bool = True,
    mlps: bool = False,
    experts: bool = False,
) -> st.SearchStrategy[ToyModel]:
    """Return a strategy of models, tiny ones (1 x 1, 1 x n) included; ``mlps`` gives some MLPs, ``experts`` stacks."""
    return st.builds(
        toy_model,
        seeds,
        st.integers(1, n_groups),
        st.integers(1, largest),
        style,
        truncated=st.booleans() if truncated else st.just(False),
        mlps=st.booleans() if mlps else st.just(False),
        experts=st.booleans() if experts else st.just(False),
    )


Choices = np.ndarray
"""(most parameters + 1,) the least nats there are for exactly so many parameters; infinite: there is no such choice."""


def choices_of(
    model: ToyModel, formats: frozenset[Format], locks: tuple[BlockRank, ...], rank_step: int, *, force: bool
) -> list[Choices]:
    """Enumerate every way to store the groups of a model that do not depend on each other.

    Args:
        model: with its curves.
        formats: that are allowed.
        locks: of the whole model.
        rank_step: ranks are multiples of it.
        force: where the format allows it a group has to be shared and an MLP to have a width (one format for all).
    """
    lock_of = {name: lock for lock in locks for name in lock.members}
    own_lock = {name: lock for name, lock in lock_of.items() if len(lock.members) == 1 or lock.rank is None}
    lone = {ALONE.get(f, f) for f in formats} - {Format.WIDTH}
    own = {curve.name: curve for curve in model.curves}
    result = []
    for group in model.groups:
        if group.width is not None:
            continue
        names = [curve.name for curve in group.separate]
        widths = [width for width in model.widths if width.members[0] in names]
        whole = next((lock_of[n] for n in names if n in lock_of and lock_of[n].format.is_shared), None)
        is_whole = whole is not None and len(whole.members) > 1
        can_share = group.shared is not None and len(names) > 1 and not any(name in lock_of for name in names)
        alone = {f for f in formats if not f.is_shared} - {Format.WIDTH} if can_share else lone
        singles = {name: _choices(own[name], alone, rank_step, own_lock.get(name)) for name in names}
        downs = [_choices(own[w.members[-1]], lone, rank_step, own_lock.get(w.members[-1])) for w in widths]
        apart = []
        for width, down in zip(widths, downs, strict=True):
            mlp = [lock_of.get(name) for name in width.members]
            ranks = _sum(*(singles[name] for name in width.members[:-1]), down)
            if mlp[0] is not None and mlp[0].format is Format.WIDTH:
                apart.append(_choices(width, set(), 1, mlp[0]))
            elif Format.WIDTH in formats and not any(mlp):
                narrow = _choices(width, {Format.WIDTH}, rank_step, None)
                apart.append(narrow if force else _either(ranks, narrow))
            else:
                apart.append(ranks)
        inside = {name for width in widths for name in width.members}
        separate = _sum(*(singles[name] for name in names if name not in inside), *apart)
        if is_whole and group.shared is not None:
            result.append(_sum(_choices(group.shared, set(), 1, whole), *downs))
        elif can_share and group.shared is not None and any(f.is_shared for f in formats):
            shared = _choices(group.shared, {f for f in formats if f.is_shared}, rank_step, None)
            together = _sum(shared, *downs)
            result.append(together if force else _either(separate, together))
        else:
            result.append(separate)
    return result


def _choices(curve: DistortionCurve, formats: set[Format], rank_step: int, lock: BlockRank | None) -> Choices:
    def at(storage: Format, rank: int) -> tuple[int, float]:
        params = curve.matrices * rank_params(storage, rank, curve.in_features, curve.out_features)
        return params, float(curve.nats[rank])

    if curve.matrices > 1:
        formats = {Format.LOW_RANK} if formats - {Format.DENSE} else formats
        lock = lock and replace(lock, format=lock.format if lock.rank is None else Format.LOW_RANK)
    if lock is not None and lock.rank is not None:
        points = [at(ALONE.get(lock.format, lock.format) if len(curve.members) == 1 else lock.format, lock.rank)]
    else:
        free = sorted(formats - {Format.DENSE}) if lock is None else []
        points = [at(storage, rank) for storage in free for rank in range(rank_step, curve.max_rank + 1, rank_step)]
        points = [(params, nats) for params, nats in points if params < curve.dense_params]
        points.append((curve.dense_params, 0.0))
    result = np.full(max(params for params, _ in points) + 1, np.inf)
    for params, nats in points:
        result[params] = min(result[params], nats)
    return result


def _either(one: Choices, other: Choices) -> Choices:
    result = np.full(max(len(one), len(other)), np.inf)
    for option in (one, other):
        np.minimum(result[: len(option)], option, out=result[: len(option)])
    return result


def _sum(*parts: Choices) -> Choices:
    result = np.zeros(1)
    for part in parts:
        following = np.full(len(result) + len(part) - 1, np.inf)
        for params in np.flatnonzero(np.isfinite(part)):
            upto = following[params : params + len(result)]
            np.minimum(upto, result + part[params], out=upto)
        result = following
    return result


def floor_params(
    model: ToyModel, formats: frozenset[Format], locks: tuple[BlockRank, ...], rank_step: int, *, force: bool
) -> int:
    """Return the parameters of the cheapest allocation, by enumeration."""
    every = choices_of(model, formats, locks, rank_step, force=force)
    return sum(int(np.flatnonzero(np.isfinite(choices))[0]) for choices in every)


def optimum(model: ToyModel, formats: frozenset[Format], locks: tuple[BlockRank, ...], rank_step: int) -> np.ndarray:
    """Return the least nats at every budget 0, 1, 2, ..., by dynamic programming over all choices."""
    best: np.ndarray = np.minimum.accumulate(_sum(*choices_of(model, formats, locks, rank_step, force=False)))
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
    order = [curve.name for curve in model.curves]
    assert sorted(order) == sorted(name for block in allocation.blocks for name in block.members)
    firsts = [order.index(block.members[0]) for block in allocation.blocks]
    assert firsts == sorted(firsts)
    locked = {name: lock for lock in locks for name in lock.members}
    for block in allocation.blocks:
        lock = locked.get(block.members[0])
        if lock is not None:
            alone = STACKED if model.curve(block).matrices > 1 else ALONE
            expected = alone.get(lock.format, lock.format) if len(block.members) == 1 else lock.format
            assert (block.format, block.rank) == (expected, lock.rank)
            assert block.members == lock.members or lock.rank is None
        elif block.rank is None:
            assert len(block.members) == 1
        else:
            assert not any(name in locked for name in block.members)
            alone = STACKED if model.curve(block).matrices > 1 else ALONE
            allowed = formats if len(block.members) > 1 else {alone.get(f, f) for f in formats}
            assert block.format in allowed
            assert block_params(block, model.projections) < model.curve(block).dense_params
            if len(block.members) > 1:
                wholes = model.widths if block.format is Format.WIDTH else [g.shared for g in model.groups]
                assert block.members in [curve.members for curve in wholes if curve is not None]
