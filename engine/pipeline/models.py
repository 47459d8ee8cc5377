"""The dense model of an analysis and what its rank maps make of it, opened when first needed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from engine.compression.apply import compress
from engine.machine import versions
from engine.model.module import resolve_device
from engine.model.opening import OpenModel, open_model
from engine.pipeline.factors import factors_reader
from engine.pipeline.refined import apply_refinement
from engine.rank_map.identity import map_id

if TYPE_CHECKING:
    from torch import nn

    from cache import Key
    from engine.analysis.value import Analysis
    from engine.model.sources import ModelFolder
    from engine.progress import Report
    from engine.rank_map.document import RankMap
    from engine.settings import Home


class Models:
    """One dense model, opened once, and one compressed model at a time.

    Args:
        home: holds the factors.
        analysis: whose factors are used.
        folder: of the model that was analysed.
        report: told when the model is opened.
        dtype: weights and arithmetic.
        device: where it runs.
    """

    def __init__(
        self, home: Home, analysis: Analysis, folder: ModelFolder, report: Report, *, dtype: str, device: str = "auto"
    ) -> None:
        self.home = home
        self.store = home.store
        self.analysis = analysis
        self.folder = folder
        self.dtype = dtype
        self._device = device
        self._report = report
        self._compressed: tuple[tuple[str, Key | None], nn.Module] | None = None

    @cached_property
    def dense(self) -> OpenModel:
        """The model as it is."""
        spec = self.folder.spec
        self._report("model", 0.1, f"Opening {spec.label}")
        remote_code = spec.trust_remote_code
        return open_model(self.folder.path, dtype=self.dtype, device=self._device, trust_remote_code=remote_code)

    def open(self) -> None:
        """Open the dense model now, so that what follows does not begin with it."""
        _ = self.dense

    def module(self, rank_map: RankMap | None, refinement: Key | None = None) -> nn.Module:
        """Return the dense model for ``None``, or the model under a checked rank map; it is kept, do not change it."""
        if rank_map is None:
            return self.dense.module
        wanted = map_id(rank_map), refinement
        if self._compressed is None or self._compressed[0] != wanted:
            self._compressed = None  # frees its memory before the next one takes some
            self._compressed = wanted, self.compress(rank_map, refinement)
        return self._compressed[1]

    def compress(self, rank_map: RankMap, refinement: Key | None = None) -> nn.Module:
        """Return the model under a checked rank map, made anew, with refined factors if their key is given."""
        reader = factors_reader(self.analysis, self.store, rank_map.metric)
        module = compress(self.dense.module, rank_map.blocks, reader)
        if refinement is not None:
            apply_refinement(module, self.store, refinement)
        return module

    def described(self, rank_map: RankMap | None) -> dict[str, Any]:
        """Return what every measurement says about the model, the device and the versions."""
        return {
            "model": self.analysis.about["model"],
            "model_fingerprint": self.folder.fingerprint,
            "model_revision": self.folder.spec.revision,
            "analysis": None if rank_map is None else self.analysis.id,
            "map": None if rank_map is None else map_id(rank_map),
            "dtype": self.dtype,
            "device": str(resolve_device(self._device)),
            "versions": versions(),
        }
