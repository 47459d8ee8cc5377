from __future__ import annotations

import numpy as np
import pytest

from engine.allocation import EvaluatedMap, allocators
from engine.errors import InfeasibleBudgetError, InvalidSpecError
from engine.methods.allocate import AS_PUBLISHED, Request, rule_of
from engine.methods.presets import PRESETS, AllocationSettings, get_preset
from engine.types import BlockRank, Budget, DistortionCurve, Format, GroupCurves, Metric
from tests.support.strategies import EVERY, FACTORED, assert_keeps_the_contract, toy_model

MODEL = toy_model(11, 5, 30, "spectrum", mlps=True)
OTHER = toy_model(11, 5, 30, "random", mlps=True)  # the same shapes and names, other curves
BY_METRIC = {Metric.INPUT: MODEL.groups, Metric.LOSS: OTHER.groups}
COMPUTED = [name for name, preset in PRESETS.items() if not preset.needs_search]
BUDGET = MODEL.budget(MODEL.total * 7 // 10)


def allocate(name, by_metric, budget, request=AS_PUBLISHED):
    return rule_of(name, by_metric, request).allocate(budget)


def test_the_presets_are_those_offered():
    found = {p.name: (p.metric, p.allocator, p.formats) for p in PRESETS.values()}
    assert found == {
        "svd-llm": (Metric.INPUT, "uniform", {Format.LOW_RANK}),
        "flrc": (Metric.INPUT, "flrc", {Format.LOW_RANK}),
        "bolaco": (Metric.FEATURE, "best-searched", {Format.LOW_RANK}),
        "skipcat": (Metric.INPUT, "uniform", {Format.SKIP_CAT}),
        "water-filling": (Metric.LOSS, "water-filling", set(EVERY)),
        "width": (Metric.LOSS, "uniform", {Format.WIDTH}),
    }
    assert [name for name, preset in PRESETS.items() if name != preset.name] == []


@pytest.mark.parametrize("name", COMPUTED)
def test_a_preset_is_its_allocator_on_its_metric_in_its_formats(name):
    preset = get_preset(name)
    groups = BY_METRIC[preset.metric]
    expected = allocators.get(preset.allocator)(groups, BUDGET, formats=preset.formats)
    found = allocate(name, BY_METRIC, BUDGET)
    assert found == expected
    model = MODEL if preset.metric is Metric.INPUT else OTHER
    assert_keeps_the_contract(found, model, BUDGET, preset.formats, ())


@pytest.mark.parametrize("name", COMPUTED)
def test_locks_reach_the_allocator(name):
    curve = max(MODEL.curves, key=lambda c: c.dense_params)
    lock = BlockRank(curve.members, Format.LOW_RANK, 2)
    assert lock in allocate(name, BY_METRIC, BUDGET, Request([lock])).blocks


@pytest.mark.parametrize("name", COMPUTED)
@pytest.mark.parametrize("storage", FACTORED)
def test_other_formats_replace_the_presets_own(name, storage):
    found = allocate(name, BY_METRIC, BUDGET, Request(formats=frozenset({storage})))
    used = {block.format for block in found.blocks} - {Format.DENSE}
    alone = {Format.CAT: Format.LOW_RANK, Format.SKIP_CAT: Format.SKIP}.get(storage, storage)
    assert used
    assert used <= {storage, alone}


def test_a_wrong_preset_or_metric_is_a_sentence():
    with pytest.raises(InvalidSpecError, match=r"'skip-cat' does not exist .did you mean 'skipcat'"):
        allocate("skip-cat", BY_METRIC, BUDGET)
    with pytest.raises(InvalidSpecError, match="needs the loss metric, but this analysis has factors of: input"):
        allocate("water-filling", {Metric.INPUT: MODEL.groups}, BUDGET)
    with pytest.raises(InvalidSpecError, match="but it was given cat, low-rank; choose exactly one"):
        allocate("flrc", BY_METRIC, BUDGET, Request(formats=frozenset({Format.LOW_RANK, Format.CAT})))


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if not preset.needs_search])
def test_settings_reach_the_allocator_and_foreign_ones_are_refused(name):
    stepped = allocate(name, BY_METRIC, BUDGET, Request(settings=AllocationSettings(rank_step=4)))
    ranks = [block.rank for block in stepped.blocks if block.rank is not None]
    assert ranks
    assert all(rank % 4 == 0 for rank in ranks)
    for settings in (AllocationSettings(gamma=0.5), AllocationSettings(min_rank=3)):
        if get_preset(name).uses_importances:
            assert allocate(name, BY_METRIC, BUDGET, Request(settings=settings)).params <= BUDGET.params
        else:
            with pytest.raises(InvalidSpecError, match=f"{name} has no setting"):
                allocate(name, BY_METRIC, BUDGET, Request(settings=settings))


def evaluated(objective, rank, measure="m", created="2026-01-01T00:00:00+00:00"):
    """A measured map with one rank wherever it saves something."""
    curves = [
        (c, BlockRank(c.members, Format.LOW_RANK, min(rank, c.max_rank))) for g in MODEL.groups for c in g.separate
    ]
    blocks = tuple(
        b if b.rank * (c.in_features + c.out_features) < c.dense_params else BlockRank(b.members, Format.DENSE, None)
        for c, b in curves
    )
    params = sum(
        c.dense_params if b.rank is None else b.rank * (c.in_features + c.out_features)
        for (c, _), b in zip(curves, blocks, strict=True)
    )
    return EvaluatedMap(blocks, params, objective, measure, created)


def test_without_predictions_a_searched_method_takes_the_best_measured_map_under_the_budget():
    by_metric = {Metric.FEATURE: MODEL.groups}
    small, middle, large = evaluated(9.0, 1), evaluated(7.0, 2), evaluated(8.0, 4)
    assert small.params < middle.params < large.params

    def chosen(params, maps=(small, middle, large)):
        return allocate("bolaco", by_metric, MODEL.budget(params), Request(evaluated=maps))

    assert chosen(large.params).blocks == middle.blocks
    assert chosen(middle.params).blocks == middle.blocks
    found = chosen(middle.params - 1)
    assert (found.blocks, found.params) == (small.blocks, small.params)
    curves = {c.members: c for g in MODEL.groups for c in g.separate}
    assert found.nats == pytest.approx(sum(curves[b.members].nats[b.rank] for b in small.blocks if b.rank))
    newer = evaluated(100.0, 1, "other", "2026-02-01T00:00:00+00:00")
    assert chosen(large.params, (middle, newer)).blocks == newer.blocks
    with pytest.raises(InfeasibleBudgetError, match="smallest map that a search has found keeps"):
        chosen(small.params - 1)
    with pytest.raises(InfeasibleBudgetError, match="No map has been searched for yet"):
        chosen(large.params, ())
    with pytest.raises(InvalidSpecError, match="takes searched maps in low-rank as they are, but skip was asked for"):
        allocate("bolaco", by_metric, BUDGET, Request(formats=frozenset({Format.SKIP})))


@pytest.mark.parametrize("name", COMPUTED)
def test_a_rule_with_other_locks_is_the_rule_made_with_them(name):
    curve = max(MODEL.curves, key=lambda c: c.dense_params)
    locks = [BlockRank(curve.members, Format.LOW_RANK, 2)]
    rule = rule_of(name, BY_METRIC)
    assert rule.around(locks).allocate(BUDGET) == allocate(name, BY_METRIC, BUDGET, Request(locks))
    assert rule.around(locks).around(()).allocate(BUDGET) == rule.allocate(BUDGET)


def test_settings_a_preset_lacks_can_be_left_at_their_defaults():
    asked = AllocationSettings(gamma=0.5, min_rank=3, rank_step=4)
    assert asked.limited_to(get_preset("flrc")) == asked
    assert asked.limited_to(get_preset("svd-llm")) == AllocationSettings(rank_step=4)
    assert asked.limited_to(get_preset("bolaco")) == AllocationSettings()


def test_skipcat_on_a_layer_of_llama_2_7b():
    """q, k, v and gate, up share their inner factor; o and down skip alone, all at the kept fraction 0.8."""

    def curve(out: int, width: int, *names: str) -> DistortionCurve:
        return DistortionCurve(names, width, out, np.linspace(1, 0, min(width, out) + 1), 1.0)

    groups = [
        GroupCurves(
            tuple(curve(out, width, n) for n in names), curve(out * len(names), width, *names) if names[1:] else None
        )
        for names, width, out in (
            (("q", "k", "v"), 4096, 4096),
            (("o",), 4096, 4096),
            (("gate", "up"), 4096, 11008),
            (("down",), 11008, 4096),
        )
    ]
    total = sum(group.dense_params for group in groups)
    found = allocate("skipcat", {Metric.INPUT: groups}, Budget.of_kept_fraction(0.8, total))
    assert found.blocks == (
        BlockRank(("q", "k", "v"), Format.SKIP_CAT, 3010),
        BlockRank(("o",), Format.SKIP, 2264),
        BlockRank(("gate", "up"), Format.SKIP_CAT, 3140),
        BlockRank(("down",), Format.SKIP, 2973),
    )
    assert 0.799 * total < found.params <= 0.8 * total
