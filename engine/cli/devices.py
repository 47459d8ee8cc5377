"""``rankscope devices``: what a rank map would cost on a device, before anything is compressed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from engine.cli._console import AsJson, artifact_store, out, print_json
from engine.errors import InvalidSpecError
from engine.precision import SIZE_TYPES
from engine.settings import home

if TYPE_CHECKING:
    from engine.devices.value import Device


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope devices 3f2a map.json --device apple-m2 --context 4096")(devices)


def devices(
    analysis_id: Annotated[str | None, typer.Argument(metavar="[ANALYSIS]", help="Id of an analysis.")] = None,
    rank_map: Annotated[str | None, typer.Argument(metavar="[MAP]", help="File, name or id of a rank map.")] = None,
    device: Annotated[str, typer.Option(help="Which one; all without it.")] = "",
    batch: Annotated[int, typer.Option(help="Sequences at once.", min=1)] = 1,
    context: Annotated[int, typer.Option(help="Tokens of each in the cache.", min=0)] = 1024,
    dtype: Annotated[str, typer.Option(help=f"Type of the weights: {', '.join(SIZE_TYPES)}.")] = "float16",
    measure: Annotated[bool, typer.Option("--measure", help="Measure this machine first; leave it idle.")] = False,
    as_json: AsJson = False,
) -> None:
    """List devices, or predict milliseconds per token and memory of the dense model and a map on them."""
    from engine.devices.known import devices as known_devices
    from engine.devices.known import get_device, write_measured
    from engine.precision import require_size_type

    require_size_type(dtype)
    if measure:
        from engine.devices.measuring import measure_this_machine

        write_measured(home(), measure_this_machine())
    known = {device: get_device(home(), device, dtype)} if device else known_devices(home(), dtype)
    if analysis_id is None or rank_map is None:
        if analysis_id is not None:
            raise InvalidSpecError("An analysis was given without a rank map; give the map's file, name or id as well.")
        print_json(known) if as_json else out.print(_listed(known))
        return
    rows = _forecasts(analysis_id, rank_map, known, dtype, batch, context)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        out.print(row["answer"])
    out.print(_table(rows))


def _forecasts(
    analysis_id: str, words: str, known: dict[str, Device], dtype: str, batch: int, context: int
) -> list[dict[str, Any]]:
    from engine.devices.roofline import answer, forecast
    from engine.pipeline.reading.analyses import load_analysis
    from engine.rank_map.files import find_rank_map

    analysis = load_analysis(artifact_store(), analysis_id)
    inventory, blocks = analysis.inventory, find_rank_map(words, analysis).blocks
    rows = []
    for name, device in known.items():
        dense, compressed = (
            forecast(decided, inventory, device, dtype=dtype, batch=batch, context=context) for decided in ((), blocks)
        )
        rows.append(
            {
                "device": name,
                "dense": dense,
                "compressed": compressed,
                "ratio": compressed.step_s / dense.step_s,
                "answer": answer(dense, compressed, device),
            }
        )
    return rows


def _listed(known: dict[str, Device]) -> Table:
    table = Table("device", "", "memory, GB", "GB/s", "10⁹ multiply–adds/s", "µs per operation", "source")
    for name, one in known.items():
        figures = one.memory_bytes / 1e9, one.bytes_per_s / 1e9, one.multiply_adds_per_s / 1e9, one.kernel_s * 1e6
        table.add_row(name, one.title, *(f"{figure:,.4g}" for figure in figures), one.source)
    return table


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("device", "ms per token: dense", "map", "× dense", "MB of weights: dense", "map", "MB of cache")
    for row in rows:
        dense, compressed = row["dense"], row["compressed"]
        times = (f"{1e3 * one.step_s:.3g}" for one in (dense, compressed))
        sizes = (f"{one.weight_bytes / 1e6:,.0f}" for one in (dense, compressed))
        cache = "not known" if dense.cache_bytes_per_token is None else f"{dense.cache_bytes / 1e6:,.1f}"
        table.add_row(row["device"], *times, f"{row['ratio']:.2f}", *sizes, cache)
    return table
