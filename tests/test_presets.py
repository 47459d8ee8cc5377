from __future__ import annotations

import numpy as np
import pytest

from engine.allocation import allocators
from engine.errors import InvalidSpecError
from engine.presets import PRESETS, allocate_preset, get_preset
from engine.types import BlockRank, Budget, DistortionCurve, Format, GroupCurves, Metric
from tests.strategies import FACTORED, assert_keeps_the_contract, toy_model

MODEL = toy_model(11, 5, 30, "spectrum")
OTHER = toy_model(11, 5, 30, "random")  # the same shapes and names, other curves
BY_METRIC = {Metric.INPUT: MODEL.groups, Metric.LOSS: OTHER.groups}
BUDGET = MODEL.budget(MODEL.total * 7 // 10)


def test_the_presets_are_those_offered():
    found = {p.name: (p.metric, p.allocator, p.formats) for p in PRESETS.values()}
    assert found == {
        "svd-llm": (Metric.INPUT, "uniform", {Format.LOW_RANK}),
        "flrc": (Metric.INPUT, "flrc", {Format.LOW_RANK}),
        "skipcat": (Metric.INPUT, "uniform", {Format.SKIP_CAT}),
        "water-filling": (Metric.LOSS, "water-filling", set(FACTORED)),
    }
    assert [name for name, preset in PRESETS.items() if name != preset.name] == []


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_its_allocator_on_its_metric_in_its_formats(name):
    preset = get_preset(name)
    groups = BY_METRIC[preset.metric]
    expected = allocators.get(preset.allocator)(groups, BUDGET, formats=preset.formats)
    found = allocate_preset(name, BY_METRIC, BUDGET)
    assert found == expected
    model = MODEL if preset.metric is Metric.INPUT else OTHER
    assert_keeps_the_contract(found, model, BUDGET, preset.formats, ())


@pytest.mark.parametrize("name", PRESETS)
def test_locks_reach_the_allocator(name):
    curve = max(MODEL.curves, key=lambda c: c.dense_params)
    lock = BlockRank(curve.members, Format.LOW_RANK, 2)
    assert lock in allocate_preset(name, BY_METRIC, BUDGET, [lock]).blocks


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("storage", FACTORED)
def test_other_formats_replace_the_presets_own(name, storage):
    found = allocate_preset(name, BY_METRIC, BUDGET, formats=frozenset({storage}))
    used = {block.format for block in found.blocks} - {Format.DENSE}
    alone = {Format.CAT: Format.LOW_RANK, Format.SKIP_CAT: Format.SKIP}.get(storage, storage)
    assert used
    assert used <= {storage, alone}


def test_a_wrong_preset_or_metric_is_a_sentence():
    with pytest.raises(InvalidSpecError, match=r"'skip-cat' does not exist .did you mean 'skipcat'"):
        allocate_preset("skip-cat", BY_METRIC, BUDGET)
    with pytest.raises(InvalidSpecError, match="needs the loss metric, but the analysis has input; analyse"):
        allocate_preset("water-filling", {Metric.INPUT: MODEL.groups}, BUDGET)
    with pytest.raises(InvalidSpecError, match="but it was given cat, low-rank; choose exactly one"):
        allocate_preset("flrc", BY_METRIC, BUDGET, formats=frozenset({Format.LOW_RANK, Format.CAT}))


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
    found = allocate_preset("skipcat", {Metric.INPUT: groups}, Budget.of_kept_fraction(0.8, total))
    assert found.blocks == (
        BlockRank(("q", "k", "v"), Format.SKIP_CAT, 3010),
        BlockRank(("o",), Format.SKIP, 2264),
        BlockRank(("gate", "up"), Format.SKIP_CAT, 3140),
        BlockRank(("down",), Format.SKIP, 2973),
    )
    assert 0.799 * total < found.params <= 0.8 * total
