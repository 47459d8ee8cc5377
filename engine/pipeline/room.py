"""Whether a model is analysed as a whole or layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.machine import free_memory_bytes
from engine.model.headers import read_header

if TYPE_CHECKING:
    from engine.model.sources import ModelFolder
    from engine.specs import AnalysisSpec


def must_stream(folder: ModelFolder, spec: AnalysisSpec, memory_bytes: int) -> bool:
    """Whether a model and ``memory_bytes`` of statistics take more than the free memory of this machine."""
    header = read_header(folder.path)
    opened = 4 * header.n_params if spec.calibration.compute_dtype == "float32" else header.weight_bytes
    return opened + memory_bytes > free_memory_bytes()
