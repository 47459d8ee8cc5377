"""``rankscope search`` and ``post-train``: find rank maps by measuring them, and train what may be trained cheaply."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from engine.cli._console import AnalysisId, AsJson, Detach, artifact_store, finish_job, out, print_json, run_job
from engine.cli._settings import Settings, with_settings
from engine.jobs import JobQueue
from engine.operations import PostTrain, Search
from engine.results.outcomes import PostTraining
from engine.search.outcome import SearchOutcome


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: rankscope search 3f2a --target 0.8 --trials 50")(search)
    app.command("post-train", epilog="Example: rankscope post-train 3f2a map.json --minutes 5")(post_train)


@with_settings(Search, divergence_weight="--lambda")
def search(
    analysis_id: AnalysisId, settings: Settings, queue: JobQueue, detach: Detach = False, as_json: AsJson = False
) -> None:
    """Search rank maps by measuring them, with Bayesian optimisation over kept fractions per kind."""
    from engine.pipeline.reading.analyses import find_analysis

    analysis = find_analysis(artifact_store(), analysis_id).fingerprint
    operation = Search(analysis=analysis, **settings)
    result = finish_job(operation, SearchOutcome, queue, detach=detach, as_json=as_json)
    if result is None:
        return
    if as_json:
        print_json(result)
        return
    table = Table("trial", "kept", "perplexity on the subset", "divergence", "kept by kind")
    for best in result.pareto or (result.best,):
        assert best is not None
        point = ", ".join(f"{name} {fraction:.2f}" for name, fraction in best.point.items())
        shown = (f"{best.kept_fraction:.3f}", f"{best.perplexity:.2f}", f"{best.divergence:.3f}")
        table.add_row(str(best.trial), *shown, point)
    out.print(table)
    known = result.analysis
    if known != analysis:
        out.print(f"The feature metric was added; the trials belong to the analysis {known}", soft_wrap=True)
    largest = operation.high if operation.pareto else operation.target
    out.print(f"Next: rankscope allocate {known[:12]} --method bolaco --keep {largest:g} --out map.json")


@with_settings(PostTrain)
def post_train(
    analysis_id: AnalysisId,
    rank_map: Annotated[str, typer.Argument(metavar="MAP", help="The map to compress with: a file or @NAME.")],
    settings: Settings,
    queue: JobQueue,
    as_json: AsJson = False,
) -> None:
    """Train two vectors per projection on the calibration text; the map keeps its ranks and its size."""
    from engine.pipeline.reading.analyses import load_analysis
    from engine.rank_map.files import find_rank_map

    analysis = load_analysis(artifact_store(), analysis_id)
    chosen = find_rank_map(rank_map, analysis)
    result = run_job(PostTrain(analysis=analysis.id, rank_map=chosen.to_json(), **settings), PostTraining, queue)
    if as_json:
        print_json(result)
        return
    out.print(
        f"Perplexity on {result.corpus}: {result.perplexity_before:.2f} before, {result.perplexity:.2f} after "
        f"{result.steps} steps on {result.trained_on}; dense {result.dense_perplexity:.2f}",
        soft_wrap=True,
    )
