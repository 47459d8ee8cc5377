"""``rankscope export``: a compressed model as a folder that transformers opens by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli._console import AnalysisId, AsJson, Detach, artifact_store, finish_job, out, print_json
from engine.cli._settings import Settings, with_settings
from engine.export.outcome import ExportedModel
from engine.jobs import JobQueue
from engine.operations import Export
from engine.paths import given_path


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope export 3f2a map.json ./small-model")(export)


@with_settings(Export)
def export(
    analysis_id: AnalysisId,
    rank_map: Annotated[str, typer.Argument(metavar="MAP", help="Rank map to compress with: a file or @NAME.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help=Export.settings()["folder"].help)],
    settings: Settings,
    queue: JobQueue,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Export the compressed model, and open it in a fresh process before saying so."""
    from engine.pipeline.reading.analyses import load_analysis
    from engine.rank_map.files import find_rank_map

    analysis = load_analysis(artifact_store(), analysis_id)
    chosen = find_rank_map(rank_map, analysis)
    target = given_path(str(folder)).absolute()
    operation = Export(analysis=analysis.id, rank_map=chosen.to_json(), folder=str(target), **settings)
    result = finish_job(operation, ExportedModel, queue, detach=detach, as_json=as_json)
    if result is None:
        return
    print_json(result) if as_json else print_export(result)


def print_export(exported: ExportedModel) -> None:
    """Print what an export wrote and how it is loaded."""
    sizes = f"{exported.weight_bytes / 1e6:,.1f} MB of weights, {exported.dense_weight_bytes / 1e6:,.1f} MB dense"
    lines = [f"Wrote {exported.folder}: {sizes} ({exported.dtype})."]
    if not exported.saves_memory:
        lines.append("The factors are multiplied out: this folder saves nothing over the dense model.")
    lines.append(
        f"A fresh process without RankScope opened it; its logits differ by at most "
        f"{exported.max_logit_difference:.3g} (largest logit {exported.largest_logit:.1f})."
    )
    if exported.dtype == "int8" and exported.same_top is not None:
        lines.append(f"Rounded to int8, it has the same most probable token after {exported.same_top:.1%} of them.")
    for line in (*lines, "", *exported.load):
        out.print(line, highlight=False, soft_wrap=True)
