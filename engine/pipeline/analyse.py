"""From a model and a text to an analysis: statistics layer by layer, then factors, then one summary."""

from __future__ import annotations

import contextlib
import json
import platform
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from cache import Key, canonical_json, read_arrays, write_arrays, write_json
from engine.calibration.passes import collect_statistics, layer_bytes, plan_passes
from engine.calibration.statistics import LayerStatistics
from engine.compression.truncated import truncated_weights
from engine.factorization.blocks import factorize_group, group_energies
from engine.factorization.neurons import Neurons, order_neurons
from engine.factorization.parallel import single_threaded_workers
from engine.machine import peak_memory_bytes, versions
from engine.methods.allocate import Request, allocate_rank_map
from engine.model.module import device_of, dtype_of, pass_type, weight_matrix
from engine.model.opening import OpenModel, open_model, type_for_passes
from engine.model.places import note_place
from engine.model.sources import resolve_model, resolve_texts
from engine.pipeline import keys
from engine.pipeline.factors import rank_factors_reader, write_factors
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.pipeline.sequences import read_sequences, sequences_fingerprint, text_start
from engine.progress import part_of
from engine.types import RANK_FORMATS, Budget, Metric, block_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from cache import Artifact, Store
    from engine.analysis.value import Analysis
    from engine.model.sources import ModelFolder
    from engine.progress import Report
    from engine.settings import Home
    from engine.specs import AnalysisSpec

DEFAULT_MEMORY_BYTES = 4 * 10**9
"""Moments held at once; more layers than fit take further passes over the text."""


def analyse(
    home: Home,
    spec: AnalysisSpec,
    report: Report,
    *,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    device: str = "auto",
    folder: ModelFolder | None = None,
) -> Key:
    """Analyse a model and return the artifact's key; finished parts are never computed again.

    Args:
        home: where everything is stored.
        spec: what decides the outcome.
        report: told how far it is.
        memory_bytes: statistics held at once.
        device: where the passes run.
        folder: of the model, where it is known; the spec may name a place that it was moved from.

    Raises:
        RankScopeError: the model, the text, the memory or the numbers do not allow it.
    """
    started, store = time.monotonic(), home.store
    if folder is None:
        folder = resolve_model(home, spec.model, part_of(report, 0.0, 0.1))
        note_place(home, folder)
    texts = resolve_texts(home, spec.corpus, part_of(report, 0.0, 0.1))
    corpus_id, n_start = sequences_fingerprint(folder, spec.corpus), len(text_start(folder))
    key_of = partial(keys.analysis_key, model=folder.fingerprint, corpus=corpus_id, begun=n_start > 0)
    stored = (one for one in spec.candidates() if key_of(one) in store)
    if spec.calibration.compute_dtype == "auto":
        spec = next(stored, None) or spec.with_pass_type(pass_type(device))
    key = key_of(spec)
    if key in store:
        report("analysis", 1.0, "This analysis exists already")
        return key
    base = None
    if spec.around_kept_fraction is not None:
        dense = replace(spec, around_kept_fraction=None)
        half = part_of(report, 0.0, 0.5)
        first = analyse(home, dense, half, memory_bytes=memory_bytes, device=device, folder=folder)
        base = load_analysis(store, first.fingerprint)
        report = part_of(report, 0.5, 1.0)
    report("model", 0.1, f"Opening {spec.model.label}")
    dtype = type_for_passes(spec.calibration.compute_dtype)
    model = open_model(folder.path, dtype=dtype, device=device, trust_remote_code=spec.model.trust_remote_code)
    layers = sorted({g.layer for g in model.inventory.groups})
    layer_keys = {
        layer: keys.statistics_key(spec, layer, folder.fingerprint, corpus_id, begun=n_start > 0) for layer in layers
    }
    missing = [layer for layer in layers if layer_keys[layer] not in store]
    seconds = {}
    if missing:
        report("text", 0.12, f"Reading {spec.corpus.label}")
        tokens = read_sequences(model, spec.corpus, texts)
        begun = time.monotonic()
        with _compressed_to(spec.around_kept_fraction, model, base, store):
            part = part_of(report, 0.13, 0.8)
            _calibrate(
                spec, model, tokens, missing, layer_keys, store, part, n_start=n_start, memory_bytes=memory_bytes
            )
        seconds["calibration"] = time.monotonic() - begun
    begun = time.monotonic()
    parts = _factorize(spec, model, layer_keys, store, part_of(report, 0.8, 0.99))
    seconds["factorization"] = time.monotonic() - begun
    seconds["total"] = time.monotonic() - started
    about = {
        "model": spec.model.label,
        "corpus": spec.corpus.label,
        # Where the model lies is for opening it again; the fingerprint says whether it is still the same.
        "spec": json.loads(canonical_json(spec)),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "peak_memory_bytes": peak_memory_bytes(),
        "platform": platform.platform(),
    }
    report("analysis", 0.99, "Storing the analysis")
    with store.writing(key, about) as into:
        _write_analysis(into, spec, model, parts, layer_keys, store, folder, corpus_id, base)
    report("analysis", 1.0, "Done")
    return key


def _compressed_to(
    kept_fraction: float | None, model: OpenModel, base: Analysis | None, store: Store
) -> contextlib.AbstractContextManager[None]:
    """Return the context in which statistics are taken: the model as it is, or compressed by water-filling."""
    if kept_fraction is None or base is None:
        return contextlib.nullcontext()
    budget = Budget.of_kept_fraction(kept_fraction, base.inventory.compressible_params)
    # Around a narrowed model, what its dropped neurons would need at a rank could not be seen.
    ranks_only = Request(formats=RANK_FORMATS)
    rank_map = allocate_rank_map(base, curves_by_metric(base), "water-filling", budget, ranks_only)
    return truncated_weights(model.module, rank_map.blocks, rank_factors_reader(base, store, rank_map.metric))


def _calibrate(
    spec: AnalysisSpec,
    model: OpenModel,
    tokens: torch.Tensor,
    missing: Sequence[int],
    layer_keys: dict[int, Key],
    store: Store,
    report: Report,
    *,
    n_start: int,
    memory_bytes: int,
) -> None:
    """Collect and store the statistics of the ``missing`` layers, as many at once as memory allows."""
    passes = plan_passes(model.inventory, missing, len(tokens), memory_bytes)
    held = max(layer_bytes(model.inventory, layers, len(tokens)) for layers in passes)
    times = "one pass" if len(passes) == 1 else f"{len(passes)} passes"
    report("plan", 0.0, f"Plan: {times} over {tokens.numel():,} tokens, {held / 1e9:.2f} GB of statistics at once")
    for index, layers in enumerate(passes):
        scaled = part_of(report, index / len(passes), (index + 1) / len(passes))
        statistics, nll = collect_statistics(
            model.module, model.inventory, tokens, spec.calibration, layers, scaled, n_start=n_start
        )
        for layer in layers:
            about = {"model": spec.model.label, "corpus": spec.corpus.label, "layer": layer}
            with store.writing(layer_keys[layer], about) as into:
                save_file(statistics.pop(layer).to_tensors(), into / "statistics.safetensors")
                write_json(into / "pass.json", {"nll": nll})


def _factorize(
    spec: AnalysisSpec, model: OpenModel, layer_keys: dict[int, Key], store: Store, report: Report
) -> list[tuple[Metric, Key]]:
    """Make sure that factors or spectra of every layer and metric are stored; return their keys."""
    parts: list[tuple[Metric, Key]] = []
    with single_threaded_workers(device_of(model.module)) as pool:
        work = pool.map(lambda item: _factorize_layer(spec, model, item[0], item[1], store), layer_keys.items())
        for done, of_layer in enumerate(work):
            parts += of_layer
            report(
                "factorization", (done + 1) / len(layer_keys), f"Decomposition: {done + 1} of {len(layer_keys)} layers"
            )
    return parts


def _factorize_layer(
    spec: AnalysisSpec, model: OpenModel, layer: int, statistics_key: Key, store: Store
) -> list[tuple[Metric, Key]]:
    keys_of = {
        metric: (keys.factors_key if metric in spec.metrics else keys.spectrum_key)(statistics_key, metric, spec)
        for metric in Metric
    }
    missing = [metric for metric, key in keys_of.items() if key not in store]
    if missing:
        modules = dict(model.module.named_modules())
        groups = [g for g in model.inventory.groups if g.layer == layer]
        weights = {p.name: weight_matrix(modules[p.name]).detach() for g in groups for p in g.members}
        device = next(iter(weights.values())).device
        statistics = read_statistics(store.read(statistics_key), layer, device)
        if spec.feature_groups is not None:
            statistics = statistics.grouped(spec.feature_groups)
    for metric in missing:
        inputs = [(g, weights, statistics, metric, spec.damping, spec.gradient_shrinkage) for g in groups]
        about = {"model": spec.model.label, "layer": layer, "metric": metric}
        with store.writing(keys_of[metric], about) as into:
            if metric in spec.metrics:
                neurons = _order_neurons(spec, model, layer, weights, statistics) if metric is Metric.LOSS else []
                write_factors(into, [block for i in inputs for block in factorize_group(*i)], neurons)
            else:
                energies = {block_name(m): e for i in inputs for m, e in group_energies(*i).items()}
                arrays = {f"energies/{name}": e.cpu().numpy() for name, e in energies.items()}
                write_arrays(into / "spectrum.safetensors", arrays)
    return list(keys_of.items())


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


def _write_analysis(
    folder: Path,
    spec: AnalysisSpec,
    model: OpenModel,
    parts: Sequence[tuple[Metric, Key]],
    layer_keys: dict[int, Key],
    store: Store,
    model_folder: ModelFolder,
    corpus_id: str,
    base: Analysis | None,
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
    for key in layer_keys.values():
        artifact = store.read(key)
        nll = artifact.json("pass.json")["nll"]
        for name, values in read_arrays(artifact.path("statistics.safetensors")).items():
            what, _, projection = name.partition("/")
            if what == "importances":
                arrays[f"importance/-/{projection}"] = values if base is None else base.importances[projection]
    write_arrays(folder / "spectra.safetensors", arrays)
    write_json(
        folder / "analysis.json",
        {
            "model_fingerprint": model_folder.fingerprint,
            "corpus_fingerprint": corpus_id,
            "text_start": text_start(model_folder),
            "inventory": model.inventory,
            "calibration_nll": nll if base is None else base.calibration_nll,
            "factors": {m: [k.fingerprint for metric, k in parts if metric == m] for m in spec.metrics},
            "raised_dampings": dampings,
            "dtype": str(dtype_of(model.module)).removeprefix("torch."),
            "device": str(device_of(model.module)),
            "versions": versions(),
        },
    )
