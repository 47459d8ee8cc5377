"""From a model and a text to an analysis: statistics layer by layer, then factors, then one summary."""

from __future__ import annotations

import contextlib
import json
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from cache import Key, canonical_json, write_arrays, write_json
from engine.calibration.statistics import LayerStatistics
from engine.compression.truncated import truncated_weights
from engine.errors import ResourceError, UnstreamableError
from engine.factorization.blocks import factorize_group, group_energies
from engine.factorization.neurons import Neurons, order_neurons
from engine.factorization.parallel import single_threaded_workers
from engine.machine import peak_memory_bytes, versions
from engine.methods.allocate import Request, allocate_rank_map
from engine.model.headers import read_header
from engine.model.module import device_of, dtype_of, pass_type, resolve_device, weight_matrix
from engine.model.opening import open_model, type_for_passes
from engine.model.places import note_place
from engine.model.sources import resolve_model, resolve_texts
from engine.pipeline import keys
from engine.pipeline.calibrate import calibrate, calibrate_streamed
from engine.pipeline.factors import rank_factors_reader, write_factors
from engine.pipeline.pace import measure_pace
from engine.pipeline.plan import described, plan_analysis
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.pipeline.runs import runs_of
from engine.pipeline.sequences import read_sequences, sequences_fingerprint, text_start
from engine.progress import part_of
from engine.results.words import duration
from engine.types import RANK_FORMATS, Budget, Metric, block_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from cache import Artifact, Store
    from engine.analysis.value import Analysis
    from engine.model.opening import OpenModel
    from engine.model.sources import ModelFolder
    from engine.pipeline.runs import Run
    from engine.progress import Report
    from engine.settings import Home
    from engine.specs import AnalysisSpec

T = TypeVar("T")

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
    stream: bool = False,
) -> Key:
    """Analyse a model and return the artifact's key; finished parts are never computed again.

    Args:
        home: where everything is stored.
        spec: what decides the outcome.
        report: told how far it is.
        memory_bytes: statistics held at once.
        device: where the passes run.
        folder: of the model, where it is known; the spec may name a place that it was moved from.
        stream: leave the model in its files and work layer by layer, also if it fits; the outcome is the same.

    Raises:
        RankScopeError: the model, the text, the memory or the numbers do not allow it.
    """
    work = _planned(home, spec, report, memory_bytes, device, folder)
    if work.key in home.store:
        report("analysis", 1.0, "This analysis exists already")
        return work.key
    streams = work.must_stream(report, stream=stream)
    base = None
    if work.spec.around_kept_fraction is not None and streams:
        raise ResourceError(
            "Statistics around a compressed model are taken with the whole model in memory, and this one is read layer "
            "by layer; leave --around-keep out, or use a machine with more memory."
        )
    if work.spec.around_kept_fraction is not None:
        dense = replace(work.spec, around_kept_fraction=None)
        half = part_of(report, 0.0, 0.5)
        first = analyse(home, dense, half, memory_bytes=memory_bytes, device=device, folder=work.folder)
        base = load_analysis(home.store, first.fingerprint)
        report = part_of(report, 0.5, 1.0)
    work = replace(work, base=base)
    _streamed_or_whole(work.done, report, streams=streams, insists=stream)
    return work.key


def collect_shard(
    home: Home,
    spec: AnalysisSpec,
    shard: int,
    n_shards: int,
    report: Report,
    *,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    device: str = "auto",
    stream: bool = False,
) -> bool:
    """Store the statistics of every ``n_shards``-th run of sequences, for an analysis that will find them.

    Args:
        home: where everything is stored; several machines may share it.
        spec: of the analysis.
        shard: the first of its runs.
        n_shards: how many jobs share the runs.
        report: told how far it is.
        memory_bytes: statistics held at once.
        device: where the passes run.
        stream: as in :func:`analyse`.

    Returns:
        Whether the statistics of all runs are stored now.

    Raises:
        RankScopeError: as in :func:`analyse`.
    """
    work = _planned(home, spec, report, memory_bytes, device, None)
    if work.key in home.store:
        report("calibration", 1.0, "This analysis exists already")
        return True
    streams = work.must_stream(report, stream=stream)
    collect = partial(work.collected, runs_of(spec.corpus.n_sequences)[shard::n_shards])
    return _streamed_or_whole(collect, report, streams=streams, insists=stream)


def _planned(
    home: Home, spec: AnalysisSpec, report: Report, memory_bytes: int, device: str, folder: ModelFolder | None
) -> _Work:
    """Find the model and the text, and what an analysis of them is stored as."""
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
    return _Work(home, spec, folder, key_of(spec), texts, corpus_id, n_start, None, memory_bytes, device, started)


def _streamed_or_whole(work: Callable[..., T], report: Report, *, streams: bool, insists: bool) -> T:
    """Do work layer by layer if it ``streams``, or else, and where that is not possible, with the whole model."""
    if not streams:
        return work(report, streams=False)
    try:
        return work(report, streams=True)
    except UnstreamableError as error:
        if insists:
            raise
        report("model", 0.1, f"The model is opened as a whole: {error}")
    return work(report, streams=False)


@dataclass(frozen=True, slots=True)
class _Work:
    """An analysis that is not stored yet, and all it depends on; ``base`` is that of the dense model, if asked for."""

    home: Home
    spec: AnalysisSpec
    folder: ModelFolder
    key: Key
    texts: Path | None
    corpus_id: str
    n_start: int
    base: Analysis | None
    memory_bytes: int
    device: str
    started: float

    def must_stream(self, report: Report, *, stream: bool) -> bool:
        """Say what the work takes, and return whether it is done layer by layer.

        Raises:
            ResourceError: the disk has too little room.
        """
        header, store = read_header(self.folder.path), self.home.store
        n_workers = torch.get_num_threads()
        plan = plan_analysis(header, self.spec, self.memory_bytes, stream=stream, n_workers=n_workers)
        pace = measure_pace(getattr(torch, self.spec.calibration.compute_dtype), resolve_device(self.device))
        seconds = pace.seconds(plan.work, torch.get_num_threads())
        report("plan", 0.1, f"Plan: about {duration(seconds)} if nothing is stored yet; {described(plan)}")
        if (shortage := plan.disk_shortage(store.root, self._stored_shares(header.n_layers))) is not None:
            raise ResourceError(shortage)
        return plan.streams

    def _stored_shares(self, n_layers: int) -> dict[str, float]:
        """Return how much of the statistics, and of the factors of every metric, is stored already."""
        runs = [self._run_keys(range(n_layers), run) for run in runs_of(self.spec.corpus.n_sequences)]
        merged = [keys.merged_key([of_layers[layer] for of_layers in runs]) for layer in range(n_layers)]
        parts = {"statistics": [key for of_layers in runs for key in of_layers.values()]}
        parts |= {m: [keys.factors_key(key, m, self.spec) for key in merged] for m in self.spec.metrics}
        return {what: sum(key in self.home.store for key in part) / max(len(part), 1) for what, part in parts.items()}

    def done(self, report: Report, *, streams: bool) -> Key:
        """Do what is not stored of it, layer by layer or with the whole model in memory."""
        spec, store, seconds = self.spec, self.home.store, {}
        with self._opened(report, streams=streams) as model:
            runs = runs_of(spec.corpus.n_sequences)
            run_keys = {run: self._run_keys(_layers(model), run) for run in runs}
            if any(key not in store for of_layers in run_keys.values() for key in of_layers.values()):
                seconds["calibration"] = self._calibrate(model, runs, report)
            layer_keys = {layer: [run_keys[run][layer] for run in runs] for layer in run_keys[runs[0]]}
            begun_s = time.monotonic()
            parts = _factorize(spec, model, layer_keys, store, part_of(report, 0.8, 0.99))
        seconds["factorization"] = time.monotonic() - begun_s
        seconds["total"] = time.monotonic() - self.started
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
        with store.writing(self.key, about) as into:
            _write_analysis(into, spec, model, parts, layer_keys, store, self.folder, self.corpus_id, self.base)
        report("analysis", 1.0, "Done")
        return self.key

    def collected(self, runs: Sequence[Run], report: Report, *, streams: bool) -> bool:
        """Take the statistics of some runs; return whether those of all runs are stored."""
        with self._opened(report, streams=streams) as model:
            self._calibrate(model, runs, report)
            every = (self._run_keys(_layers(model), run) for run in runs_of(self.spec.corpus.n_sequences))
            report("calibration", 1.0, "The statistics are stored")
            return all(key in self.home.store for of_layers in every for key in of_layers.values())

    @contextlib.contextmanager
    def _opened(self, report: Report, *, streams: bool) -> Iterator[OpenModel]:
        with contextlib.ExitStack() as stack:
            report("model", 0.1, f"Opening {self.spec.model.label}")
            offload = stack.enter_context(self.home.store.scratch()) if streams else None
            yield open_model(
                self.folder.path,
                dtype=type_for_passes(self.spec.calibration.compute_dtype),
                device=self.device,
                trust_remote_code=self.spec.model.trust_remote_code,
                offload=offload,
            )

    def _run_keys(self, layers: Iterable[int], run: Run) -> dict[int, Key]:
        """Return where the statistics of a run lie, by layer: under the text up to its end, whatever follows."""
        corpus = self.corpus_id
        if run.stop < self.spec.corpus.n_sequences:
            corpus = sequences_fingerprint(self.folder, replace(self.spec.corpus, n_sequences=run.stop))
        upstream, begun = (self.folder.fingerprint, corpus), self.n_start > 0
        return {
            layer: keys.statistics_key(self.spec, layer, *upstream, begun=begun, first=run.first) for layer in layers
        }

    def _calibrate(self, model: OpenModel, runs: Sequence[Run], report: Report) -> float:
        """Take the missing statistics of some runs; return the seconds."""
        report("text", 0.12, f"Reading {self.spec.corpus.label}")
        tokens, store = read_sequences(model, self.spec.corpus, self.texts), self.home.store
        begun, told = time.monotonic(), part_of(report, 0.13, 0.8)
        with _compressed_to(self.spec.around_kept_fraction, model, self.base, store):
            for index, run in enumerate(runs):
                layer_keys = self._run_keys(_layers(model), run)
                missing = [layer for layer, key in layer_keys.items() if key not in store]
                if not missing:
                    continue
                seeded = replace(self.spec.calibration, seed=self.spec.calibration.seed + run.first)
                of_run = replace(self.spec, calibration=seeded)
                into = (of_run, model, tokens[run.first : run.stop], missing, layer_keys, store)
                part = part_of(told, index / len(runs), (index + 1) / len(runs))
                if model.weights is not None:
                    calibrate_streamed(*into, part, n_start=self.n_start)
                else:
                    calibrate(*into, part, n_start=self.n_start, memory_bytes=self.memory_bytes)
        return time.monotonic() - begun


def _layers(model: OpenModel) -> list[int]:
    return sorted({group.layer for group in model.inventory.groups})


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


def _factorize(
    spec: AnalysisSpec, model: OpenModel, layer_keys: dict[int, list[Key]], store: Store, report: Report
) -> list[tuple[Metric, Key]]:
    """Make sure that factors or spectra of every layer and metric are stored; return their keys."""
    parts: list[tuple[Metric, Key]] = []
    with _workers(model) as pool:
        work = pool.map(lambda item: _factorize_layer(spec, model, item[0], item[1], store), layer_keys.items())
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
    return single_threaded_workers(device_of(model.module))


def _factorize_layer(
    spec: AnalysisSpec, model: OpenModel, layer: int, run_keys: Sequence[Key], store: Store
) -> list[tuple[Metric, Key]]:
    statistics_key = keys.merged_key(run_keys)
    keys_of = {
        metric: (keys.factors_key if metric in spec.metrics else keys.spectrum_key)(statistics_key, metric, spec)
        for metric in Metric
    }
    missing = [metric for metric, key in keys_of.items() if key not in store]
    if missing:
        with model.holding(layer):
            sources = [store.read(key) for key in run_keys]
            _write_factors(spec, model, layer, sources, {m: keys_of[m] for m in missing}, store)
    return list(keys_of.items())


def _write_factors(
    spec: AnalysisSpec,
    model: OpenModel,
    layer: int,
    sources: Sequence[Artifact],
    missing: dict[Metric, Key],
    store: Store,
) -> None:
    modules = dict(model.module.named_modules())
    groups = [g for g in model.inventory.groups if g.layer == layer]
    weights = {p.name: weight_matrix(modules[p.name]).detach() for g in groups for p in g.members}
    device = next(iter(weights.values())).device
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
                write_factors(into, [block for i in inputs for block in factorize_group(*i)], neurons)
            else:
                energies = {block_name(m): e for i in inputs for m, e in group_energies(*i).items()}
                arrays = {f"energies/{name}": e.cpu().numpy() for name, e in energies.items()}
                write_arrays(into / "spectrum.safetensors", arrays)


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


def _write_analysis(
    folder: Path,
    spec: AnalysisSpec,
    model: OpenModel,
    parts: Sequence[tuple[Metric, Key]],
    layer_keys: dict[int, list[Key]],
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
