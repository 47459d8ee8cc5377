"""An analysis with its model: the dense model is opened when first needed, and compressed to a rank map on demand."""

from __future__ import annotations

import contextlib
import weakref
from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from engine.compression.apply import compress
from engine.errors import ModelError, ResourceError
from engine.evaluation.streamed import LayerByLayer
from engine.machine import versions
from engine.model.headers import read_header
from engine.model.module import resolve_device
from engine.model.opening import OpenModel, open_model
from engine.model.places import places_of
from engine.model.sources import ModelFolder, converted_gguf, resolve_model, resolve_texts
from engine.pipeline.factors import factors_reader, rank_factors_reader
from engine.pipeline.layerwise import CompressedLayers
from engine.pipeline.plan import fits_whole
from engine.pipeline.reading.analyses import analysis_spec
from engine.pipeline.refined import apply_refinement, refine_layer
from engine.pipeline.sequences import read_sequences
from engine.precision import ROUNDINGS
from engine.quantization.rounding import rounded, torchao_version
from engine.rank_map.identity import map_id
from engine.specs import ModelSource

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    from cache import Key
    from engine.analysis.value import Analysis
    from engine.compression.apply import Parts
    from engine.evaluation.streamed import Start
    from engine.factorization.blocks import Factors
    from engine.factorization.neurons import Neurons
    from engine.progress import Report
    from engine.rank_map.document import RankMap
    from engine.settings import Home
    from engine.specs import CorpusSpec
    from engine.types import Metric


class OpenedAnalysis:
    """An analysis, its dense model, opened once, and one compressed model at a time.

    Args:
        home: where everything is stored.
        analysis: whose factors are used.
        folder: of the model that was analysed.
        report: told when the model is opened.
        dtype: weights and arithmetic.
        device: where it runs.
        dense: the model, where it is open already.
        weight_bits: of the projections of compressed models; below 16 they are rounded.
        copies: of the dense model that memory has to hold for the model not to stay in its files.
    """

    def __init__(
        self,
        home: Home,
        analysis: Analysis,
        folder: ModelFolder,
        report: Report,
        *,
        dtype: str,
        device: str = "auto",
        dense: OpenModel | None = None,
        weight_bits: int = 16,
        copies: float = 1.0,
    ) -> None:
        self.home = home
        self.store = home.store
        self.analysis = analysis
        self.folder = folder
        self.dtype = dtype
        self.device = device
        self.weight_bits = weight_bits
        self.copies = copies
        self._report = report
        self._dense = dense
        self._compressed: tuple[tuple[str, Key | None], nn.Module] | None = None
        self._parts: defaultdict[Metric, Parts] = defaultdict(weakref.WeakValueDictionary)
        self._files = contextlib.ExitStack()
        weakref.finalize(self, self._files.close)

    def of(self, analysis: Analysis, weight_bits: int = 16) -> OpenedAnalysis:
        """Return another analysis of the same model, which stays open, or the same one with other bits."""
        return OpenedAnalysis(
            self.home,
            analysis,
            self.folder,
            self._report,
            dtype=self.dtype,
            device=self.device,
            dense=self._dense,
            weight_bits=weight_bits,
            copies=self.copies,
        )

    @property
    def dense(self) -> OpenModel:
        """The dense model; the first use opens it."""
        if self._dense is None:
            spec = self.folder.spec
            self._report("model", None, f"Opening {spec.label}")
            offload = None if self._is_whole() else self._files.enter_context(self.store.scratch())
            self._dense = open_model(
                self.folder.path,
                dtype=self.dtype,
                device=self.device,
                trust_remote_code=spec.trust_remote_code,
                offload=offload,
            )
        return self._dense

    def _is_whole(self) -> bool:
        """Whether the dense model is in memory, or would be if it was opened now."""
        if self._dense is not None:
            return self._dense.weights is None
        return fits_whole(read_header(self.folder.path), self.dtype, self.copies)

    def open(self) -> None:
        """Open the dense model now, so that what follows does not begin with it."""
        _ = self.dense

    def runnable(self, rank_map: RankMap, refinement: Key | None = None) -> nn.Module | LayerByLayer:
        """Return :meth:`module`, or the same read and compressed layer by layer if the dense model does not fit.

        Raises:
            ResourceError: it does not fit, and weights are to be rounded.
        """
        if self.dense.weights is None or self.weight_bits != 16 or rank_map.is_rounded:
            return self.module(rank_map, refinement)
        return self.by_layer(rank_map, refinement).run()

    def continued(self, rank_map: RankMap, start: Start) -> LayerByLayer:
        """Return the model under a checked rank map that begins where the dense one was, up to its first block."""
        if self.dense.weights is None:
            return LayerByLayer(self.module(rank_map), self.dense.holding, start=start)
        return self.by_layer(rank_map).run(start)

    def by_layer(self, rank_map: RankMap, refinement: Key | None = None, *, apart: bool = False) -> CompressedLayers:
        """Return the layers of the model under a checked rank map, at the bits of the whole model; see there."""
        return CompressedLayers(
            self.dense,
            rank_map.blocks,
            self.factors(rank_map.metric),
            None if refinement is None else partial(refine_layer, self.dense.module, self.store, refinement),
            apart=apart,
        )

    def require_whole(self) -> None:
        """Check that the dense model is in memory, or fits; it is not opened for that.

        Raises:
            ResourceError: it does not fit.
        """
        if not self._is_whole():
            raise ResourceError(
                f"The model {self.folder.spec.label} does not fit into memory, so its maps can be measured by "
                "perplexity, unrounded, compared without a search (--search-trials 0), corrected in closed form, and "
                "exported with the formats factored and dense; use a machine with more memory for anything else."
            )

    def module(self, rank_map: RankMap | None, refinement: Key | None = None) -> nn.Module:
        """Return the dense model for ``None``, or the model under a checked rank map; it is kept, do not change it."""
        if rank_map is None:
            return self.dense.module
        wanted = map_id(rank_map), refinement
        if self._compressed is None or self._compressed[0] != wanted:
            self._compressed = None  # frees its memory before the next one takes some
            self._compressed = wanted, self.compress(rank_map, refinement)
        return self._compressed[1]

    def compress(self, rank_map: RankMap, refinement: Key | None = None, *, shared: bool = False) -> nn.Module:
        """Return the model under a checked rank map, made anew, with refined factors if their key is given.

        Args:
            rank_map: checked.
            refinement: the key of its refined factors.
            shared: blocks that did not change may be those of a model made before, and of the next; change none.

        Raises:
            ResourceError: the dense model does not fit into memory.
        """
        self.require_whole()
        known = self._parts[rank_map.metric] if shared and refinement is None else None
        module = compress(self.dense.module, rank_map.blocks, self.factors(rank_map.metric), known)
        if refinement is not None:
            apply_refinement(module, self.store, refinement)
        bits_of = dict.fromkeys(self.analysis.projections, self.weight_bits)
        bits_of |= {name: block.bits for block in rank_map.blocks if block.bits for name in block.members}
        for bits, rounding in ROUNDINGS.items():
            if names := [name for name, own in bits_of.items() if own == bits]:
                module = rounded(module, names, rounding)
        return module

    def factors(self, metric: Metric) -> Callable[[tuple[str, ...]], Factors | Neurons]:
        """Return a function from member names to the stored factors in ``metric``, or to the neurons of an MLP.

        Raises:
            RankScopeError: the analysis stored none in this metric.
        """
        return factors_reader(self.analysis, self.store, metric, resolve_device(self.device))

    def rank_factors(self, metric: Metric) -> Callable[[tuple[str, ...]], Factors]:
        """Return :meth:`factors` for the members of blocks that are stored at a rank.

        Raises:
            RankScopeError: the analysis stored none in this metric.
        """
        return rank_factors_reader(self.analysis, self.store, metric, resolve_device(self.device))

    def sequences(self, spec: CorpusSpec, report: Report, *, or_all: bool = False) -> torch.Tensor:
        """Return the token ids (n_sequences, length) the model reads of a text; ``or_all``: all there are, if fewer.

        Raises:
            InvalidSpecError: the sequences are longer than what the model was built for.
            CorpusError: the text cannot be read, or there is too little of it.
        """
        texts, dense = resolve_texts(self.home, spec, report), self.dense
        report("text", None, f"Reading {spec.label}")
        return read_sequences(dense, spec, texts, or_all=or_all)

    def described(self, rank_map: RankMap | None) -> dict[str, object]:
        """Return what every measurement says about the model, the device and the versions."""
        return {
            "model": self.analysis.about["model"],
            "model_fingerprint": self.folder.fingerprint,
            "model_revision": self.folder.spec.revision,
            "analysis": None if rank_map is None else self.analysis.id,
            "map": None if rank_map is None else map_id(rank_map, weight_bits=self.weight_bits),
            "dtype": self.dtype,
            "device": str(resolve_device(self.device)),
            "versions": self.versions(),
            "weight_bits": 16 if rank_map is None else self.weight_bits,
        }

    def versions(self) -> dict[str, str]:
        """Return the versions that decide numbers, torchao's among them where it rounds."""
        return versions() if self.weight_bits == 16 else {**versions(), "torchao": torchao_version()}


def open_analysis(
    home: Home, analysis: Analysis, report: Report, *, dtype: str, device: str = "auto", copies: float = 1.0
) -> OpenedAnalysis:
    """Return an analysis with the model that was analysed, to be opened in a type on a device, ``copies`` times.

    Raises:
        ModelError: the model is gone or has changed since.
    """
    folder = reopen_folder(home, analysis, report)
    return OpenedAnalysis(home, analysis, folder, report, dtype=dtype, device=device, copies=copies)


def reopen_folder(home: Home, analysis: Analysis, report: Report) -> ModelFolder:
    """Return the folder of the model that was analysed, also if it was moved and analysed where it lies now.

    Raises:
        ModelError: it is gone or has changed since.
    """
    spec, fingerprint = analysis_spec(analysis).model, analysis.about["model_fingerprint"]
    if spec.source is ModelSource.GGUF and (converted := converted_gguf(home.store, spec, fingerprint)):
        return converted  # the file itself is not needed any more
    places = places_of(home, spec, fingerprint)
    problem: ModelError | None = None
    for place in places:
        try:
            folder = resolve_model(home, place, report)
        except ModelError as error:
            problem = problem or error
            continue
        if fingerprint in (folder.fingerprint, folder.earlier):
            return replace(folder, fingerprint=fingerprint)
    if problem is not None and not spec.is_path:
        raise problem
    where = " or ".join(place.location for place in places)
    raise ModelError(
        f"The model {spec.label} is no longer at {where}, or has changed since it was analysed: restore its files, or "
        "analyse it where it lies now, which computes nothing again with the same settings."
    ) from problem
