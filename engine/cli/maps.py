"""``rankscope maps``: rank maps kept under a name, from a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from engine.cli._console import AnalysisId, AsJson, artifact_store, out, print_json, warn_of_unreadable
from engine.cli._files import write_file
from engine.errors import InvalidSpecError
from engine.formats import allocated_params
from engine.rank_map.files import BY_NAME, find_rank_map, named_maps, read_map_file
from engine.rank_map.named import DamagedMap, NamedMap
from engine.rank_map.table import rank_map_to_csv
from engine.types import Metric

if TYPE_CHECKING:
    from engine.analysis.value import Analysis

group = typer.Typer(help="Keep rank maps under a name; other commands take them as @NAME.", no_args_is_help=True)
SavedMap = Annotated[str, typer.Argument(metavar="MAP", help="Name of a saved map, in any case, or its id.")]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="1 to 80 characters, unlike the model's other maps.")]


def describe(named: NamedMap, analysis: Analysis) -> dict[str, object]:
    """Return the documented JSON of a named map."""
    params = allocated_params(named.rank_map.blocks, analysis.inventory)
    return {
        "id": named.id,
        "name": named.name,
        "created": named.created,
        "method": named.rank_map.method,
        "metric": named.rank_map.metric,
        "params": params,
        "kept_fraction": params / analysis.inventory.compressible_params,
    }


@group.command("list", epilog="Example: rankscope maps list 3f2a --json")
def list_maps(analysis_id: AnalysisId, as_json: AsJson = False) -> None:
    """List the saved maps of the analysed model."""
    analysis = _load(analysis_id)
    listed = named_maps(analysis).all()
    whole = [describe(m, analysis) for m in listed if isinstance(m, NamedMap)]
    damaged = [{"id": m.id, "error": m.error} for m in listed if isinstance(m, DamagedMap)]
    warn_of_unreadable()
    if as_json:
        print_json({"maps": whole, "damaged": damaged})
        return
    table = Table("name", "kept", "method", "metric", "created", "id")
    for row in whole:
        cells = [row["name"], f"{row['kept_fraction']:.3f}", row["method"], row["metric"], row["created"], row["id"]]
        table.add_row(*map(str, cells))
    out.print(table)
    for broken in damaged:
        out.print(broken["error"], soft_wrap=True)


@group.command(epilog='Example: rankscope maps save 3f2a map.json "half, by hand"')
def save(
    analysis_id: AnalysisId,
    rank_map: Annotated[str, typer.Argument(metavar="FILE", help="Rank map (.json or .csv), or @NAME.")],
    name: NewName,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the map of this name.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep a rank map under a name."""
    analysis = _load(analysis_id)
    saved = named_maps(analysis).save(name, find_rank_map(rank_map, analysis), overwrite=overwrite)
    _tell(saved, analysis, "Saved", as_json)


@group.command("import", epilog="Example: rankscope maps import 3f2a ranks.csv --metric loss")
def import_map(
    analysis_id: AnalysisId,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rank map, .json or .csv.")],
    name: Annotated[str | None, typer.Option(help="Default: the file's name, with a number if that is taken.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="What a table without a column metric is in; default: loss if there.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Keep the rank map of a file, under the file's name."""
    analysis = _load(analysis_id)
    if metric is not None and metric not in list(Metric):
        raise InvalidSpecError(f"The metric {metric!r} does not exist; expected one of {', '.join(Metric)}.")
    rank_map = read_map_file(file, analysis, Metric(metric) if metric else analysis.default_metric)
    maps = named_maps(analysis)
    saved = maps.save_as_new(file.stem, rank_map) if name is None else maps.save(name, rank_map)
    _tell(saved, analysis, "Saved", as_json)


@group.command(epilog="Example: rankscope maps rename 3f2a draft final")
def rename(analysis_id: AnalysisId, saved_map: SavedMap, name: NewName, as_json: AsJson = False) -> None:
    """Give a saved map another name; its id stays."""
    analysis = _load(analysis_id)
    maps = named_maps(analysis)
    _tell(maps.rename(maps.find(saved_map).id, name), analysis, "Renamed to", as_json)


@group.command(epilog="Example: rankscope maps duplicate 3f2a final variant")
def duplicate(
    analysis_id: AnalysisId,
    saved_map: SavedMap,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Default: the name with a number.")] = None,
    as_json: AsJson = False,
) -> None:
    """Keep a second map of the same content."""
    analysis = _load(analysis_id)
    maps = named_maps(analysis)
    _tell(maps.duplicate(maps.find(saved_map).id, name), analysis, "Saved", as_json)


@group.command(epilog="Example: rankscope maps delete 3f2a draft")
def delete(analysis_id: AnalysisId, saved_map: SavedMap, as_json: AsJson = False) -> None:
    """Delete a saved map; one whose file is damaged is named by its id."""
    maps = named_maps(_load(analysis_id))
    map_id = saved_map if saved_map in maps else maps.find(saved_map).id
    maps.delete(map_id)
    print_json({"deleted": map_id}) if as_json else out.print(f"Deleted the map {map_id}")


@group.command(epilog="Example: rankscope maps export 3f2a final ranks.csv")
def export(
    analysis_id: AnalysisId,
    saved_map: SavedMap,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write; .csv writes a table, .json a rank map.")
    ],
    as_json: AsJson = False,
) -> None:
    """Write a saved map to a file."""
    analysis = _load(analysis_id)
    saved = named_maps(analysis).find(saved_map)
    if file.suffix.lower() not in {".json", ".csv"}:
        raise InvalidSpecError(f"The file {file} was given; expected a name that ends in .json or .csv.")
    is_table = file.suffix.lower() == ".csv"
    content = rank_map_to_csv(saved.rank_map, analysis.inventory) if is_table else saved.rank_map.to_json()
    write_file(file, content)
    if as_json:
        print_json({**describe(saved, analysis), "out": str(file)})
    else:
        out.print(f"Wrote {file}", soft_wrap=True)


def _tell(named: NamedMap, analysis: Analysis, what: str, as_json: bool) -> None:
    if as_json:
        print_json(describe(named, analysis))
        return
    out.print(f"{what} {named.name!r} ({named.id})", soft_wrap=True)
    if "'" not in named.name:
        example = f"rankscope evaluate {analysis.id[:12]} '{BY_NAME}{named.name}'"
        out.print(f"Next: {example}", soft_wrap=True)


def _load(analysis_id: str) -> Analysis:
    from engine.pipeline.reading.analyses import load_analysis

    return load_analysis(artifact_store(), analysis_id)
