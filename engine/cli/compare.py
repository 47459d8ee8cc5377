"""``rankscope compare``: every method at every budget, measured on the same texts."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from engine.cli._console import AsJson, Detach, artifact_store, finish_job, out, print_json, run_job, warn_of_unreadable
from engine.cli._settings import Settings, with_settings
from engine.jobs import JobQueue
from engine.operations import Analyse, Compare
from engine.results.comparison import Comparison


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope compare --keep 0.9,0.8,0.7,0.6,0.5")(compare)


@with_settings(Compare, kept_fractions="--keep")
def compare(
    settings: Settings,
    queue: JobQueue,
    analysis_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ANALYSIS]",
            help="Id of an analysis; default: the newest of a dense model, or a new one of the demo.",
        ),
    ] = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Measure every method at every budget, in and out of domain, and keep the table."""
    from engine.pipeline.reading.analyses import analysis_headings, find_analysis

    operation = Compare(analysis=analysis_id or "", **settings)
    operation.check()
    if analysis_id is None:
        warn_of_unreadable()
        plain = [h for h in analysis_headings(artifact_store()) if h.about["spec"].get("around_kept_fraction") is None]
        analysis_id = plain[0].id if plain else run_job(Analyse(), dict[str, str], queue)["analysis"]
    known = find_analysis(artifact_store(), analysis_id).fingerprint
    result = finish_job(operation.changed(analysis=known), Comparison, queue, detach=detach, as_json=as_json)
    if result is not None:
        print_json(result) if as_json else print_comparison(result)


def print_comparison(comparison: Comparison) -> None:
    """Print a comparison as a table."""
    table = Table("kept", "method", "MB (float16)", "perplexity", "predicted", "other text", "agreement", "search")
    table.title = comparison.texts
    for row in comparison.rows:
        low, high = row.predicted_perplexity_low, row.predicted_perplexity_high
        table.add_row(
            f"{row.kept_fraction:.3f}",
            row.method,
            f"{row.model_mb_float16:.1f}",
            f"{row.perplexity:.2f} ({row.ratio:.2f} ×)",
            f"{row.predicted_perplexity:.2f} ({low:.2f} to {high:.2f})",
            "" if row.other_ratio is None else f"{row.other_perplexity:.2f} ({row.other_ratio:.2f} ×)",
            f"{row.agreement:.1%}",
            f"{row.search_s:.3g} s" + (f", {row.search}" if row.search else ""),
        )
    out.print(table)
    for missing in comparison.impossible:
        out.print(f"{missing.method} at {missing.target_kept_fraction:g}: {missing.reason}")
    error = comparison.prediction_median_relative_error
    if error is not None:
        out.print(f"Median relative error of the predicted increase of the loss, leave-one-out: {error:.1%}")
