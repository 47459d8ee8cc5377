"""Columns of results: every number is the store's, and numbers that do not compare never share a column."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import pytest

from engine.pipeline.reading.results import results
from engine.pipeline.report import results_to_json
from engine.results.columns import Role, measures, results_to_csv, task_measures
from engine.results.rows import Score
from engine.results.texts import measured_texts
from engine.results.words import unambiguous


@pytest.fixture(scope="session")
def rows(measured_toy):
    return results(measured_toy.store, measured_toy.analysis.id)


def by_name(found):
    named = {measure.name: measure for measure in found}
    assert len(named) == len(found)
    return named


def test_every_number_of_a_row_is_in_a_column(rows):
    dense, water, _ = rows
    named = by_name(measures(rows))
    assert named["perplexity_ratio[corpus.txt]"].of(water).value == water.perplexities[0].ratio
    predicted = named["predicted_perplexity_ratio[corpus.txt]"].of(water)
    assert predicted.low < predicted.value < predicted.high
    assert named["predicted_perplexity_ratio[corpus.txt]"].of(dense) is None
    task = next(t for t in water.tasks if t.task == "demo_piqa")
    assert named["acc[demo_piqa]"].of(water).value == task.acc.value
    assert named["acc[demo_piqa]"].of(water).stderr == task.acc.stderr
    assert named["acc[demo_piqa]"].title == "Accuracy: PIQA (demo)"
    assert "Everyday physics" in named["acc[demo_piqa]"].about
    assert named["acc_difference[demo_piqa]"].of(water).low == task.differences["acc"].low
    rouge = next(name for name in named if name.startswith("rougeL["))
    assert named[rouge].of(water).high == water.summaries[0].rouge["rougeL"].high
    cost = water.costs[0]
    assert named["decode_multiply_adds"].of(water).value == cost.decode_multiply_adds
    assert named["decode_ratio[batch 2]"].of(water).value == cost.speeds[1].decode_ratio.median
    assert named["decode_ratio[batch 1]"].of(dense).value == 1.0
    assert named["peak_memory_mb"].of(dense).value == dense.memories[0].peak_bytes / 1e6
    assert named["peak_memory_mb"].of(water).value == water.memories[0].peak_bytes / 1e6
    assert {m.name for m in measures(rows) if m.role is Role.COST} >= {"model_mb", "decode_ratio[batch 1]"}


def test_the_mean_over_tasks_is_of_rows_that_have_all_of_them(rows):
    dense, water, flrc = rows
    (mean,) = [m for m in task_measures(rows) if m.name.startswith("zero_shot_mean[")]
    accuracies = [task.acc for task in water.tasks]
    assert mean.of(water).value == pytest.approx(sum(a.value for a in accuracies) / 2)
    assert mean.of(water).stderr == pytest.approx(math.hypot(*(a.stderr for a in accuracies)) / 2)
    one_task = replace(flrc, tasks=flrc.tasks[:1])
    (mean,) = [m for m in task_measures([dense, water, one_task]) if m.name.startswith("zero_shot_mean[")]
    assert mean.of(one_task) is None
    assert mean.of(dense) is not None


def test_a_limited_task_is_a_column_of_its_own(rows):
    dense, water, _ = rows
    task = water.tasks[0]
    limited = replace(task, n=2, setting=("limited",), metrics={"acc": Score(0.5, None)})
    named = by_name(measures([dense, replace(water, tasks=(limited, *water.tasks))]))
    first, every = f"acc[{task.task}, first 2 items]", f"acc[{task.task}, all 6 items]"
    assert (named[first].of(replace(water, tasks=(limited,))).value, named[first].of(water)) == (0.5, None)
    assert named[every].of(water).value == task.acc.value


def test_texts_that_differ_in_amount_are_told_apart_and_the_most_used_comes_first(rows):
    dense, water, flrc = rows
    own = replace(water.perplexities[0], setting=("other",), n_tokens=77)
    found = measured_texts([dense, replace(water, perplexities=(own, *water.perplexities)), flrc])
    assert [text.title for text in found] == [f"corpus.txt (calibration text), {n} tokens, float32" for n in (252, 77)]
    assert unambiguous(["a", "a", "b"], ["a 1", "a 1", "b 1"]) == ["a 1 (1)", "a 1 (2)", "b"]


def test_the_files_hold_every_row(rows, measured_toy):
    water = replace(rows[1], method="=cmd()")
    lines = list(csv.DictReader(io.StringIO(results_to_csv([rows[0], water]))))
    assert [line["id"] for line in lines] == [rows[0].id, water.id]
    assert lines[1]["method"] == "'=cmd()"
    assert float(lines[1]["perplexity[corpus.txt]"]) == water.perplexities[0].perplexity
    assert lines[0]["predicted_perplexity_ratio[corpus.txt]_low"] == ""
    assert float(lines[1]["acc[demo_piqa]_stderr"]) > 0
    document = json.loads(results_to_json(rows, measured_toy.analysis.id))
    assert document["schema"] == "rankscope/results/1"
    assert [row["id"] for row in document["rows"]] == [row.id for row in rows]
    assert document["rows"][1]["rank_map"] == json.loads(rows[1].rank_map.to_json())
    assert document["rows"][1]["costs"][0]["provenance"]["artifact"].startswith("cost/")


def test_speeds_of_two_settings_are_told_apart(rows):
    dense, water, _ = rows
    other = replace(water.costs[0], setting=("other",), prompt_tokens=64, new_tokens=8)
    named = by_name(measures([dense, replace(water, costs=(other, *water.costs))]))
    assert "decode_ratio[batch 1] (64 + 8 tokens)" in named
    assert named["decode_multiply_adds (12 + 2 tokens)"].of(dense) is not None
    assert named["decode_multiply_adds (64 + 8 tokens)"].of(dense) is None
