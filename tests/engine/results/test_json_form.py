"""Results as JSON and back: the same names, and the same value."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from engine.pipeline.reading.results import results
from engine.results.comparison import ComparedMap, Comparison, MissingMap
from engine.results.json_form import from_json, to_json
from engine.results.outcomes import Evaluation, Refinement


def test_rows_come_back_whole_but_for_their_rank_map(measured_toy):
    dense, *maps = results(measured_toy.store, measured_toy.analysis.id)
    document = json.loads(json.dumps(to_json(Evaluation("a", "full", dense, tuple(maps)))))
    assert list(document) == ["analysis", "level", "dense", "maps"]
    assert all("rank_map" not in row and "memories" in row for row in (document["dense"], *document["maps"]))
    without_maps = tuple(replace(row, rank_map=None) for row in maps)
    assert from_json(Evaluation, document) == Evaluation("a", "full", dense, without_maps)


def test_a_refinement_compares_what_was_measured_in_one_setting(measured_toy):
    _, before, _ = results(measured_toy.store, measured_toy.analysis.id)
    first = before.perplexities[0]
    elsewhere = replace(first, setting=("elsewhere",))
    after = replace(before, perplexities=(replace(first, perplexity=1.0), elsewhere))
    refinement = Refinement("r", True, 1.5, replace(before, perplexities=(elsewhere, first)), after)
    assert refinement.perplexities == (first, after.perplexities[0])


def compared(**other):
    numbers = dict.fromkeys(("params", "prediction_calibrated_on", "multiply_adds_per_token"), 5)
    fractions = {name: 0.5 for name, kind in ComparedMap.__annotations__.items() if kind == "float"}
    return ComparedMap(method="flrc", evaluation="e", **fractions, **numbers, **other)


def test_a_comparison_names_the_other_text_only_where_there_is_one():
    both = compared(other_perplexity=6.0, other_dense_perplexity=4.0, other_evaluation="o")
    missing = MissingMap("bolaco", 0.6, "none is measured")
    comparison = Comparison(
        "a", "m", "t", 9, None, "float32", {"total": 1.5}, (compared(), both), (missing,), None, "i"
    )
    document = json.loads(json.dumps(to_json(comparison)))
    assert (document["other_text"], document["prediction_median_relative_error"]) == (None, None)
    assert document["rows"][1].keys() - document["rows"][0].keys() == {
        "other_perplexity",
        "other_dense_perplexity",
        "other_evaluation",
    }
    assert from_json(Comparison, {**document, "added by a later version": 1}) == comparison
    assert [row.other_ratio for row in comparison.rows] == [None, 1.5]


def test_another_result_is_refused():
    with pytest.raises(ValidationError):
        from_json(Comparison, {"analysis": "a"})
