"""``rankscope analysis``: carry an analysis from one machine to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli._console import AnalysisId, AsJson, artifact_store, out, print_json
from engine.paths import given_path

group = typer.Typer(help="Carry an analysis to another machine.", no_args_is_help=True)


@group.command(epilog="Example: rankscope analysis export 3f2a llama.tar")
def export(
    analysis_id: AnalysisId,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Archive to write; replaced if it exists.")],
    factors: Annotated[
        bool, typer.Option(help="Without factors the file is small, and nothing can be compressed with it.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Write an analysis, its factors and what was measured with it into one file."""
    from engine.pipeline.portable import export_analysis

    target = given_path(str(file)).absolute()
    size_bytes = export_analysis(artifact_store(), analysis_id, target, with_factors=factors)
    if as_json:
        print_json({"out": str(target), "bytes": size_bytes})
    else:
        out.print(f"Wrote {target}, {size_bytes / 1e6:,.1f} MB. On the other machine: rankscope analysis import FILE")


@group.command("import", epilog="Example: rankscope analysis import llama.tar")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Archive that was exported.")],
    as_json: AsJson = False,
) -> None:
    """Take over an exported analysis; the model itself is needed only to compress or measure it."""
    from engine.pipeline.portable import import_analysis

    analysis_id, imported = import_analysis(artifact_store(), given_path(str(file)).absolute())
    if as_json:
        counts = {"added": len(imported.added), "known": len(imported.known), "bytes": imported.size_bytes}
        print_json({"analysis": analysis_id, **counts})
    elif imported.added:
        out.print(f"Analysis {analysis_id}, {imported.size_bytes / 1e6:,.1f} MB", soft_wrap=True)
    else:
        out.print(f"Analysis {analysis_id} is here already", soft_wrap=True)
