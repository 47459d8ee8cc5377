"""Searches end to end: every architecture, stored trials, resuming, both goals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.errors import InvalidRankMapError, InvalidSpecError, NumericalError, RankScopeError, ResourceError
from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.cost import cost_of
from engine.pipeline import plan
from engine.pipeline.compare import ComparisonSpec, compare
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.reading.analyses import analysis_headings, curves_by_metric, load_analysis, same_factors
from engine.pipeline.reading.results import results
from engine.pipeline.reading.trials import evaluated_maps, trials, with_searched_maps
from engine.pipeline.search import search
from engine.pipeline.search_session import SearchSession
from engine.progress import ignore_progress
from engine.search.goals import Goal
from engine.search.predicted import best_predicted_point
from engine.search.space import SearchSpace, SpaceSpec
from engine.search.specs import Subset
from engine.search.study import Evaluated, best_of, evaluated_trials, open_storage, open_study, pareto_set, run_trials
from engine.settings import Home
from engine.specs import EvaluationSpec
from engine.types import BlockRank, Budget, Format, Metric
from tests.engine.search.test_space import inventory
from tests.engine.search.worker import bowl
from tests.support.tiers import every_architecture_at_length


def budget_of(analysis, kept):
    return Budget.of_kept_fraction(kept, analysis.inventory.compressible_params)


def allocate(store, analysis, kept, locks=(), formats=None):
    request = with_searched_maps(Request(locks, formats), store, analysis)
    return allocate_rank_map(analysis, curves_by_metric(analysis), "bolaco", budget_of(analysis, kept), request)


@every_architecture_at_length
def test_every_architecture_is_searched_from_a_default_analysis(name, tmp_path, analysed, quick):
    store, analysis = analysed(name)
    foreseen = allocate(store, analysis, 0.8)
    assert cost_of(analysis, foreseen).kept_fraction <= 0.8
    found = search(Home(tmp_path), analysis.id, quick(), ignore_progress, device="cpu")
    assert found.analysis == analysis.id
    stored = trials(store, analysis.id)
    assert found.trials == 4
    assert 1 <= len(stored) <= 4
    assert all(0.7 <= t.kept_fraction <= 0.8 for t in stored)
    assert all(t.objective == pytest.approx(t.perplexity + t.divergence) for t in stored)
    best = min(stored, key=lambda t: t.objective)
    assert found.best.objective == best.objective
    rank_map = allocate(store, analysis, 0.8)
    assert rank_map.metric is Metric.FEATURE
    assert sum(b.rank is not None for b in rank_map.blocks) > 0
    session = SearchSession(
        Home(tmp_path), analysis.id, quick().objective, quick().space, ignore_progress, device="cpu"
    )
    assert session.measure(rank_map, ignore_progress) == best


def test_a_model_that_does_not_fit_is_refused_before_anything_is_computed(tmp_path, analysed, quick, monkeypatch):
    store, analysis = analysed("llama-gqa", metrics=["loss"])
    before = set(store.keys("analysis"))
    text = EvaluationSpec(quick().objective.pool)
    monkeypatch.setattr(plan, "free_memory_bytes", lambda: 10**6)
    with pytest.raises(ResourceError, match="does not fit into memory"):
        search(Home(tmp_path), analysis.id, quick(), ignore_progress, device="cpu")
    with pytest.raises(ResourceError, match="does not fit into memory"):
        compare(Home(tmp_path), analysis.id, ComparisonSpec((0.8,), ("bolaco",), text, None), ignore_progress)
    assert set(store.keys("analysis")) == before
    unsearched = ComparisonSpec((0.8,), ("bolaco",), text, None, search_trials=0)
    (row,) = compare(Home(tmp_path), analysis.id, unsearched, ignore_progress, device="cpu").rows
    assert row.kept_fraction <= 0.8


def test_a_search_goes_on_where_it_stopped_and_measures_nothing_twice(tmp_path, analysed, quick):
    store, analysis = analysed("llama-gqa", metrics=["feature", "loss"])
    places = (Home(tmp_path), analysis.id)
    first = search(*places, quick(), ignore_progress, device="cpu")
    before = set(store.keys("trial"))
    again = search(*places, quick(), ignore_progress, device="cpu")
    assert again.best == first.best
    assert again.seconds["evaluate"] == 0
    assert set(store.keys("trial")) == before
    more = search(*places, quick(n_trials=6), ignore_progress, device="cpu")
    assert more.study == first.study
    assert more.trials == 6
    assert before <= set(store.keys("trial"))
    assert more.best.objective <= first.best.objective


def test_the_predicted_map_is_measured_first_then_water_fillings_and_the_uniform_one(tmp_path, analysed, quick):
    store, analysis = analysed("llama", metrics=["feature", "loss"])
    foreseen = best_predicted_point(
        SearchSpace.of(analysis.inventory, quick().space), analysis.nats[Metric.FEATURE], 0.8
    )
    found = search(Home(tmp_path), analysis.id, quick(n_trials=6), ignore_progress, device="cpu")
    study = open_study(open_storage(found.storage), found.study, Goal.at(0.8), [], 0)
    first, second, third = sorted(evaluated_trials(study), key=lambda t: t.number)[:3]
    assert first.point == foreseen
    assert len(set(second.point.values())) > 1
    assert len(set(third.point.values())) == 1
    # So what is measured is never worse, by what it was measured by, than what was predicted before.
    space = SearchSpace.of(analysis.inventory, quick().space)
    measured = {one.blocks: one.objective for one in evaluated_maps(store, analysis.id)}
    assert found.best.objective <= measured[space.blocks(foreseen)]


def test_an_old_analysis_gets_the_feature_metric_from_a_search_and_loses_nothing(tmp_path, analysed, quick):
    store, old = analysed("llama-gqa", metrics=["input", "loss"])
    with pytest.raises(InvalidSpecError, match="Search for maps, which adds it, or analyse the model again"):
        allocate(store, old, 0.8)
    text = EvaluationSpec(replace(quick().objective.pool, part="evaluation"))
    water_filling = allocate_rank_map(old, curves_by_metric(old), "water-filling", budget_of(old, 0.8))
    EvaluationSession(Home(tmp_path), old.id, text, ignore_progress, device="cpu").measure(
        water_filling, ignore_progress
    )
    (before,) = [row for row in results(store, old.id) if not row.is_dense]
    found = search(Home(tmp_path), old.id, quick(), ignore_progress, device="cpu")
    assert found.analysis != old.id
    (listed,) = analysis_headings(store)
    assert (listed.id, listed.replaces) == (found.analysis, (old.id,))
    new = load_analysis(store, found.analysis)
    assert set(new.nats) == {*old.nats, Metric.FEATURE}
    (row,) = [row for row in results(store, new.id) if not row.is_dense]
    assert (row.id, row.perplexities[0].perplexity) == (before.id, before.perplexities[0].perplexity)
    assert len(trials(store, new.id)) == len(trials(store, old.id)) > 0
    searched = allocate(store, new, 0.8)
    EvaluationSession(Home(tmp_path), new.id, text, ignore_progress, device="cpu").measure(searched, ignore_progress)
    assert len(results(store, new.id)) == 3
    # The old one cannot say what a map in the feature metric costs.
    assert len(results(store, old.id)) == 2


def test_analyses_of_other_factors_stay_apart(analysed):
    store, first = analysed("llama-gqa", metrics=["input", "loss"])
    _, other = analysed("llama-gqa", metrics=["input", "loss"], gradient_shrinkage=0.2)
    _, longer = analysed("llama-gqa", n_sequences=8)
    assert {h.id for h in analysis_headings(store)} == {first.id, other.id, longer.id}
    assert all(same_factors(store, one.id) == {one.id} for one in (first, other, longer))


def test_allocation_takes_the_best_measured_map_near_the_budget_or_a_predicted_one(tmp_path, analysed, quick):
    store, analysis = analysed("llama", metrics=["feature", "loss"])
    spec = quick(Goal(0.5, 0.95, pareto=True), n_trials=6)
    found = search(Home(tmp_path), analysis.id, spec, ignore_progress, device="cpu")
    front = found.pareto
    assert list(front) == sorted(front, key=lambda t: t.kept_fraction)
    assert [t.objective for t in front] == sorted((t.objective for t in front), reverse=True)
    sizes = [t.kept_fraction for t in front]
    measured = {m.blocks: m for m in evaluated_maps(store, analysis.id)}
    for kept in [*sizes, *(size + 0.05 for size in sizes), min(sizes) - 0.01, 1.0]:
        rank_map = allocate(store, analysis, min(kept + 1e-9, 1.0))
        under = [t for t in front if t.kept_fraction <= kept + 1e-9]
        if under and under[-1].kept_fraction > kept - 0.1:
            assert measured[rank_map.blocks].objective == under[-1].objective
        assert cost_of(analysis, rank_map).params <= kept * analysis.inventory.compressible_params + 1
    assert allocate(store, analysis, sizes[0] - 0.01).blocks not in measured
    lock = BlockRank((analysis.inventory.projections[0].name,), Format.LOW_RANK, 4)
    with pytest.raises(InvalidRankMapError, match="cannot hold a rank of"):
        allocate(store, analysis, 0.9, [lock])
    with pytest.raises(InvalidSpecError, match="but skip was asked for"):
        allocate(store, analysis, 0.9, formats=frozenset({Format.SKIP}))


@pytest.mark.parametrize("subset", Subset)
def test_the_subset_is_chosen_once_and_repeatably(subset, tmp_path, analysed, quick):
    store, analysis = analysed("llama", metrics=["feature"])
    spec = replace(quick().objective, subset=subset)
    first = SearchSession(Home(tmp_path), analysis.id, spec, quick().space, ignore_progress, device="cpu")
    assert len(first.tokens) == (4 if subset is Subset.ALL else 2)
    chosen = store.read(first.subset_key).json("subset.json")
    store.delete(first.subset_key)
    again = SearchSession(Home(tmp_path), analysis.id, spec, quick().space, ignore_progress, device="cpu")
    assert again.subset_key == first.subset_key
    assert store.read(again.subset_key).json("subset.json") == chosen
    assert torch.equal(again.tokens, first.tokens)
    assert chosen["skipped"] == 6


def make_study(tmp_path, goal, starts=(), name="s"):
    space = SearchSpace.of(inventory(4, 128, 256, 64), SpaceSpec(rank_step=1))
    study = open_study(open_storage(str(tmp_path / "s.journal")), name, goal, starts, 0)
    return study, space


def test_infeasible_proposals_are_told_but_never_measured(tmp_path):
    goal = Goal.at(0.7)
    study, space = make_study(tmp_path, goal)
    seen = []

    def evaluate(point, number):
        seen.append(space.kept_fraction(point))
        return bowl(point)

    start = space.uniform(0.7)
    study.enqueue_trial(start)
    run_trials(study, space, goal, evaluate, 12, lambda: None)
    assert len(seen) == len(evaluated_trials(study)) == 12
    assert all(goal.allows(kept) for kept in seen)
    infeasible = [t for t in study.trials if max(t.constraints.values()) > 0]
    assert all(("objective" not in t.user_attrs and t.values is not None) or t.state.name == "FAIL" for t in infeasible)
    assert best_of(evaluated_trials(study), 0.7).objective <= bowl(start)


def test_a_failing_measurement_fails_its_trial_only(tmp_path):
    goal = Goal.at(0.9)
    study, space = make_study(tmp_path, goal, [])
    study.enqueue_trial(space.uniform(0.9))
    calls = []

    def evaluate(point, number):
        calls.append(number)
        if len(calls) == 1:
            raise NumericalError("not finite")
        return 2.0

    run_trials(study, space, goal, evaluate, 2, lambda: None)
    assert len(calls) == 3
    assert [t.state.name for t in study.trials if t.number == calls[0]] == ["FAIL"]


def test_a_hopeless_search_ends_with_a_sentence(tmp_path):
    goal = Goal(0.0, 0.0001)
    study, space = make_study(tmp_path, goal)
    with pytest.raises(RankScopeError, match="fewer than 1 measured trials"):
        run_trials(study, space, goal, lambda *_: 1.0, 1, lambda: None)


def test_the_front_holds_what_nothing_beats():
    made = [Evaluated(i, {}, objective, kept) for i, (objective, kept) in enumerate([(5, 0.5), (6, 0.6), (3, 0.7)])]
    assert [t.number for t in pareto_set(made)] == [0, 2]
    assert best_of(made, 0.65).number == 0
    assert best_of(made, 0.4) is None


@pytest.mark.parametrize(
    "url", ["nonsense://x", "sqlite:////no/such/folder/x.db", "postgresql+nodriver://u:secret@h/d"]
)
def test_a_storage_that_cannot_be_opened_is_a_sentence(url):
    with pytest.raises(InvalidSpecError, match="storage cannot be opened") as error:
        open_storage(url)
    assert "secret" not in str(error.value)
