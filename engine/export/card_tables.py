"""What a model card says was measured, and at which ranks; free of torch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.results.rows import PerplexityResult, Score, TaskResult


def measured_lines(perplexities: Sequence[PerplexityResult], tasks: Sequence[TaskResult], dtype: str) -> list[str]:
    """Return the tables of what was measured of exactly this map.

    Args:
        perplexities: the newest first.
        tasks: the newest first.
        dtype: of the stored weights.
    """
    if not perplexities and not tasks:
        return ["Nothing has been measured for this rank map; `rankscope evaluate` does."]
    tables = [table for table in (_perplexities(perplexities), _tasks(tasks)) if table]
    lines = [line for table in tables for line in (*table, "")][:-1]
    if dtype == "int8":
        lines += ["", "Measured before the weights were rounded to int8, which costs something on top."]
    return lines


def rank_lines(rank_pattern: Mapping[str, int]) -> list[str]:
    """Return the section of ranks, folded, in the form PEFT knows."""
    if not rank_pattern:
        return []
    return [
        "## Ranks",
        "",
        f"<details><summary>Of {len(rank_pattern)} linear modules, as <code>rank_pattern</code> in "
        "<code>config.json</code> has them; the others are dense</summary>",
        "",
        "```json",
        json.dumps(rank_pattern, indent=1),
        "```",
        "",
        "</details>",
        "",
    ]


def _perplexities(measurements: Sequence[PerplexityResult]) -> list[str]:
    rows = [
        f"| {_cell(m.text_title)} | {m.n_tokens:,} | {m.provenance.dtype} | {m.perplexity:.4f} | "
        f"{m.dense_perplexity:.4f} | {m.divergence:.4f} | {m.agreement:.4f} |"
        for m in measurements
    ]
    head = [
        "| text | tokens | arithmetic | perplexity | dense | divergence (nats) | same top token |",
        "|---|---|---|---|---|---|---|",
    ]
    return [*head, *rows] if rows else []


def _tasks(tasks: Sequence[TaskResult]) -> list[str]:
    rows = [
        f"| {_cell(task.task)} | {task.n:,} of {task.n_available:,} | {task.provenance.dtype} | {_score(task.acc)} | "
        f"{_difference(task, 'acc')} | {_score(task.acc_norm)} | {_difference(task, 'acc_norm')} |"
        for task in tasks
    ]
    head = [
        "| task, zero-shot | items | arithmetic | acc | − dense | acc_norm | − dense |",
        "|---|---|---|---|---|---|---|",
    ]
    return [*head, *rows] if rows else []


def _score(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{score.value:.4f}" if score.stderr is None else f"{score.value:.4f} ± {score.stderr:.4f}"


def _difference(task: TaskResult, metric: str) -> str:
    found = task.differences.get(metric)
    return "" if found is None else f"{found.mean:+.4f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
