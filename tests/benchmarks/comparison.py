"""The comparison table in the README, from `rankscope compare`, and every method's maps trained.

Run: python -m tests.benchmarks.comparison [--keep 0.9,0.8,0.7,0.6,0.5] [--trained 0.6] [--analysis ID] [--write]
The home is RANKSCOPE_HOME; what was measured there is not measured again. Maps are trained alike, whoever made them: on
--train-sequences of the calibration text, without the correction. With --write the table replaces the one in README.md,
else it goes to standard output.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.methods.allocate import Request, allocate_rank_map
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.pipeline.reading.trials import with_searched_maps
from engine.pipeline.refine import refine
from engine.progress import ignore_progress
from engine.settings import home
from engine.specs import TrainingSpec
from engine.types import Budget
from tests.benchmarks.refinement import sessions_on, spec_of

README = Path(__file__).resolve().parents[2] / "README.md"
START = "<!-- comparison: python -m tests.benchmarks.comparison --trained 0.6 --write -->"
END = "<!-- end of comparison -->"


def compared(keep: str, analysis: str | None) -> dict[str, Any]:
    """Return what `rankscope compare --json` says, with its progress on the terminal."""
    command = [
        Path(sys.executable).with_name("rankscope"),
        "compare",
        *([analysis] if analysis else []),
        "--keep",
        keep,
        "--json",
    ]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(answer)
    return result


def trained_rows(result: dict[str, Any], keeps: list[float], n_sequences: int) -> list[dict[str, Any]]:
    """Return a row like those of the comparison for every method at some of its sizes, its map trained."""
    analysis = load_analysis(home().store, result["analysis"])
    curves, request = curves_by_metric(analysis), with_searched_maps(Request(), home().store, analysis)
    spec, sessions = spec_of("trained", TrainingSpec(n_sequences, minutes=60)), sessions_on(analysis.id, 20, 10)
    assert spec is not None
    rows = []
    for method in dict.fromkeys(row["method"] for row in result["rows"]):
        for keep in keeps:
            budget = Budget.of_kept_fraction(keep, analysis.inventory.compressible_params)
            rank_map = allocate_rank_map(analysis, curves, method, budget, request)
            sys.stderr.write(f"Training {method} at {keep:g}\n")
            key = refine(home(), analysis.id, rank_map, spec, ignore_progress)
            row: dict[str, Any] = {"method": f"{method}, trained", "target_kept_fraction": keep}
            for prefix, session in zip(("", "other_"), sessions, strict=True):
                found = session.measure(rank_map, ignore_progress, key)
                row |= {f"{prefix}perplexity": found.perplexity, f"{prefix}dense_perplexity": found.dense_perplexity}
            rows.append(row)
    return rows


def as_markdown(result: dict[str, Any]) -> str:
    """Return one line per method, in and out of domain at every budget."""
    rows = {(row["method"], row["target_kept_fraction"]): row for row in result["rows"]}
    methods = list(dict.fromkeys(method for method, _ in rows))
    keeps = list(dict.fromkeys(keep for _, keep in rows))
    first = result["rows"][0]
    lines = [
        "| method | " + " | ".join(f"kept {keep:g}" for keep in keeps) + " | search, s |",
        "|---|" + "---|" * (len(keeps) + 1),
    ]
    for method in methods:
        cells = [_cell(rows.get((method, keep))) for keep in keeps]
        seconds = [row["search_s"] for keep in keeps if "search_s" in (row := rows.get((method, keep), {}))]
        lines.append(f"| {method} | " + " | ".join(cells) + f" | {f'{max(seconds):.3g}' if seconds else '–'} |")
    error = result["prediction_median_relative_error"]
    lines += [
        "",
        f"Perplexity over that of the dense model ({first['dense_perplexity']:.2f} on held-out Wikipedia passages, "
        f"{first['other_dense_perplexity']:.2f} on BBC news): in domain / out of domain. Search: seconds to choose the "
        "ranks after the analysis that all methods share. Predictions of the increase of the loss, made without the "
        f"row itself, miss by {error:.1%} in the median.",
    ]
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    inside = row["perplexity"] / row["dense_perplexity"]
    outside = row["other_perplexity"] / row["other_dense_perplexity"]
    return f"{inside:.2f} / {outside:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", default="0.9,0.8,0.7,0.6,0.5")
    parser.add_argument("--trained", type=float, nargs="+", default=[], help="sizes at which maps are trained, too")
    parser.add_argument("--train-sequences", type=int, default=64)
    parser.add_argument("--analysis", help="default: the newest, or a new one of the demo")
    parser.add_argument("--write", action="store_true", help="replace the table in README.md")
    chosen = parser.parse_args()
    result = compared(chosen.keep, chosen.analysis)
    result["rows"] += trained_rows(result, chosen.trained, chosen.train_sequences)
    table = as_markdown(result)
    if not chosen.write:
        sys.stdout.write(table + "\n")
        return
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(START)
    _, after = rest.split(END)
    README.write_text(f"{before}{START}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
