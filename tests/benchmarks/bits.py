"""The dense model and water-filling's maps at 16, 8 and 4 bits, and with bits chosen per block: quality and bytes.

Run: python -m tests.benchmarks.bits [--keep 0.9,0.8] [--mb 140,105] [--formats low-rank,cat] [--set model=FOLDER]
Bits are chosen for the sizes of the dense model at 8 and at 4 bits, and for those of --mb.
The home is RANKSCOPE_HOME; measurements are stored there, so a second run takes seconds. The table goes to standard
output as Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.byte_budget import CHOOSE, allocate_bytes
from engine.methods.cost import cost_of
from engine.operations import Analyse
from engine.pipeline.analyse import analyse
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.measure.plan import dense_map
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.pipeline.reading.results import results
from engine.pipeline.rounding import predict_rounding
from engine.precision import ROUNDINGS, STORED_AS, model_bytes
from engine.prediction.cutting import cut_weight_of
from engine.prediction.runs import predictor_on, reference_text
from engine.progress import ignore_progress
from engine.rank_map.identity import map_id
from engine.results.pareto import pareto_front
from engine.results.rows import DENSE, of_setting
from engine.settings import home
from engine.specs import CorpusSpec, EvaluationSpec
from engine.types import BlockRank, Budget, Format, Metric

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap

TEXTS = ("demo", "demo:news")
"""In and out of domain."""


@dataclass(frozen=True)
class Line:
    """One model: what it is, its bytes, the predicted nats, and its perplexity over dense on each text."""

    name: str
    bits: str
    n_bytes: int
    predicted: float
    ratios: tuple[float, ...]


def measure(analysis: Analysis, maps: Mapping[str, RankMap], dtype: str, amounts: Sequence[int]) -> list[Line]:
    """Measure every map at every number of bits on both texts, those with bits of their own as they are."""
    settings: list[tuple[Hashable, ...]] = []
    for text, n_sequences in zip(TEXTS, amounts, strict=True):
        corpus = CorpusSpec.parse(text, part="evaluation", n_sequences=n_sequences, length=512)
        spec = EvaluationSpec(corpus, dtype)
        session = EvaluationSession(home(), analysis.id, spec, ignore_progress)
        for bits in STORED_AS:
            opened = session.opened.of(analysis, bits)
            at_bits = EvaluationSession(home(), analysis.id, spec, ignore_progress, opened=opened)
            for name, rank_map in maps.items():
                if (bits == 16 and not rank_map.blocks) or (bits < 16 and rank_map.is_rounded):
                    continue  # what everything is compared with, or rounded already
                found = at_bits.measure(rank_map, ignore_progress)
                sys.stderr.write(f"{name} at {bits} bits on {text}: {found.ratio:.3f}\n")
        settings.append(found.setting)
    rows = {row.id: row for row in results(home().store, analysis.id)}
    lines = []
    for name, rank_map in maps.items():
        for bits in [16] if rank_map.is_rounded else STORED_AS:
            row = rows[DENSE if bits == 16 and not rank_map.blocks else map_id(rank_map, weight_bits=bits)]
            measured = [of_setting(row.perplexities, setting) for setting in settings]
            ratios = tuple(one.ratio for one in measured if one is not None)
            shown = "chosen" if rank_map.is_rounded else str(bits)
            lines.append(Line(name, shown, row.model_bytes, predicted_nats(analysis, rank_map, bits), ratios))
    return lines


def predicted_nats(analysis: Analysis, rank_map: RankMap, bits: int) -> float:
    """Return what cutting and rounding are predicted to do together."""
    named = {name for block in rank_map.blocks for name in block.members}
    rest = [BlockRank((name,), Format.DENSE, None) for name in analysis.projections if name not in named]
    blocks = tuple(replace(block, bits=block.bits or bits) for block in (*rank_map.blocks, *rest))
    return cost_of(analysis, replace(rank_map, blocks=blocks)).nats


def as_markdown(lines: Sequence[Line]) -> str:
    """Return the table, the smallest model last; a star marks the front of its text."""
    fronts = [pareto_front([(line.n_bytes, line.ratios[i]) for line in lines]) for i in range(len(TEXTS))]
    head = "| model | bits | MB | predicted nats | measured, in domain | in domain, × dense | out of domain, × dense |"
    rows = [head, "|---|---|---|---|---|---|---|"]
    order = sorted(range(len(lines)), key=lambda index: -lines[index].n_bytes)
    for index in order:
        line = lines[index]
        cells = [f"{line.ratios[i]:.3f}{' *' if fronts[i][index] else ''}" for i in range(len(TEXTS))]
        nats = f"{line.predicted:.4f} | {math.log(line.ratios[0]):.4f}"
        rows.append(f"| {line.name} | {line.bits} | {line.n_bytes / 1e6:.1f} | {nats} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Analyse, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", default="0.9,0.8,0.7,0.6")
    parser.add_argument("--mb", default="", help="further sizes that bits are chosen for, in 10^6 bytes")
    parser.add_argument("--sequences", default="20,10", help="of 512 tokens, in and out of domain")
    parser.add_argument("--analysis", default="", help="id of an analysis to use")
    parser.add_argument("--formats", default="", help="formats the maps may use, comma-separated; all without it")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an analyse argument")
    parser.add_argument("--dtype", default="float32")
    chosen = parser.parse_args()
    arguments: dict[str, Any] = {}
    for pair in chosen.set:
        name, _, value = pair.partition("=")
        arguments[name] = value if isinstance(Analyse.settings()[name].default, str) else json.loads(value)
    found = chosen.analysis or analyse(home(), Analyse(**arguments).spec(), ignore_progress).fingerprint
    predict_rounding(home(), found, ignore_progress)
    analysis = load_analysis(home().store, found)
    curves, params = curves_by_metric(analysis), analysis.inventory.compressible_params
    maps = {"dense": dense_map(analysis)}
    request = Request(formats=frozenset(map(Format, chosen.formats.split(","))) if chosen.formats else None)
    for keep in map(float, filter(None, chosen.keep.split(","))):
        budget = Budget.of_kept_fraction(keep, params)
        maps[f"kept {keep:g}"] = allocate_rank_map(analysis, curves, "water-filling", budget, request)
    sizes = [model_bytes(STORED_AS[bits], (), analysis.inventory) / 1e6 for bits in ROUNDINGS]
    # As measured maps of the home say, where there are some: measure kept fractions first.
    rows = results(home().store, analysis.id)
    weight = cut_weight_of(predictor_on(reference_text(rows)), analysis, rows)
    sys.stderr.write(f"cutting counts {weight:.2f}\n")
    for mb in [*sizes, *map(float, filter(None, chosen.mb.split(",")))]:
        maps[f"at most {mb:.1f} MB"] = allocate_bytes(analysis, curves[Metric.LOSS], request, CHOOSE, mb * 1e6, weight)
    amounts = [int(amount) for amount in chosen.sequences.split(",")]
    sys.stdout.write(as_markdown(measure(analysis, maps, chosen.dtype, amounts)) + "\n")


if __name__ == "__main__":
    main()
