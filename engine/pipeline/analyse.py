"""From a model and a text to an analysis: statistics layer by layer, then factors, then one summary."""

from __future__ import annotations

import contextlib
import json
import math
import platform
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from cache import Key, canonical_json, read_arrays, read_json, write_json
from engine.errors import CorpusError, ModelError, NumericalError, ResourceError, UnstreamableError
from engine.export.narrowed import is_narrowed_on_the_way
from engine.export.record import read_record
from engine.machine import peak_memory_bytes
from engine.model.headers import read_header
from engine.model.module import dtype_of, pass_type, resolve_device
from engine.model.opening import open_model, type_for_passes
from engine.model.places import note_place
from engine.model.sources import resolve_model, resolve_texts
from engine.pipeline import keys
from engine.pipeline.around import TruncatedModel
from engine.pipeline.calibrate import calibrate, calibrate_streamed
from engine.pipeline.factorize import factorize, write_analysis
from engine.pipeline.opened import OpenedAnalysis
from engine.pipeline.pace import measure_pace
from engine.pipeline.pilot import weigh_depths
from engine.pipeline.plan import N_SEQUENCES, described, fits_whole, plan_analysis
from engine.pipeline.reading.analyses import ANALYSIS, DEPTH_WEIGHTS, SPECTRA, analysis_of, load_analysis
from engine.pipeline.runs import runs_of
from engine.pipeline.sequences import read_sequences, sequences_fingerprint, text_start
from engine.progress import ignore_progress, part_of
from engine.results.words import duration, percent
from engine.specs import EvaluationSpec, ModelSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from engine.analysis.value import Analysis
    from engine.model.headers import ModelHeader
    from engine.model.opening import OpenModel
    from engine.model.sources import ModelFolder
    from engine.pipeline.runs import Run
    from engine.progress import Report
    from engine.settings import Home
    from engine.specs import AnalysisSpec

T = TypeVar("T")

DEFAULT_MEMORY_BYTES = 4 * 10**9
"""Moments held at once; more layers than fit take further passes over the text."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a share of an analysis brought.

    Attributes:
        complete: whether the statistics of all shares are stored.
        analysis: the key of the analysis, if the share was the last to be taken and went on, or if it was there.
    """

    complete: bool
    analysis: Key | None


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
    return _analysed(_planned(home, spec, report, memory_bytes, device, folder), report, stream=stream)


def _analysed(work: _Work, report: Report, *, stream: bool) -> Key:
    """Do an analysis that may be stored, after that of the dense model if it is around a compressed one."""
    if work.key in work.home.store:
        report("analysis", 1.0, "This analysis exists already")
        return work.key
    streams = work.must_stream(report, stream=stream)
    base = None
    if work.spec.around_kept_fraction is not None:
        first = _analysed(work.of_dense(), part_of(report, 0.0, 0.5), stream=stream)
        base = load_analysis(work.home.store, first.fingerprint)
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
) -> Shared:
    """Store the statistics of every ``n_shards``-th run of sequences; after the last missing ones, go on to analyse.

    The model is open by then. A shard that finds all it was to take leaves the analysis to a job of its own: several
    may find that at once.

    Args:
        home: where everything is stored; several machines may share it.
        spec: of the analysis.
        shard: the first of its runs.
        n_shards: how many jobs share the runs.
        report: told how far it is.
        memory_bytes: statistics held at once.
        device: where the passes run.
        stream: as in :func:`analyse`.

    Raises:
        RankScopeError: as in :func:`analyse`.
    """
    work = _planned(home, spec, report, memory_bytes, device, None)
    if work.key in home.store:
        report("analysis", 1.0, "This analysis exists already")
        return Shared(complete=True, analysis=work.key)
    streams = work.must_stream(report, stream=stream)
    share = partial(work.shared, runs_of(spec.corpus.n_sequences)[shard::n_shards])
    return _streamed_or_whole(share, report, streams=streams, insists=stream)


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
    work = _Work(
        home, spec, folder, read_header(folder.path), texts, corpus_id, n_start, None, memory_bytes, device, started
    )
    # Factors of a model in 16 bits were float32 before, and an analysis with such is as good.
    kinds = [work, replace(work, header=replace(work.header, is_half=False))]
    if folder.earlier is not None:
        kinds += [replace(kind, folder=replace(folder, fingerprint=folder.earlier)) for kind in kinds]
    known = (replace(kind, spec=one) for one in spec.candidates() for kind in kinds)
    if (stored := next((one for one in known if one.key in store), None)) is not None:
        return stored
    if spec.calibration.compute_dtype == "auto":
        return replace(work, spec=spec.with_pass_type(pass_type(device)))
    return work


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
    header: ModelHeader
    texts: Path | None
    corpus_id: str
    n_start: int
    base: Analysis | None
    memory_bytes: int
    device: str
    started: float

    @property
    def key(self) -> Key:
        """Where it is stored."""
        model, corpus, begun = self.folder.fingerprint, self.corpus_id, self.n_start > 0
        return keys.analysis_key(
            self.spec, model, corpus, begun=begun, half=self.header.is_half, experts=self.header.has_experts
        )

    def of_dense(self) -> _Work:
        """Return the analysis of the dense model that one around a compressed model begins with."""
        return replace(self, spec=replace(self.spec, around_kept_fraction=None))

    def must_stream(self, report: Report, *, stream: bool) -> bool:
        """Say what the work takes, and return whether it is done layer by layer.

        Raises:
            ResourceError: the disk has too little room.
        """
        header, store = self.header, self.home.store
        n_workers = torch.get_num_threads()
        plan = plan_analysis(header, self.spec, self.memory_bytes, stream=stream, n_workers=n_workers)
        dtype = getattr(torch, self.spec.calibration.compute_dtype)
        pace = measure_pace(dtype, resolve_device(self.device), header.width)
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
        factors_of = partial(keys.factors_key, spec=self.spec, half=self.header.is_half)
        parts |= {metric: [factors_of(key, metric) for key in merged] for metric in self.spec.metrics}
        return {what: sum(key in self.home.store for key in part) / max(len(part), 1) for what, part in parts.items()}

    def done(self, report: Report, *, streams: bool) -> Key:
        """Do what is not stored of it, layer by layer or with the whole model in memory."""
        with self._opened(report, streams=streams) as model:
            keys_of, seconds = self._statistics_keys(model), {}
            if self._is_missing(keys_of.values()):
                seconds["calibration"] = self._calibrate(model, list(keys_of), report)
            self._decompose(model, keys_of, seconds, report)
        return self.key

    def shared(self, share: Sequence[Run], report: Report, *, streams: bool) -> Shared:
        """Take the statistics of some runs, and do the rest if theirs were the last that were missing."""
        with self._opened(report, streams=streams) as model:
            keys_of = self._statistics_keys(model)
            had_some_to_take = self._is_missing(keys_of[run] for run in share)
            seconds = {"calibration": self._calibrate(model, share, report)}
            is_complete = not self._is_missing(keys_of.values())
            if not (is_complete and had_some_to_take):
                report("calibration", 1.0, "The statistics are stored")
                return Shared(is_complete, None)
            self._decompose(model, keys_of, seconds, report)
        return Shared(complete=True, analysis=self.key)

    def _decompose(
        self, model: OpenModel, keys_of: Mapping[Run, dict[int, Key]], seconds: dict[str, float], report: Report
    ) -> None:
        """Do and store what follows the statistics, of which those that were taken now took some ``seconds``."""
        spec, store = self.spec, self.home.store
        layer_keys = {layer: [of_layers[layer] for of_layers in keys_of.values()] for layer in _layers(model)}
        begun_s = time.monotonic()
        told, half = part_of(report, 0.8, 0.99), self.header.is_half
        parts = factorize(spec, model, layer_keys, store, told, half=half)
        seconds["factorization"] = time.monotonic() - begun_s
        seconds["total"] = time.monotonic() - self.started
        about = {
            "model": _title(self.folder),
            "corpus": spec.corpus.label,
            # Where the model lies is for opening it again; the fingerprint says whether it is still the same.
            "spec": json.loads(canonical_json(spec)),
            "seconds": {name: round(value, 2) for name, value in seconds.items()},
            "peak_memory_bytes": peak_memory_bytes(),
            "platform": platform.platform(),
        }
        report("analysis", 0.99, "Storing the analysis")
        with store.writing(self.key, about) as into:
            write_analysis(
                into,
                spec,
                model,
                parts,
                layer_keys,
                store,
                model_folder=self.folder,
                corpus_id=self.corpus_id,
                base=self.base,
                half=half,
            )
            self._weigh_depths(into, model, about, report)
        report("analysis", 1.0, "Done")

    def _weigh_depths(self, into: Path, model: OpenModel, about: Mapping[str, Any], report: Report) -> None:
        """Measure what nats count at every depth, and write it into an analysis that is being stored."""
        document, dtype = read_json(into / ANALYSIS), str(dtype_of(model.module)).removeprefix("torch.")
        analysis = analysis_of(self.key, about, document, read_arrays(into / SPECTRA))
        # A compressed copy is made beside the model; where it does not fit, both are run layer by layer from the files.
        fits = model.weights is not None or fits_whole(self.header, dtype)
        opened = OpenedAnalysis(
            self.home,
            analysis,
            self.folder,
            ignore_progress,
            dtype=dtype,
            device=self.device,
            dense=model if fits else None,
            copies=1.0 if fits else math.inf,
        )
        tokens = self._unread(model)
        measuring = EvaluationSpec(replace(self.spec.corpus, n_sequences=len(tokens)), dtype, batch_size=1)
        told = part_of(report, 0.99, 1.0)
        try:
            weights = weigh_depths(opened, tokens, measuring, told)
        except (NumericalError, ResourceError, UnstreamableError) as error:
            told("pilot", 1.0, f"Depths are not weighed: {error}")
            return
        write_json(into / ANALYSIS, {**document, DEPTH_WEIGHTS: asdict(weights)})

    def _unread(self, model: OpenModel) -> torch.Tensor:
        """Return a few sequences that follow those of the analysis, or its last ones where no more can be read."""
        corpus = replace(self.spec.corpus, n_sequences=self.spec.corpus.n_sequences + N_SEQUENCES)
        try:
            tokens = read_sequences(model, corpus, self.texts, or_all=True)
        except (CorpusError, ModelError):  # of what follows: the analysis has read its own
            tokens = read_sequences(model, self.spec.corpus, self.texts)
        return tokens[-N_SEQUENCES:]

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

    def _statistics_keys(self, model: OpenModel) -> dict[Run, dict[int, Key]]:
        """Return where the statistics of all runs lie."""
        return {run: self._run_keys(_layers(model), run) for run in runs_of(self.spec.corpus.n_sequences)}

    def _is_missing(self, keys_of: Iterable[Mapping[int, Key]]) -> bool:
        """Whether some of these statistics are not stored."""
        return any(key not in self.home.store for of_layers in keys_of for key in of_layers.values())

    def _run_keys(self, layers: Iterable[int], run: Run) -> dict[int, Key]:
        """Return where the statistics of a run lie, by layer: under the text up to its end, whatever follows."""
        corpus = self.corpus_id
        if run.stop < self.spec.corpus.n_sequences:
            corpus = sequences_fingerprint(self.folder, replace(self.spec.corpus, n_sequences=run.stop))
        key_of = partial(
            keys.statistics_key,
            self.spec,
            model=self.folder.fingerprint,
            corpus=corpus,
            begun=self.n_start > 0,
            first=run.first,
            half=self.header.is_half,
            experts=self.header.has_experts,
        )
        return {layer: key_of(layer) for layer in layers}

    def _calibrate(self, model: OpenModel, runs: Sequence[Run], report: Report) -> float:
        """Take the missing statistics of some runs; return the seconds."""
        report("text", 0.12, f"Reading {self.spec.corpus.label}")
        tokens, store = read_sequences(model, self.spec.corpus, self.texts), self.home.store
        begun, told = time.monotonic(), part_of(report, 0.13, 0.8)
        around: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        holding = model.holding
        if self.base is not None and self.spec.around_kept_fraction is not None:
            truncated = TruncatedModel(model, self.base, self.spec.around_kept_fraction, store)
            around, holding = truncated.whole(), truncated.held
        streams = model.weights is not None
        with contextlib.nullcontext() if streams else around:
            for index, run in enumerate(runs):
                layer_keys = self._run_keys(_layers(model), run)
                missing = [layer for layer, key in layer_keys.items() if key not in store]
                if not missing:
                    continue
                seeded = replace(self.spec.calibration, seed=self.spec.calibration.seed + run.first)
                of_run = replace(self.spec, calibration=seeded)
                into = (of_run, model, tokens[run.first : run.stop], missing, layer_keys, store)
                part = part_of(told, index / len(runs), (index + 1) / len(runs))
                if streams:
                    calibrate_streamed(*into, part, n_start=self.n_start, holding=holding)
                else:
                    calibrate(*into, part, n_start=self.n_start, memory_bytes=self.memory_bytes)
        return time.monotonic() - begun


def _layers(model: OpenModel) -> list[int]:
    return sorted({group.layer for group in model.inventory.groups})


def _title(folder: ModelFolder) -> str:
    """Return the name of a model; an export's says what is left of which model, because ratios are to the export."""
    record = read_record(folder.path) if folder.spec.source is ModelSource.FOLDER else None
    if record is None:
        return folder.spec.label
    kept = percent(record.exported.kept_fraction)
    if is_narrowed_on_the_way(str(folder.path)):
        return f"{record.exported.model} narrowed to {kept}"
    return f"{folder.spec.label} ({kept} of {record.exported.model})"
