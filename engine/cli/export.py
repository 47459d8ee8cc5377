"""``rankscope export``: a compressed model as a folder that transformers opens by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from engine import operations
from engine.cli._console import AnalysisId, AsJson, Detach, artifact_store, changed, finish_job, out, print_json
from engine.export.new_folder import require_new


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope export 3f2a map.json ./small-model")(export)


def export(
    analysis_id: AnalysisId,
    rank_map: Annotated[str, typer.Argument(metavar="MAP", help="Rank map to compress with: a file or @NAME.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; new or empty.")],
    export_format: Annotated[
        str, typer.Option("--format", help="factored (small), or dense: ordinary weights that save nothing.")
    ] = "factored",
    dtype: Annotated[str, typer.Option(help="auto (the checkpoint's own), float32, bfloat16 or float16.")] = "auto",
    refinement: Annotated[str | None, typer.Option(help="Id of refined factors of this map, or its start.")] = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Export the compressed model, and open it in a fresh process before saying so."""
    from engine.pipeline.reading.analyses import load_analysis
    from engine.rank_map.files import find_rank_map

    analysis = load_analysis(artifact_store(), analysis_id)
    chosen = find_rank_map(rank_map, analysis)
    arguments = changed(operations.EXPORT_DEFAULTS, format=export_format, dtype=dtype, refinement=refinement)
    operations.export_spec(arguments)
    target = folder.expanduser().absolute()
    require_new(target)
    arguments |= {"analysis": analysis.id, "rank_map": chosen.to_json(), "folder": str(target)}
    title = f"Export one {chosen.method} map of {chosen.model_name}"
    result = finish_job("export", arguments, title, detach=detach, as_json=as_json)
    if result is None:
        return
    print_json(result) if as_json else print_export(result)


def print_export(result: dict[str, Any]) -> None:
    """Print what an export wrote and how it is loaded."""
    sizes = f"{result['weight_bytes'] / 1e6:,.1f} MB of weights, {result['dense_weight_bytes'] / 1e6:,.1f} MB dense"
    lines = [f"Wrote {result['folder']}: {sizes} ({result['dtype']})."]
    if not result["saves_memory"]:
        lines.append("The factors are multiplied out: this folder saves nothing over the dense model.")
    lines.append(
        f"A fresh process without RankScope opened it; its logits differ by at most "
        f"{result['max_logit_difference']:.3g} (largest logit {result['largest_logit']:.1f})."
    )
    for line in (*lines, "", *result["load"]):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
