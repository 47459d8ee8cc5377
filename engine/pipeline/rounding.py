"""From an analysis to what rounding each of its blocks is predicted to do; computed when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from cache import Key, write_arrays
from engine.errors import RankScopeError
from engine.model.module import weight_matrix
from engine.pipeline import keys
from engine.pipeline.factorize import read_statistics
from engine.pipeline.factors import rank_factors_reader
from engine.pipeline.opened import open_analysis
from engine.pipeline.reading.analyses import analysis_spec, load_analysis
from engine.pipeline.reading.rounding import ROUNDING, rounding_key
from engine.pipeline.rounding_pilot import weigh_kinds
from engine.precision import ROUNDINGS
from engine.progress import part_of
from engine.quantization.increase import dense_nats, factored_nats, gradient_energies, input_energies
from engine.types import Metric, block_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from cache import Store
    from engine.analysis.value import Analysis
    from engine.calibration.statistics import LayerStatistics
    from engine.factorization.blocks import Factors
    from engine.pipeline.opened import OpenedAnalysis
    from engine.progress import Report
    from engine.settings import Home
    from engine.types import InputGroup

    FactorsOf = Callable[[tuple[str, ...]], Factors]


def predict_rounding(home: Home, analysis_id: str, report: Report) -> Key:
    """Compute what rounding every block adds to the loss, unless it is stored.

    Raises:
        RankScopeError: there are no factors in the loss metric, the statistics, the model or the text are gone, or the
            model does not fit into memory in float32.
    """
    store = home.store
    analysis = load_analysis(store, analysis_id)
    analysis.require_factors(Metric.LOSS)
    key = rounding_key(analysis.id)
    if key in store:
        return key
    opened = open_analysis(home, analysis, report, dtype="float32", device="cpu")
    opened.require_whole()
    modules = dict(opened.dense.module.named_modules())
    factors_of = rank_factors_reader(analysis, store, Metric.LOSS)
    arrays: dict[str, NDArray[np.float64]] = {}
    layers, told = sorted({group.layer for group in analysis.inventory.groups}), part_of(report, 0.0, 0.5)
    for done, layer in enumerate(layers):
        statistics = _statistics(store, analysis, layer)
        for group in (g for g in analysis.inventory.groups if g.layer == layer and not g.is_stack):
            weights = {p.name: weight_matrix(modules[p.name]).detach() for p in group.members}
            arrays |= _of_group(group, weights, statistics, factors_of)
        told("rounding", (done + 1) / len(layers), f"Rounding: {done + 1} of {len(layers)} layers")
    _weigh(arrays, opened, part_of(report, 0.5, 1.0))
    with store.writing(key, {"analysis": analysis.id, "model": analysis.about["model"]}) as into:
        write_arrays(into / ROUNDING, arrays)
    return key


def _statistics(store: Store, analysis: Analysis, layer: int) -> LayerStatistics:
    about, spec = analysis.about, analysis_spec(analysis)
    begun, half = bool(about.get("text_start")), about.get("factors_stored_as") == "bfloat16"
    upstream, experts = (about["model_fingerprint"], about["corpus_fingerprint"]), bool(about.get("experts"))
    key = keys.statistics_key(spec, layer, *upstream, begun=begun, half=half, experts=experts)
    if key not in store:
        raise RankScopeError(
            f"The statistics of layer {layer} that rounding is predicted from are not stored any more; analyse the "
            "model again, which computes nothing else anew."
        )
    return read_statistics(store.read(key), layer, torch.device("cpu"))


def _of_group(
    group: InputGroup, weights: dict[str, torch.Tensor], statistics: LayerStatistics, factors_of: FactorsOf
) -> dict[str, NDArray[np.float64]]:
    inputs = input_energies(group, weights, statistics)
    gradients = {p.name: gradient_energies(p, weights[p.name], statistics) for p in group.members}
    found = {}
    for bits, rounding in ROUNDINGS.items():
        for name, weight in weights.items():
            found[f"dense/{bits}/{name}"] = np.array([dense_nats(weight, gradients[name], inputs, rounding)])
        for members in _blocks(weights):
            stacked = torch.cat([gradients[name] for name in members])
            of_block = [weights[name] for name in members]
            nats = factored_nats(factors_of(members), of_block, stacked, inputs, rounding)
            found[f"factored/{bits}/{block_name(members)}"] = nats.numpy()
    return found


def _weigh(arrays: dict[str, NDArray[np.float64]], opened: OpenedAnalysis, report: Report) -> None:
    """Multiply all nats by what their kinds count; those of a block by the mean over its members' nats."""
    projections, bits = opened.analysis.projections, min(ROUNDINGS)
    dense = {name: float(arrays[f"dense/{bits}/{name}"][0]) for name in projections if f"dense/{bits}/{name}" in arrays}
    weights = weigh_kinds(opened, dense, report)
    for key in arrays:
        members = key.split("/", 2)[2].split("+")
        nats = [dense[name] for name in members]
        of_members = [weights[projections[name].kind] for name in members]
        arrays[key] *= np.average(of_members, weights=nats) if any(nats) else np.mean(of_members)


def _blocks(weights: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, ...]]:
    yield from ((name,) for name in weights)
    if len(weights) > 1:
        yield tuple(weights)
