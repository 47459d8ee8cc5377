"""Rank maps measured in several ways from one dense model: stored part by part, never twice, read back as one table."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from cache import DirectoryStore, Key
from engine import operations
from engine.errors import InvalidRankMapError, RankScopeError
from engine.evaluation.specs import CostSpec, MemorySpec, SummarySpec
from engine.jobs import JobQueue
from engine.methods.allocate import allocate_rank_map
from engine.model.demo import TEXTS_WHEEL
from engine.operations import Analyse
from engine.pipeline import opened as opening
from engine.pipeline.analyse import analyse
from engine.pipeline.measure import plan as measuring
from engine.pipeline.measure.plan import Plan, measure_all
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.pipeline.reading.results import results, summary_texts
from engine.prediction.runs import reference_text
from engine.progress import ignore_progress
from engine.rank_map.identity import ARTICLES, map_id
from engine.rank_map.identity import ITEMS as ITEM_SCORES
from engine.results.outcomes import row_to_json
from engine.settings import Home
from engine.specs import CorpusSpec, EvaluationSpec
from engine.types import Budget
from tests.end_to_end.conftest import LINES

pytestmark = pytest.mark.usefixtures("warm_starts")

ITEMS = [
    {"question": line.split()[0], "options": f"A. {line[4:20]}\nB. {line[-20:]} too", "answer": f"{letter}. "}
    for line in LINES
    for letter in "AB"
]


@pytest.fixture
def store(tmp_path):
    """A store in which the demo is replaced by items that fit a toy."""
    found = DirectoryStore(tmp_path / "artifacts")
    with found.writing(TEXTS_WHEEL.key("demo-texts"), {}) as into:
        (into / "piqa.jsonl").write_text("\n".join(map(json.dumps, ITEMS)), encoding="utf-8")
        pairs = [{"document": line, "summary": line[:30]} for line in LINES]
        (into / "xsum.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def analysed(tmp_path_factory, model_folder, text_file):
    """A home with an analysis, which is copied before anything is measured; and the analysis' key."""
    home = tmp_path_factory.mktemp("analysed")
    arguments = {"model": str(model_folder("llama-gqa")), "text": str(text_file), "n_sequences": 6, "length": 32}
    return home, analyse(Home(home), Analyse(**arguments).spec(), ignore_progress, device="cpu")


@pytest.fixture
def analysis(store, tmp_path, analysed):
    home, key = analysed
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    return load_analysis(store, key.fingerprint)


@pytest.fixture
def plan(text_file):
    text = CorpusSpec.parse(str(text_file), part="evaluation", n_sequences=2, length=32)
    articles = CorpusSpec.parse("demo:news", part="evaluation", n_sequences=4, length=20)
    return Plan(
        (EvaluationSpec(text),),
        ("demo_piqa",),
        None,
        SummarySpec(articles, template="{article} Short:", chat=False, max_new_tokens=6, n_resamples=200),
        CostSpec(12, 2, (1, 2), 2),
    )


def rank_maps(analysis, *kept_fractions):
    curves = curves_by_metric(analysis)
    budgets = [Budget.of_kept_fraction(kept, analysis.inventory.compressible_params) for kept in kept_fractions]
    return [allocate_rank_map(analysis, curves, "water-filling", budget) for budget in budgets]


def arrays_of(store, result, member):
    """Return the stored score of every item or article."""
    return store.read(Key(*result.provenance.artifact.split("/"))).arrays(member)


def run(store, tmp_path, analysis, maps, plan, report=ignore_progress, **options):
    return measure_all(Home(tmp_path), analysis.id[:12], maps, plan, report, device="cpu", **options)


def test_every_part_of_every_map_is_measured_once_and_read_back(store, tmp_path, analysis, plan, monkeypatch):
    maps = rank_maps(analysis, 0.8, 0.5)
    told = []
    dense, large, small = run(store, tmp_path, analysis, maps, plan, lambda *report: told.append(report))
    fractions = [fraction for _, fraction, _ in told if fraction is not None]
    assert fractions == sorted(fractions)
    assert [row.id for row in (large, small)] == [map_id(m) for m in maps]
    for row in (dense, large, small):
        assert len(row.perplexities) == len(row.tasks) == len(row.summaries) == len(row.costs) == 1
        found = (row.perplexities[0], row.tasks[0], row.summaries[0], row.costs[0])
        assert [f.setting for f in found] == [
            f.setting for f in (dense.perplexities[0], dense.tasks[0], dense.summaries[0], dense.costs[0])
        ]
        for part in found:
            assert part.provenance.model_fingerprint == analysis.about["model_fingerprint"]
            assert part.provenance.dtype == "float32"
            assert part.provenance.device == "cpu"
            assert {"torch", "transformers"} <= set(part.provenance.versions)
        assert "lm-eval" in row.tasks[0].provenance.versions
        assert row.tasks[0].config["doc_to_text"] == "Question: {{question}}\nAnswer:"
        assert (row.tasks[0].n, row.tasks[0].n_available, row.tasks[0].is_limited) == (8, 8, False)
        assert {len(values) for values in arrays_of(store, row.tasks[0], ITEM_SCORES).values()} == {8}
    assert (
        dense.costs[0].decode_multiply_adds > large.costs[0].decode_multiply_adds > small.costs[0].decode_multiply_adds
    )
    saved = dense.size.params - small.size.params
    assert dense.costs[0].decode_multiply_adds - small.costs[0].decode_multiply_adds == saved
    assert [s.prefill_ratio.median for s in dense.costs[0].speeds] == [1.0, 1.0]
    assert results(store, analysis.id) == [dense, large, small]
    assert json.loads(json.dumps(row_to_json(small)))["tasks"][0]["metrics"]["acc"]["value"] == small.tasks[0].acc.value

    before = store.keys()
    monkeypatch.setattr(opening, "open_model", None)  # nothing is missing, so nothing is opened
    assert run(store, tmp_path, analysis, maps, plan) == [dense, large, small]
    assert store.keys() == before


def test_differences_are_paired_with_the_stored_scores_of_the_dense_model(store, tmp_path, analysis, plan):
    dense, small = run(store, tmp_path, analysis, rank_maps(analysis, 0.4), replace(plan, cost=None))
    own, other = (arrays_of(store, row.tasks[0], ITEM_SCORES)["acc"] for row in (small, dense))
    difference = small.tasks[0].differences["acc"]
    assert difference.mean == pytest.approx(np.mean(own - other))
    assert difference.low <= difference.mean <= difference.high
    own, other = (arrays_of(store, row.summaries[0], ARTICLES)["rougeL"] for row in (small, dense))
    assert small.summaries[0].differences["rougeL"].mean == pytest.approx(np.mean(own - other))
    assert dense.tasks[0].differences == dense.summaries[0].differences == {}
    shown, of_dense = summary_texts(store, small.summaries[0]), summary_texts(store, dense.summaries[0])
    assert [t.article for t in shown] == list(LINES)
    assert [t.dense for t in shown] == [t.compressed for t in of_dense]


class Stopped(Exception):
    """Stands for a cancellation at a chosen moment."""


def test_a_stopped_evaluation_keeps_its_parts_and_the_next_one_goes_on(store, tmp_path, analysis, plan):
    (rank_map,) = rank_maps(analysis, 0.6)

    def stop_at_the_second_summaries(stage, fraction, message):
        if stage == "summaries":
            begun.append(message)
            if len(begun) == 2:
                raise Stopped

    begun: list[str] = []
    with pytest.raises(Stopped):
        run(store, tmp_path, analysis, [rank_map], plan, stop_at_the_second_summaries)
    dense, row = results(store, analysis.id)
    assert len(dense.summaries) == 1
    assert (len(row.tasks), len(row.summaries), len(row.costs)) == (1, 0, 1)
    kept = set(store.keys())
    dense, row = run(store, tmp_path, analysis, [rank_map], plan)
    assert {key.stage for key in set(store.keys()) - kept} == {"summaries"}
    assert len(row.summaries) == 1


def test_the_dense_model_is_measured_once_for_all_maps_and_opened_once(store, tmp_path, analysis, plan, monkeypatch):
    opened = []
    real = opening.open_model
    monkeypatch.setattr(opening, "open_model", lambda *a, **k: opened.append(a) or real(*a, **k))
    run(store, tmp_path, analysis, rank_maps(analysis, 0.8, 0.5), plan)
    assert len(opened) == 1
    kept = set(store.keys())
    run(store, tmp_path, analysis, rank_maps(analysis, 0.7), plan)
    new = [store.read(key).manifest.about for key in set(store.keys()) - kept]
    assert len(new) == 5  # the losses of single tokens lie beside the perplexity
    assert {about["analysis"] for about in new} == {analysis.id}


def test_memory_is_measured_alike_for_the_dense_model_and_for_a_map(store, tmp_path, analysis):
    dense, row = run(store, tmp_path, analysis, rank_maps(analysis, 0.6), Plan((), memory=MemorySpec("float32", 12)))
    assert row.memories[0].setting == dense.memories[0].setting
    assert row.memories[0].peak_bytes > row.memories[0].base_bytes > 0


def test_a_perplexity_measured_before_is_the_same_measurement(store, tmp_path, analysis, plan):
    (rank_map,) = rank_maps(analysis, 0.7)
    session = measuring.EvaluationSession(Home(tmp_path), analysis.id, plan.texts[0], ignore_progress, device="cpu")
    alone = session.measure(rank_map, ignore_progress)
    _, row = run(store, tmp_path, analysis, [rank_map], Plan(plan.texts))
    assert row.perplexities[0].provenance.artifact == alone.provenance.artifact
    assert replace(row.perplexities[0], prediction=None) == alone
    assert len(store.keys("evaluation")) == 1


def test_bad_input_is_one_sentence_before_anything_is_measured(store, tmp_path, analysis, plan, text_file):
    (rank_map,) = rank_maps(analysis, 0.7)
    kept = store.keys()
    with pytest.raises(RankScopeError, match="A limit of 0 items"):
        run(store, tmp_path, analysis, [rank_map], replace(plan, limit=0))
    with pytest.raises(InvalidRankMapError):
        run(store, tmp_path, analysis, [replace(rank_map, model_fingerprint="0" * 64)], plan)
    with pytest.raises(RankScopeError, match="one type"):
        replace(plan, dtype="bfloat16")
    assert store.keys() == kept
    articles = replace(plan.summaries.corpus, length=200)
    long = replace(plan.summaries, corpus=articles, template="{article}" + " word" * 150)
    with pytest.raises(RankScopeError, match="128 positions"):
        run(store, tmp_path, analysis, [rank_map], Plan((), summaries=long))
    wrong = CorpusSpec.parse(str(text_file), part="evaluation", n_sequences=2, length=32)
    with pytest.raises(RankScopeError, match="has no second column"):
        run(store, tmp_path, analysis, [rank_map], Plan((), summaries=replace(plan.summaries, corpus=wrong)))


def test_progress_goes_forward_and_names_the_step_that_is_done(store, tmp_path, analysis, plan):
    reported = []
    report = lambda stage, fraction, message: reported.append((fraction, message))  # noqa: E731
    measure_all(Home(tmp_path), analysis.id, rank_maps(analysis, 0.8, 0.6), plan, report, device="cpu")
    fractions = [fraction for fraction, _ in reported if fraction is not None]
    assert fractions == sorted(fractions)
    messages = list(dict.fromkeys(message for _, message in reported))
    assert "Compressing: Water-filling, 80" in "\n".join(messages)
    assert not any("stored" in message for message in messages)


def test_a_first_analysis_is_followed_by_measurements_of_every_method(tmp_path, model_folder, text_file, monkeypatch):
    monkeypatch.setenv("RANKSCOPE_HOME", str(tmp_path))
    monkeypatch.setattr("engine.jobs.queue.start_detached", lambda *_: None)
    text = {"text": str(text_file), "n_sequences": 6, "length": 32}
    queue = JobQueue(tmp_path)
    hooks = (ignore_progress, lambda name, arguments, title: queue.submit(name, arguments, title=title))
    operations.run("analyse", {"model": str(model_folder("llama-gqa")), **text}, *hooks)
    assert queue.jobs() == []
    operations.run("analyse", {"model": str(model_folder("llama-gqa")), **text, "measure": True}, *hooks)
    (job,) = queue.jobs()
    assert job.title.startswith(
        "Measure Water-filling at 80.0 %, Water-filling at 60.0 %, Water-filling at 90.0 % and "
    )
    operations.run(job.operation, job.arguments, *hooks)
    rows = [row for row in results(Home(tmp_path).store, job.arguments["analysis"]) if not row.is_dense]
    assert {row.method for row in rows} >= {"water-filling", "svd-llm", "flrc", "skipcat"}
    assert len({p.setting for row in rows for p in row.perplexities}) == 1
    assert reference_text(rows).rows == tuple(rows)


def test_rounded_weights_are_measured_beside_the_rounded_dense_model_in_rows_of_their_own(
    store, tmp_path, analysis, plan
):
    (rank_map,) = rank_maps(analysis, 0.7)
    whole = replace(plan, cost=None)
    _, plain = run(store, tmp_path, analysis, [rank_map], whole)
    rounded = {bits: run(store, tmp_path, analysis, [rank_map], replace(whole, weight_bits=bits)) for bits in (8, 4)}
    for bits, (dense, alone, row) in rounded.items():
        assert (dense.weight_bits, alone.weight_bits, row.weight_bits) == (16, bits, bits)
        assert (alone.method, alone.rank_map.blocks, row.map_id) == ("dense", (), plain.id)
        assert row.perplexities[0].setting == plain.perplexities[0].setting == dense.perplexities[0].setting
        assert len(row.tasks) == len(row.summaries) == len(alone.tasks) == 1
        assert "torchao" in row.perplexities[0].provenance.versions
        assert row.model_bytes == row.size.model_bytes[f"int{bits}"] < plain.model_bytes
    errors = [abs(rounded[bits][1].perplexities[0].increase) for bits in (8, 4)]
    assert 0 < errors[0] < errors[1]
    every = results(store, analysis.id)
    assert [row.weight_bits for row in every] == [16, 8, 4, 16, 8, 4]
    assert reference_text(every).rows == tuple(row for row in every if row.id == plain.id)
    kept = set(store.keys())
    assert run(store, tmp_path, analysis, [rank_map], replace(whole, weight_bits=4)) == rounded[4]
    assert set(store.keys()) == kept
