"""Attention heads of an analysed model, from stored factors and the model's configuration; free of torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cache import Key, read_as_float32
from engine.analysis.heads import HeadLayout, HeadSpectra, divides_inputs, head_spectra, layout_of
from engine.pipeline.reading.analyses import analysis_spec
from engine.specs import ModelSource

if TYPE_CHECKING:
    from cache import Store
    from engine.analysis.value import Analysis
    from engine.types import Metric

_STORED_MODELS: Final = ("demo-model", "converted-model")
_CONFIG: Final = "config.json"


def head_layout(store: Store, analysis: Analysis) -> HeadLayout | None:
    """Return how the model's attention is divided; ``None`` where its configuration is not here or names no heads."""
    file = _config_file(store, analysis)
    try:
        return None if file is None else layout_of(json.loads(file.read_bytes()))
    except (OSError, ValueError, AttributeError):
        return None


def _config_file(store: Store, analysis: Analysis) -> Path | None:
    spec = analysis_spec(analysis).model
    for stage in _STORED_MODELS:
        key = Key(stage, analysis.about["model_fingerprint"])
        if key in store:
            return store.read(key).folder / _CONFIG
    if spec.source is ModelSource.FOLDER:
        return Path(spec.location) / _CONFIG
    if spec.source is not ModelSource.HUB:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(spec.location, _CONFIG, revision=spec.revision)
    return Path(found) if isinstance(found, str) else None


def heads(store: Store, analysis: Analysis, metric: Metric) -> dict[str, HeadSpectra]:
    """Return the heads of every projection that was decomposed on the side which heads divide, by name.

    Raises:
        RankScopeError: the analysis stored no factors in this metric.
        DamagedArtifactError: they are not what was written.
    """
    analysis.require_factors(metric)
    layout = head_layout(store, analysis)
    if layout is None:
        return {}
    layers = sorted({group.layer for group in analysis.inventory.groups})
    found = {}
    for layer, fingerprint in zip(layers, analysis.about["factors"][metric], strict=True):
        counts = {
            p: number
            for p in analysis.inventory.projections
            if p.layer == layer and (number := layout.count(p)) is not None
        }
        artifact = store.read(Key("factors", fingerprint))
        sides = artifact.json("blocks.json")
        divided = [p for p in counts if sides[p.name]["on_output_side"] is not divides_inputs(p)]
        if not divided:
            continue
        energies = artifact.arrays("spectrum.safetensors")
        wanted = [f"{part}/{p.name}" for p in divided for part in ("basis", "dual")]
        stored = read_as_float32(artifact.path("factors.safetensors"), wanted)
        for projection in divided:
            name = projection.name
            basis, dual = stored[f"basis/{name}"], stored.get(f"dual/{name}")
            if divides_inputs(projection) and dual is not None:
                basis, dual = dual.T, basis.T
            found[name] = head_spectra(basis, dual, energies[f"energies/{name}"], counts[projection])
    return found
