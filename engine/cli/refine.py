"""``rankscope refine``: better factors at the same ranks."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli._console import AnalysisId, AsJson, Detach, artifact_store, finish_job, out, print_json
from engine.cli._settings import Settings, with_settings
from engine.jobs import JobQueue
from engine.operations import Refine
from engine.results.outcomes import Refinement


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope refine 3f2a map.json --train --minutes 10")(refine)


@with_settings(Refine)
def refine(
    analysis_id: AnalysisId,
    rank_map: Annotated[str, typer.Argument(metavar="MAP", help="Rank map to refine: a file or @NAME.")],
    settings: Settings,
    queue: JobQueue,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Refine the factors of a rank map against the dense model, and measure before and after."""
    from engine.pipeline.reading.analyses import load_analysis
    from engine.rank_map.files import find_rank_map

    analysis = load_analysis(artifact_store(), analysis_id)
    chosen = find_rank_map(rank_map, analysis)
    operation = Refine(analysis=analysis.id, rank_map=chosen.to_json(), **settings)
    result = finish_job(operation, Refinement, queue, detach=detach, as_json=as_json)
    if result is None:
        return
    if as_json:
        print_json(result)
        return
    before, after = result.perplexities
    how = "without training" if result.training_free else "with training"
    out.print(
        f"Perplexity {before.perplexity:.2f} before, {after.perplexity:.2f} after refining {how} "
        f"({result.seconds:.0f} s); dense {after.dense_perplexity:.2f}"
    )
