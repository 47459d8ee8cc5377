"""``rankscope evaluate``: rank maps measured beside the dense model, in perplexity or more ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from engine.cli._console import AnalysisId, AsJson, artifact_store, out, print_json, run_job
from engine.cli._settings import Settings, with_settings
from engine.operations import Evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope evaluate 3f2a map.json --level quick --tasks demo_piqa --limit 200")(
        evaluate
    )


@with_settings(Evaluate)
def evaluate(
    analysis_id: AnalysisId,
    rank_maps: Annotated[list[str], typer.Argument(metavar="MAP...", help="Rank maps to measure: files or @NAME.")],
    settings: Settings,
    as_json: AsJson = False,
) -> None:
    """Measure rank maps beside the dense model: on held-out text, and at level quick or full in more ways."""
    from engine.pipeline.reading.analyses import load_analysis
    from engine.rank_map.files import find_rank_map

    analysis = load_analysis(artifact_store(), analysis_id)
    maps = [find_rank_map(words, analysis) for words in rank_maps]
    operation = Evaluate(analysis=analysis.id, rank_maps=tuple(m.to_json() for m in maps), **settings)
    result = run_job(operation)
    print_json(result) if as_json else print_rows([result["dense"], *result["maps"]])


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print a column per model; where a row measured something more than once, the newest."""
    columns = [_figures(row) for row in rows]
    table = Table("", *(f"{row['method']} {row['size']['kept_fraction']:.3f}" for row in rows))
    for name in dict.fromkeys(name for column in columns for name in column):
        table.add_row(name, *(column.get(name, "") for column in columns))
    out.print(table)


def _predicted(prediction: Mapping[str, float] | None) -> str:
    return "" if prediction is None else f" (predicted {prediction['low']:.2f} to {prediction['high']:.2f})"


def _figures(row: Mapping[str, Any]) -> dict[str, str]:
    figures: dict[str, str] = {}
    for found in row["perplexities"]:
        name = f"perplexity, {found['text']}, {found['n_tokens']:,} tokens, {found['provenance']['dtype']}"
        figures.setdefault(name, f"{found['perplexity']:.2f}{_predicted(found['prediction'])}")
    for found in row["tasks"]:
        for metric, score in found["metrics"].items():
            stderr = "" if score["stderr"] is None else f" ± {score['stderr']:.3f}"
            items = f"{found['n']:,} of {found['n_available']:,} items"
            figures.setdefault(f"{found['task']} {metric}, {items}", f"{score['value']:.3f}{stderr}")
    for found in row["summaries"]:
        for measure, interval in found["rouge"].items():
            shown = f"{interval['mean']:.4f} [{interval['low']:.4f}, {interval['high']:.4f}]"
            figures.setdefault(f"{measure}, {found['n']} articles", shown)
    for found in row["costs"]:
        for speed in found["speeds"]:
            for stage in ("prefill", "decode"):
                name = f"{stage}, tokens/s, batch {speed['batch_size']} (× dense)"
                shown = f"{speed[stage]['median']:,.1f} ({speed[f'{stage}_ratio']['median']:.2f})"
                figures.setdefault(name, shown)
        figures.setdefault("multiply-adds per decoded token, 10⁶", f"{found['decode_multiply_adds'] / 1e6:,.1f}")
    for found in row["memories"]:
        figures.setdefault("peak memory, MB", f"{found['peak_bytes'] / 1e6:,.0f}")
    return figures
