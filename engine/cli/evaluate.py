"""``rankscope evaluate``: rank maps measured beside the dense model, in perplexity or more ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from engine.cli._console import AnalysisId, AsJson, artifact_store, out, print_json, run_job
from engine.cli._settings import Settings, with_settings
from engine.jobs import JobQueue
from engine.operations import Evaluate
from engine.prediction.instead import instead_of
from engine.results.outcomes import Evaluation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.results.rows import PredictedPerplexity, ResultRow


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
    queue: JobQueue,
    as_json: AsJson = False,
) -> None:
    """Measure rank maps beside the dense model: on held-out text, and at level quick or full in more ways."""
    from engine.pipeline.reading.analyses import load_analysis
    from engine.pipeline.reading.results import results
    from engine.rank_map.files import find_rank_map

    analysis = load_analysis(artifact_store(), analysis_id)
    maps = [find_rank_map(words, analysis) for words in rank_maps]
    operation = Evaluate(analysis=analysis.id, rank_maps=tuple(m.to_json() for m in maps), **settings)
    result = run_job(operation, Evaluation, queue)
    if as_json:
        print_json(result)
        return
    print_rows([result.dense, *result.maps])
    measured = {row.id: row for row in results(artifact_store(), analysis.id)}
    for row in (measured[row.id] for row in result.maps if row.id in measured):
        instead = instead_of(list(measured.values()), row)
        if instead is not None:
            out.print(f"{_title(row)}: {instead.words}", highlight=False, markup=False)


def print_rows(rows: Sequence[ResultRow]) -> None:
    """Print a column per model; where a row measured something more than once, the newest."""
    columns = [_figures(row) for row in rows]
    table = Table("", *(_title(row) for row in rows))
    for name in dict.fromkeys(name for column in columns for name in column):
        table.add_row(name, *(column.get(name, "") for column in columns))
    out.print(table)


def _title(row: ResultRow) -> str:
    rounded = f", {row.rounded_to}" if row.rounded_to else ""
    return f"{row.method} {row.size.kept_fraction:.3f}{rounded}"


def _predicted(prediction: PredictedPerplexity | None) -> str:
    return "" if prediction is None else f" (predicted {prediction.low:.2f} to {prediction.high:.2f})"


def _figures(row: ResultRow) -> dict[str, str]:
    figures = {"MB": f"{row.model_bytes / 1e6:,.1f}"}
    for text in row.perplexities:
        figures.setdefault(f"perplexity, {text.measured_on}", f"{text.perplexity:.2f}{_predicted(text.prediction)}")
    for task in row.tasks:
        for metric, score in task.metrics.items():
            stderr = "" if score.stderr is None else f" ± {score.stderr:.3f}"
            items = f"{task.n:,} of {task.n_available:,} items"
            figures.setdefault(f"{task.task} {metric}, {items}", f"{score.value:.3f}{stderr}")
    for summaries in row.summaries:
        for measure, interval in summaries.rouge.items():
            shown = f"{interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}]"
            figures.setdefault(f"{measure}, {summaries.n} articles", shown)
    for cost in row.costs:
        for speed in cost.speeds:
            stages = {"prefill": (speed.prefill, speed.prefill_ratio), "decode": (speed.decode, speed.decode_ratio)}
            for stage, (per_s, ratio) in stages.items():
                name = f"{stage}, tokens/s, batch {speed.batch_size} (× dense)"
                figures.setdefault(name, f"{per_s.median:,.1f} ({ratio.median:.2f})")
        figures.setdefault("multiply-adds per decoded token, 10⁶", f"{cost.decode_multiply_adds / 1e6:,.1f}")
    for memory in row.memories:
        figures.setdefault("peak memory, MB", f"{memory.peak_bytes / 1e6:,.0f}")
    return figures
