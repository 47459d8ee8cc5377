"""``rankscope compress``: from an analysis and a size to a folder, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli._console import AnalysisId, AsJson, Detach, artifact_store, finish_job, out, print_json
from engine.cli._settings import Settings, with_settings
from engine.cli.export import print_export
from engine.export.outcome import Compressed
from engine.jobs import JobQueue
from engine.operations import Compress
from engine.paths import given_path
from engine.results.words import percent, ratio


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope compress 3f2a ./small --keep 0.6")(compress)


@with_settings(Compress)
def compress(
    analysis_id: AnalysisId,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help=Compress.settings()["folder"].help)],
    settings: Settings,
    queue: JobQueue,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Compress a model to a size as well as can be, measure it beside the original, and export it."""
    from engine.pipeline.reading.analyses import load_analysis

    analysis = load_analysis(artifact_store(), analysis_id)
    operation = Compress(analysis=analysis.id, folder=str(given_path(str(folder)).absolute()), **settings)
    result = finish_job(operation, Compressed, queue, detach=detach, as_json=as_json)
    if result is None:
        return
    if as_json:
        print_json(result)
        return
    how = ", trained" if result.trained else ""
    out.print(f"{result.model} at {percent(result.kept_fraction)} of its compressible parameters{how}:")
    for found in result.perplexities:
        times = ratio(found.perplexity / found.dense_perplexity)
        out.print(f"  {found.text}: perplexity {found.perplexity:.2f}, dense {found.dense_perplexity:.2f} ({times})")
    if result.trained is False:
        out.print("Training found nothing better on text it did not read; the factors are those before it.")
    print_export(result.exported)
