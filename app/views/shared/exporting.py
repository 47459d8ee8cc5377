"""Part of Allocation and Results: a compressed model as a folder that opens without RankScope."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from app.services import jobs
from app.services.home import export_folder
from app.widgets.errors import errors_shown
from app.widgets.job_progress import follow, watch
from app.widgets.pickers import option_picker
from app.wording.labels import plain, slug
from engine.export.outcome import ExportedModel
from engine.export.specs import EXPORTED_BYTES, ExportFormat
from engine.formats import allocated_params
from engine.operations import Export
from engine.precision import model_bytes
from engine.results.words import megabytes, percent
from engine.types import Format

if TYPE_CHECKING:
    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis

_FORMATS = {
    ExportFormat.FACTORED: "Factors: small",
    ExportFormat.ONNX: "ONNX graph: small, without torch",
    ExportFormat.DENSE: "Ordinary weights: any runtime, no smaller",
    ExportFormat.GGUF: "GGUF for llama.cpp: smaller by widths only",
}


def export_map(analysis: Analysis, costed: CostedMap, dtype: str) -> None:
    """Offer the export of a map, follow it, and say where it is and how it is opened.

    Args:
        analysis: of the model.
        costed: the map.
        dtype: number type that sizes on the page are given for.
    """
    exported = jobs.result_of(watch("export", analysis.id, costed.rank_map), ExportedModel)
    if exported is not None and Path(exported.folder).is_dir():
        _show_export(exported)
    elif exported is not None:
        st.caption(f"The export is no longer in {plain(exported.folder)}.")
    with st.expander("Export the compressed model", icon=":material/folder_zip:"):
        st.caption(
            "Writes a folder that transformers, ONNX Runtime or llama.cpp opens without RankScope: weights, tokenizer "
            "and a model card with the measurements. It is opened in a fresh process and compared with the model in "
            "memory before the export is complete."
        )
        suggested = _suggested_name(analysis, costed)
        name = st.text_input("Folder name", suggested, max_chars=80, key=f"export.name.{suggested}")
        is_rounded = costed.rank_map.is_rounded
        formats = {kind: name for kind, name in _FORMATS.items() if kind is ExportFormat.FACTORED or not is_rounded}
        chosen = ExportFormat(
            option_picker("Export as", formats, key="export.format.rounded" if is_rounded else "export.format")
        )
        if is_rounded:
            st.caption("Blocks are stored at their own bits, as integers; the number type is that of everything else.")
        sizes = {kind: _bytes_of(analysis, costed, chosen, kind) for kind in chosen.dtypes}
        about = "about " if chosen in {ExportFormat.ONNX, ExportFormat.GGUF} else ""
        stored = st.selectbox(
            "Number type",
            chosen.dtypes,
            chosen.dtypes.index(dtype) if dtype in chosen.dtypes else 0,
            format_func=lambda kind: f"{kind}: {about}{megabytes(sizes[kind])}",
            key=f"export.dtype.{chosen}.{dtype}",
        )
        label = f"Export {about}{megabytes(sizes[stored])} and check"
        if st.button(label, icon=":material/play_arrow:", key="export.start"):
            with errors_shown():
                folder, rank_map = str(export_folder(name.strip())), costed.rank_map.to_json()
                operation = Export(analysis=analysis.id, rank_map=rank_map, folder=folder)
                follow(jobs.submit(operation.changed(format=chosen, dtype=stored)))
                st.rerun()


def _bytes_of(analysis: Analysis, costed: CostedMap, how: ExportFormat, dtype: str) -> int:
    """Return the bytes of the weights that an export writes."""
    size, inventory = EXPORTED_BYTES[dtype], analysis.inventory
    if costed.rank_map.is_rounded:
        blocks = [block if block.is_rounded else replace(block, bits=None) for block in costed.rank_map.blocks]
        return model_bytes(dtype, blocks, inventory)
    if how.keeps_factors:
        return costed.cost.model_params * size + costed.cost.index_bytes
    narrow = [block for block in costed.rank_map.blocks if block.format is Format.WIDTH]
    # Ordinary weights have one width for all MLPs.
    is_even = len(narrow) == len(inventory.mlps) and len({block.rank for block in narrow}) == 1
    stays_narrow = how is ExportFormat.GGUF or is_even
    saved = inventory.compressible_params - allocated_params(narrow, inventory) if stays_narrow else 0
    return (inventory.total_params - saved) * size


def _show_export(exported: ExportedModel) -> None:
    stored, dense = exported.weight_bytes / 1e6, exported.dense_weight_bytes / 1e6
    saving = "" if exported.saves_memory else " It is no smaller than the dense model."
    st.caption(
        f"In {plain(exported.folder)}: {stored:,.1f} MB of weights, {dense:,.1f} MB dense ({exported.dtype})."
        f"{saving} A fresh process without RankScope opened it; on {exported.n_verified_tokens} tokens its outputs "
        f"differ by at most {exported.max_logit_difference:.2g} from the model in memory, where the largest is "
        f"{exported.largest_logit:.1f}.{_rounding(exported)}"
    )
    st.code("\n".join(exported.load), language="python", wrap_lines=True)


def _rounding(exported: ExportedModel) -> str:
    if exported.dtype != "int8" or exported.same_top is None:
        return ""
    return f" Rounded to int8, it has the same most probable token after {percent(exported.same_top)} of them."


def _suggested_name(analysis: Analysis, costed: CostedMap) -> str:
    return slug(f"{analysis.about['model']}-{costed.method}-{costed.cost.kept_fraction:.2f}", ".")[:80]
