"""``rankscope sensitivity``: how much each projection matters."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from engine.cli._console import AnalysisId, AsJson, artifact_store, out, print_json, run_job
from engine.cli._settings import Settings, with_settings
from engine.jobs import JobQueue
from engine.operations import Sensitivity
from engine.results.outcomes import MeasuredSensitivity


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope sensitivity 3f2a --measure")(sensitivity)


@with_settings(Sensitivity, kept_fraction="--keep")
def sensitivity(
    analysis_id: AnalysisId,
    settings: Settings,
    queue: JobQueue,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also cut every projection alone and measure the loss.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how much each projection matters: FLRC importance, predicted and measured loss increase."""
    from engine.analysis.curves import predicted_increase
    from engine.pipeline.reading.analyses import load_analysis
    from engine.pipeline.reading.measurements import measured_sensitivity

    analysis = load_analysis(artifact_store(), analysis_id)
    operation = Sensitivity(analysis=analysis.id, **settings)
    store = artifact_store()
    measured = run_job(operation, MeasuredSensitivity, queue) if measure else measured_sensitivity(store, analysis.id)
    increases = measured.nll_increase if measured else {}
    kept = measured.kept_fraction if measured else operation.kept_fraction
    rows = [
        {
            "projection": p.name,
            "importance": float(analysis.importances[p.name][0]),
            "predicted_nll_increase": predicted_increase(analysis, p, kept),
            "measured_nll_increase": increases.get(p.name),
        }
        for p in analysis.inventory.projections
    ]
    if as_json:
        print_json({"analysis": analysis.id, "kept_fraction": kept, "projections": rows})
        return
    table = Table("projection", "FLRC importance", f"predicted nats at {kept:g} kept", "measured nats")
    for row in rows:
        measured_value = row["measured_nll_increase"]
        shown = "" if measured_value is None else f"{measured_value:.5f}"
        table.add_row(str(row["projection"]), f"{row['importance']:.3e}", f"{row['predicted_nll_increase']:.5f}", shown)
    out.print(table)
