"""From an analysis to measured rank maps: a search whose every trial is stored as soon as it is measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cache import fingerprint
from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.presets import SEARCHED
from engine.pipeline.reading.analyses import curves_by_metric
from engine.pipeline.search_session import SearchSession
from engine.progress import ignore_progress, part_of
from engine.search.goals import Goal, starting_points
from engine.search.outcome import SearchedMap, SearchOutcome
from engine.search.predicted import best_predicted_point
from engine.search.study import Evaluated, best_of, evaluated_trials, open_storage, open_study, pareto_set, run_trials
from engine.types import Budget, Format, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.progress import Report
    from engine.search.specs import SearchSpec
    from engine.settings import Home

_STARTS = 10


def search(
    home: Home,
    analysis_id: str,
    spec: SearchSpec,
    report: Report,
    *,
    device: str = "auto",
    worker: int = 0,
) -> SearchOutcome:
    """Search, and return the best maps; what was measured before, or by another worker, counts.

    Workers with different numbers share the trials and propose different points; all return the same maps.

    Raises:
        RankScopeError: the analysis, its model or the text does not allow it, or hardly any point is feasible.
    """
    session = SearchSession(home, analysis_id, spec.objective, spec.space, part_of(report, 0.0, 0.2), device=device)
    goal, space = spec.goal, session.space
    starts = starting_points(space, goal, _guides(session, goal), min(_STARTS, max(spec.n_trials // 2, 2)), spec.seed)
    name = _study_name(session, spec)
    storage = spec.storage or str(home.studies / f"{name}.journal")
    study = open_study(open_storage(storage), name, goal, starts, spec.seed + worker)
    budget = int(goal.high * session.analysis.inventory.compressible_params)
    trials = part_of(report, 0.2, 1.0)
    begun = time.monotonic()
    spent = {"apply": 0.0, "evaluate": 0.0}

    def evaluate(point: Mapping[str, float], number: int) -> float:
        done = evaluated_trials(study)
        best = best_of(done, goal.high)
        so_far = "" if best is None else f", least objective so far {best.objective:.4g}"
        message = f"Trial {len(done) + 1} of {spec.n_trials} (proposal {number + 1}){so_far}"
        trials("search", min(len(done) / spec.n_trials, 1.0), message)
        trial = session.measure(session.rank_map(point, budget), ignore_progress)
        for what in spent:
            spent[what] += trial.seconds[what]
        return trial.objective

    def idle() -> None:
        n_done = len(evaluated_trials(study))
        trials(
            "search", n_done / spec.n_trials, f"{n_done} of {spec.n_trials} trials measured; others measure the rest"
        )

    run_trials(study, space, goal, evaluate, spec.n_trials, idle)
    measured = evaluated_trials(study)
    report("search", 1.0, f"{len(measured)} trials measured")
    best = best_of(measured, goal.high)
    return SearchOutcome(
        analysis=session.analysis.id,
        study=name,
        subset=session.subset_key.fingerprint,
        storage=storage.split("@")[-1],
        space={v.name: len(v.projections) for v in space.variables},
        trials=len(measured),
        seconds={**{k: round(v, 2) for k, v in spent.items()}, "total": round(time.monotonic() - begun, 2)},
        best=None if best is None else _searched_map(session, best, budget),
        pareto=tuple(_searched_map(session, t, budget) for t in pareto_set(measured)) if goal.pareto else None,
    )


def _guides(session: SearchSession, goal: Goal) -> dict[float, list[dict[str, float]]]:
    """Return kept fractions at which a search begins, each with points to begin with.

    The best predicted one comes first: it is the answer until something is measured, so that no answer gets worse by
    measuring it beside others. Water-filling's map, projected onto the space, follows where there is one.
    """
    analysis, space = session.analysis, session.space
    sizes = [goal.low + (goal.high - goal.low) * k / 4 for k in (4, 3, 2, 1)] if goal.pareto else [goal.high]
    curves = curves_by_metric(analysis)
    guides: dict[float, list[dict[str, float]]] = {}
    for size in sizes:
        foreseen = best_predicted_point(space, analysis.nats[SEARCHED.metric], size)
        guides[size] = [] if foreseen is None else [foreseen]
        if Metric.LOSS in curves:
            budget = Budget.of_kept_fraction(size, analysis.inventory.compressible_params)
            only = Request(formats=frozenset({Format.LOW_RANK}))
            filled = allocate_rank_map(analysis, curves, "water-filling", budget, only)
            guides[size].append(space.projected(filled.blocks, size))
    return guides


def _study_name(session: SearchSession, spec: SearchSpec) -> str:
    """Name what may share trials: equal measure, equal variables, equal goal."""
    decided = {
        "divergence_weight": spec.objective.divergence_weight,
        "space": spec.space,
        "goal": spec.goal,
    }
    return f"{SEARCHED.name}-{fingerprint('study', decided, [session.subset_key.fingerprint], schema_version=1)[:16]}"


def _searched_map(session: SearchSession, measured: Evaluated, budget: int) -> SearchedMap:
    trial = session.measure(session.rank_map(measured.point, budget), ignore_progress)
    return SearchedMap(
        trial=measured.number,
        id=trial.id,
        objective=measured.objective,
        perplexity=trial.perplexity,
        dense_perplexity=trial.dense_perplexity,
        divergence=trial.divergence,
        kept_fraction=measured.kept_fraction,
        params=trial.params,
        point=measured.point,
    )
