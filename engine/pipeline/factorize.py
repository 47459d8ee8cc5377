"""From stored statistics to what an analysis keeps: factors and spectra layer by layer, then one summary of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from safetensors import safe_open
from safetensors.torch import load_file

from cache import write_arrays, write_json
from engine.calibration.statistics import LayerStatistics
from engine.factorization.groups import energies
from engine.factorization.groups import factorize as factorize_blocks
from engine.factorization.neurons import Neurons, order_neurons
from engine.factorization.parallel import single_threaded_workers
from engine.machine import return_freed_memory, versions
from engine.model.headers import read_header
from engine.model.module import device_for_float64, device_of, dtype_of, weight_matrix
from engine.model.stacks import part_named
from engine.pipeline import keys
from engine.pipeline.factors import write_factors
from engine.pipeline.reading.analyses import ANALYSIS, SPECTRA
from engine.pipeline.sequences import text_start
from engine.types import Metric

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from cache import Artifact, Key, Store
    from engine.analysis.value import Analysis
    from engine.factorization import Factors
    from engine.model.opening import OpenModel
    from engine.model.sources import ModelFolder
    from engine.progress import Report
    from engine.specs import AnalysisSpec
    from engine.types import InputGroup

    _Inputs = tuple[InputGroup, Mapping[str, torch.Tensor], LayerStatistics, Metric, float, float]
    """What the factors of a group are made from."""


def factorize(
    spec: AnalysisSpec,
    model: OpenModel,
    layer_keys: dict[int, list[Key]],
    store: Store,
    report: Report,
    *,
    half: bool = False,
) -> list[tuple[Metric, Key]]:
    """Make sure that factors, in 16 bits or in float32, or spectra of every layer and metric are stored.

    Returns:
        Their keys.
    """
    parts: list[tuple[Metric, Key]] = []
    with _workers(model) as pool:
        of_layers = partial(_factorize_layer, spec, model, store=store, half=half)
        work = pool.map(of_layers, layer_keys, layer_keys.values())
        for done, of_layer in enumerate(work):
            parts += of_layer
            report(
                "factorization", (done + 1) / len(layer_keys), f"Decomposition: {done + 1} of {len(layer_keys)} layers"
            )
    return parts


def _workers(model: OpenModel) -> contextlib.AbstractContextManager[ThreadPoolExecutor]:
    """Return a pool for layers; one worker where memory is too short for several layers."""
    if model.weights is not None:
        return ThreadPoolExecutor(1)
    return single_threaded_workers(device_for_float64(device_of(model.module)))


def _factorize_layer(
    spec: AnalysisSpec, model: OpenModel, layer: int, run_keys: Sequence[Key], *, store: Store, half: bool
) -> list[tuple[Metric, Key]]:
    statistics_key = keys.merged_key(run_keys)
    keys_of = {
        metric: keys.factors_key(statistics_key, metric, spec, half=half)
        if metric in spec.metrics
        else keys.spectrum_key(statistics_key, metric, spec)
        for metric in Metric
    }
    missing = [metric for metric, key in keys_of.items() if key not in store]
    if missing:
        with model.holding(layer):
            sources = [store.read(key) for key in run_keys]
            _write_factors(spec, model, layer, sources, {m: keys_of[m] for m in missing}, store, half=half)
    return list(keys_of.items())


def _write_factors(
    spec: AnalysisSpec,
    model: OpenModel,
    layer: int,
    sources: Sequence[Artifact],
    missing: dict[Metric, Key],
    store: Store,
    *,
    half: bool,
) -> None:
    groups = [g for g in model.inventory.groups if g.layer == layer]
    of_layer = {p.name: weight_matrix(part_named(model.module, p.name)).detach() for g in groups for p in g.members}
    device = device_for_float64(next(iter(of_layer.values())).device)
    weights = {name: weight.to(device) for name, weight in of_layer.items()}
    n_tokens = sum(_importances(source, layer).n_tokens for source in sources)
    statistics = LayerStatistics.merged((read_statistics(source, layer, device) for source in sources), n_tokens)
    if spec.feature_groups is not None:
        statistics = statistics.grouped(spec.feature_groups)
    for metric, key in missing.items():
        inputs = [(g, weights, statistics, metric, spec.damping, spec.gradient_shrinkage) for g in groups]
        about = {"model": spec.model.label, "layer": layer, "metric": metric}
        with store.writing(key, about) as into:
            if metric in spec.metrics:
                neurons = _order_neurons(spec, model, layer, weights, statistics) if metric is Metric.LOSS else []
                write_factors(into, list(_factors_of(inputs)), neurons, half=half)
            else:
                found = {name: e for i in inputs for name, e in energies(*i).items()}
                arrays = {f"energies/{name}": e.cpu().numpy() for name, e in found.items()}
                write_arrays(into / "spectrum.safetensors", arrays)
        return_freed_memory()


def _factors_of(inputs: Iterable[_Inputs]) -> Iterator[Factors]:
    for of_group in inputs:
        yield from factorize_blocks(*of_group)
        return_freed_memory()


def _order_neurons(
    spec: AnalysisSpec, model: OpenModel, layer: int, weights: dict[str, torch.Tensor], statistics: LayerStatistics
) -> list[Neurons]:
    biases = {mlp: model.module.get_submodule(mlp.down.name).bias for mlp in model.inventory.mlps if mlp.layer == layer}
    return [
        order_neurons(mlp, weights, statistics, spec.damping, spec.gradient_shrinkage, has_bias=bias is not None)
        for mlp, bias in biases.items()
    ]


def read_statistics(artifact: Artifact, layer: int, device: torch.device) -> LayerStatistics:
    """Read one layer's statistics onto ``device``."""
    return LayerStatistics.from_tensors(layer, load_file(artifact.path("statistics.safetensors"), str(device)))


def _importances(artifact: Artifact, layer: int) -> LayerStatistics:
    """Read one layer's statistics without its moments."""
    with safe_open(artifact.path("statistics.safetensors"), framework="pt") as file:
        small = [name for name in file.keys() if name.partition("/")[0] in ("importances", "n_tokens")]  # noqa: SIM118
        return LayerStatistics.from_tensors(layer, {name: file.get_tensor(name) for name in small})


def write_analysis(
    folder: Path,
    spec: AnalysisSpec,
    model: OpenModel,
    parts: Sequence[tuple[Metric, Key]],
    layer_keys: dict[int, list[Key]],
    store: Store,
    *,
    model_folder: ModelFolder,
    corpus_id: str,
    base: Analysis | None,
    half: bool,
) -> None:
    """Write spectra, curves and what they came from; importances and the dense loss are those of the dense model."""
    arrays: dict[str, NDArray[np.float64]] = {}
    dampings: dict[str, dict[str, float]] = {metric: {} for metric in spec.metrics}
    for metric, key in parts:
        artifact = store.read(key)
        for name, values in artifact.arrays("spectrum.safetensors").items():
            what, _, block = name.partition("/")
            arrays[f"{what}/{metric}/{block}"] = values
        if key.stage == "factors":
            blocks = artifact.json("blocks.json")
            dampings[metric].update({name: b["damping"] for name, b in blocks.items() if b["damping"] > spec.damping})
    nll = 0.0
    for layer, run_keys in layer_keys.items():
        sources = [store.read(key) for key in run_keys]
        of_runs = [_importances(source, layer) for source in sources]
        n_tokens = sum(run.n_tokens for run in of_runs)
        shares = [run.n_tokens / n_tokens for run in of_runs]
        merged = LayerStatistics.merged(of_runs, n_tokens)
        nll = sum(share * source.json("pass.json")["nll"] for share, source in zip(shares, sources, strict=True))
        for projection, importance in merged.importances.items():
            known = importance.numpy() if base is None else base.importances[projection]
            arrays[f"importance/-/{projection}"] = known
    write_arrays(folder / SPECTRA, arrays)
    write_json(
        folder / ANALYSIS,
        {
            "model_fingerprint": model_folder.fingerprint,
            "corpus_fingerprint": corpus_id,
            "text_start": text_start(model_folder),
            "experts": read_header(model_folder.path).has_experts,
            "inventory": model.inventory,
            "calibration_nll": nll if base is None else base.calibration_nll,
            "factors": {m: [k.fingerprint for metric, k in parts if metric == m] for m in spec.metrics},
            "factors_stored_as": "bfloat16" if half else "float32",
            "raised_dampings": dampings,
            "dtype": str(dtype_of(model.module)).removeprefix("torch."),
            "device": str(device_of(model.module)),
            "versions": versions(),
        },
    )
