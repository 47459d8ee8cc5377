"""Write the model of a rank map into a folder: as a whole, or layer by layer where it does not fit into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import ResourceError, UnstreamableError
from engine.export.by_layer import LayerExport
from engine.export.factored import rank_pattern
from engine.export.new_folder import require_space
from engine.export.rounded import promised_bytes, unrounded, with_integers
from engine.export.specs import EXPORTED_BYTES
from engine.export.stored_layers import DenseLayers, FactoredLayers
from engine.export.weights import stored_bytes
from engine.export.writers import Written, writer_of
from engine.methods.cost import cost_of
from engine.model.module import dtype_of
from engine.pipeline.opened import OpenedAnalysis
from engine.types import Format

if TYPE_CHECKING:
    from pathlib import Path

    from cache import Key
    from engine.export.specs import ExportSpec
    from engine.progress import Report
    from engine.rank_map.document import RankMap

_OTHER_BYTES = 50_000_000
"""Room for tokenizer, configuration and code."""


def require_writable(opened: OpenedAnalysis, spec: ExportSpec) -> None:
    """Check that a format can be written of a model that stays in its files.

    Raises:
        ResourceError: it cannot.
    """
    if opened.dense.weights is not None and not spec.format.is_by_layer:
        raise ResourceError(
            f"The model {opened.folder.spec.label} does not fit into memory, so its maps are exported with the formats "
            f"factored and dense alone; choose one of them instead of {spec.format}, or a machine with more memory."
        )


def stored_dtype(opened: OpenedAnalysis, spec: ExportSpec) -> str:
    """Return the type of an export's weights."""
    return spec.own_dtype or str(dtype_of(opened.dense.module)).removeprefix("torch.")


def predicted_bytes(opened: OpenedAnalysis, rank_map: RankMap, spec: ExportSpec, params: int) -> int:
    """Return the bytes of an export's weights, told from its decisions and its parameters."""
    dtype, cost = stored_dtype(opened, spec), cost_of(opened.analysis, rank_map)
    if rank_map.is_rounded:
        return promised_bytes(rank_map, opened.dense.inventory, dtype)
    return params * EXPORTED_BYTES[dtype] + cost.index_bytes * spec.format.keeps_factors


def write_export(
    opened: OpenedAnalysis,
    rank_map: RankMap,
    refinement: Key | None,
    spec: ExportSpec,
    folder: Path,
    report: Report,
) -> Written:
    """Write weights and all that opens them into an empty folder, and return what a fresh process made of it.

    A model whose layers cannot be run one at a time is opened as a whole where it fits into memory once.

    Raises:
        ExportError: the format cannot hold the model, or what was written does not run as the model here does.
        ResourceError: the disk has too little room.
        UnstreamableError: the model does not fit, and its layers cannot be run one at a time.
    """
    if opened.dense.weights is None:
        return _as_a_whole(opened, rank_map, refinement, spec, folder, report)
    try:
        return _layer_by_layer(opened, rank_map, refinement, spec, folder, report)
    except UnstreamableError as error:
        place = opened.home, opened.analysis, opened.folder
        whole = OpenedAnalysis(*place, report, dtype=opened.dtype, device=opened.device)
        if whole.dense.weights is not None:
            raise
        report("model", 0.2, f"The model is opened as a whole: {error}")
    for path in folder.iterdir():
        path.unlink()
    return _as_a_whole(whole, rank_map, refinement, spec, folder, report)


def _as_a_whole(
    opened: OpenedAnalysis,
    rank_map: RankMap,
    refinement: Key | None,
    spec: ExportSpec,
    folder: Path,
    report: Report,
) -> Written:
    model = opened.dense
    writer = writer_of(spec, model.inventory.mlps)
    report("compress", 0.2, "Compressing")
    module = writer.prepare(model.module, opened.compress(unrounded(rank_map), refinement))
    params = sum(p.numel() for p in module.parameters())
    if rank_map.is_rounded:
        module = with_integers(module, rank_map.blocks)
    needed_bytes = stored_bytes(module)
    require_space(folder.parent, needed_bytes + _OTHER_BYTES)
    report("write", 0.4, f"Writing {needed_bytes / 1e6:,.0f} MB")
    verified = writer.write(module, model.tokenizer, folder, report)
    return Written(verified, writer.weight_bytes(module, folder), params, rank_pattern(module))


def _layer_by_layer(
    opened: OpenedAnalysis,
    rank_map: RankMap,
    refinement: Key | None,
    spec: ExportSpec,
    folder: Path,
    report: Report,
) -> Written:
    model, inventory = opened.dense, opened.dense.inventory
    cost, keeps_factors = cost_of(opened.analysis, rank_map), spec.format.keeps_factors
    n_params = cost.model_params if keeps_factors else inventory.total_params
    needed_bytes = predicted_bytes(opened, rank_map, spec, n_params)
    require_space(folder.parent, needed_bytes + _OTHER_BYTES)
    report("write", 0.2, f"Writing {needed_bytes / 1e6:,.0f} MB layer by layer")
    layers = opened.by_layer(rank_map, refinement)
    widths = {block.members[-1]: block.rank for block in rank_map.blocks if block.rank and block.format is Format.WIDTH}
    stored = (
        FactoredLayers(layers.module, layers.decided)
        if keeps_factors
        else DenseLayers(layers.module, inventory.mlps, widths)
    )
    return LayerExport(layers.module, layers.held, stored, folder).write(model.tokenizer, report)
