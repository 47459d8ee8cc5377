"""The dense model and water-filling's maps at 16, 8 and 4 bits: quality in and out of domain, bytes, and the front.

Run: python -m tests.benchmarks.bits [--keep 0.9,0.8] [--formats low-rank,cat] [--set model=FOLDER]
The home is RANKSCOPE_HOME; measurements are stored there, so a second run takes seconds. The table goes to standard
output as Markdown.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.methods.allocate import Request, allocate_rank_map
from engine.operations import Analyse
from engine.pipeline.analyse import analyse
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.measure.plan import dense_map
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.pipeline.reading.results import results
from engine.progress import ignore_progress
from engine.quantization.precision import STORED_AS
from engine.rank_map.identity import map_id
from engine.results.pareto import pareto_front
from engine.results.rows import DENSE, of_setting
from engine.settings import home
from engine.specs import CorpusSpec, EvaluationSpec
from engine.types import Budget, Format

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap

TEXTS = (("demo", 20), ("demo:news", 10))
"""In and out of domain, and how many sequences of 512 tokens of each."""


@dataclass(frozen=True)
class Line:
    """One model: what it is, its bytes, and its perplexity over dense on each text."""

    name: str
    bits: int
    n_bytes: int
    ratios: tuple[float, ...]


def measure(analysis: Analysis, maps: Mapping[str, RankMap], dtype: str) -> list[Line]:
    """Measure every map at every number of bits on both texts."""
    settings: list[tuple[Hashable, ...]] = []
    for text, n_sequences in TEXTS:
        corpus = CorpusSpec.parse(text, part="evaluation", n_sequences=n_sequences, length=512)
        spec = EvaluationSpec(corpus, dtype)
        session = EvaluationSession(home(), analysis.id, spec, ignore_progress)
        for bits in STORED_AS:
            opened = session.opened.of(analysis, bits)
            at_bits = EvaluationSession(home(), analysis.id, spec, ignore_progress, opened=opened)
            for name, rank_map in maps.items():
                if bits == 16 and not rank_map.blocks:
                    continue  # what everything is compared with
                found = at_bits.measure(rank_map, ignore_progress)
                sys.stderr.write(f"{name} at {bits} bits on {text}: {found.ratio:.3f}\n")
        settings.append(found.setting)
    rows = {row.id: row for row in results(home().store, analysis.id)}
    lines = []
    for name, rank_map in maps.items():
        for bits in STORED_AS:
            row = rows[DENSE if bits == 16 and not rank_map.blocks else map_id(rank_map, weight_bits=bits)]
            measured = [of_setting(row.perplexities, setting) for setting in settings]
            ratios = tuple(one.ratio for one in measured if one is not None)
            lines.append(Line(name, bits, row.model_bytes, ratios))
    return lines


def as_markdown(lines: Sequence[Line]) -> str:
    """Return the table, the smallest model last; a star marks the front of its text."""
    fronts = [pareto_front([(line.n_bytes, line.ratios[i]) for line in lines]) for i in range(len(TEXTS))]
    rows = ["| model | bits | MB | in domain, × dense | out of domain, × dense |", "|---|---|---|---|---|"]
    order = sorted(range(len(lines)), key=lambda index: -lines[index].n_bytes)
    for index in order:
        line = lines[index]
        cells = [f"{line.ratios[i]:.3f}{' *' if fronts[i][index] else ''}" for i in range(len(TEXTS))]
        rows.append(f"| {line.name} | {line.bits} | {line.n_bytes / 1e6:.1f} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Analyse, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", default="0.9,0.8,0.7,0.6")
    parser.add_argument("--formats", default="", help="formats the maps may use, comma-separated; all without it")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an analyse argument")
    parser.add_argument("--dtype", default="float32")
    chosen = parser.parse_args()
    arguments: dict[str, Any] = {}
    for pair in chosen.set:
        name, _, value = pair.partition("=")
        arguments[name] = value if isinstance(Analyse.settings()[name].default, str) else json.loads(value)
    key = analyse(home(), Analyse(**arguments).spec(), ignore_progress)
    analysis = load_analysis(home().store, key.fingerprint)
    curves, params = curves_by_metric(analysis), analysis.inventory.compressible_params
    maps = {"dense": dense_map(analysis)}
    request = Request(formats=frozenset(map(Format, chosen.formats.split(","))) if chosen.formats else None)
    for keep in map(float, chosen.keep.split(",")):
        budget = Budget.of_kept_fraction(keep, params)
        maps[f"kept {keep:g}"] = allocate_rank_map(analysis, curves, "water-filling", budget, request)
    sys.stdout.write(as_markdown(measure(analysis, maps, chosen.dtype)) + "\n")


if __name__ == "__main__":
    main()
