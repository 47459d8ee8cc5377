"""The comparison table in the README, from `rankscope compare`.

Run: python -m tests.benchmarks.comparison [--keep 0.9,0.8,0.7,0.6,0.5] [--analysis ID] [--write]
The home is RANKSCOPE_HOME; what was measured there is not measured again. With --write the table replaces the one in
README.md, else it goes to standard output.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parents[2] / "README.md"
START, END = "<!-- comparison: python -m tests.benchmarks.comparison --write -->", "<!-- end of comparison -->"


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
        seconds = max(rows[method, keep]["search_s"] for keep in keeps if (method, keep) in rows)
        lines.append(f"| {method} | " + " | ".join(cells) + f" | {seconds:.3g} |")
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
    parser.add_argument("--analysis", help="default: the newest, or a new one of the demo")
    parser.add_argument("--write", action="store_true", help="replace the table in README.md")
    chosen = parser.parse_args()
    table = as_markdown(compared(chosen.keep, chosen.analysis))
    if not chosen.write:
        sys.stdout.write(table + "\n")
        return
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(START)
    _, after = rest.split(END)
    README.write_text(f"{before}{START}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
