"""Measuring rank maps as a command: perplexity alone, or a quick or full evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from engine.cli._console import (
    AnalysisId,
    AsJson,
    Device,
    Text,
    TextField,
    absolute_if_there,
    artifact_store,
    changed,
    out,
    print_json,
    print_values,
    run_job,
)
from engine.errors import InvalidSpecError

if TYPE_CHECKING:
    from collections.abc import Mapping


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope evaluate 3f2a map.json --level quick --tasks demo_piqa --limit 200")(
        evaluate
    )


def evaluate(
    analysis_id: AnalysisId,
    rank_maps: Annotated[list[str], typer.Argument(metavar="MAP...", help="Rank maps to measure: files or @NAME.")],
    level: Annotated[
        str, typer.Option(help="perplexity; quick: a minute for a small model; full: tasks, summaries, speed, memory.")
    ] = "perplexity",
    text: Text = "demo",
    text_field: TextField = "text",
    n_sequences: Annotated[int | None, typer.Option(help="Held-out sequences; default 20, quick 16.")] = None,
    length: Annotated[int, typer.Option(help="Tokens per sequence.")] = 512,
    dtype: Annotated[
        str | None,
        typer.Option(help="Weights and arithmetic: float32 (default), bfloat16 (default of quick and full), float16."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Sequences per pass.")] = 4,
    tasks: Annotated[
        str | None, typer.Option(help="lm-eval's tasks or demo_piqa, demo_openbookqa, …, comma-separated; '' for none.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Items per task; default all, quick 100; 0: all.")] = None,
    other_text: Annotated[str | None, typer.Option(help="A second text; '' for none; full: demo:news.")] = None,
    articles: Annotated[int | None, typer.Option(help="Articles to summarise; default 0, full 50.")] = None,
    article_text: Annotated[str | None, typer.Option(help="demo:news, a .jsonl file or a data set.")] = None,
    article_field: Annotated[str | None, typer.Option(help="Column of the articles.")] = None,
    summary_field: Annotated[str | None, typer.Option(help="Column of the written summaries.")] = None,
    article_length: Annotated[int | None, typer.Option(help="Tokens an article is cut to; default 300.")] = None,
    template: Annotated[str | None, typer.Option(help="Prompt, with {article} where the article goes.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest summary in tokens; default 40.")] = None,
    min_new_tokens: Annotated[int | None, typer.Option(help="Shortest summary in tokens; default 0.")] = None,
    repetitions: Annotated[int | None, typer.Option(help="Of every speed; default 3, full 5; 0: no speed.")] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure rank maps beside the dense model: on held-out text, and at level quick or full in more ways."""
    from engine.levels import level_settings
    from engine.operations import evaluation_title
    from engine.pipeline.reading.analyses import load_analysis
    from engine.rank_map.files import find_rank_map

    analysis = load_analysis(artifact_store(), analysis_id)
    maps = [find_rank_map(words, analysis) for words in rank_maps]
    defaults = level_settings(level)
    given = {
        "n_sequences": n_sequences,
        "dtype": dtype,
        "tasks": None if tasks is None else [name.strip() for name in tasks.split(",") if name.strip()],
        "limit": limit,
        "other_text": other_text if other_text is None else absolute_if_there(other_text),
        "articles": articles,
        "article_text": article_text if article_text is None else absolute_if_there(article_text),
        "article_field": article_field,
        "summary_field": summary_field,
        "article_length": article_length,
        "template": template,
        "max_new_tokens": max_new_tokens,
        "min_new_tokens": min_new_tokens,
        "repetitions": repetitions,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in chosen:
        if name not in defaults:
            raise InvalidSpecError(
                f"--{name.replace('_', '-')} was given, which belongs to --level quick or full; add one of them."
            )
    same = {"text": absolute_if_there(text), "text_field": text_field, "length": length, "batch_size": batch_size}
    arguments = changed(defaults, **same, device=device, **chosen)
    arguments |= {"analysis": analysis.id, "rank_maps": [m.to_json() for m in maps]}
    if level != "perplexity":
        arguments["level"] = level
    result: Any = run_job("evaluate", arguments, evaluation_title(arguments))
    if level == "perplexity":
        _show_perplexities(result, as_json=as_json)
    elif as_json:
        print_json(result)
    else:
        print_rows([result["dense"], *result["maps"]])


def _show_perplexities(results: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(results[0] if len(results) == 1 else results)
        return
    for result in results:
        print_values({name: value for name, value in result.items() if not isinstance(value, dict)})


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print a column per model; where a row measured something more than once, the newest."""
    columns = [_figures(row) for row in rows]
    table = Table("", *(f"{row['method']} {row['size']['kept_fraction']:.3f}" for row in rows))
    for name in dict.fromkeys(name for column in columns for name in column):
        table.add_row(name, *(column.get(name, "") for column in columns))
    out.print(table)


def _figures(row: Mapping[str, Any]) -> dict[str, str]:
    figures: dict[str, str] = {}
    for found in row["perplexities"]:
        name = f"perplexity, {found['text']}, {found['n_tokens']:,} tokens, {found['provenance']['dtype']}"
        figures.setdefault(name, f"{found['perplexity']:.2f}")
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
