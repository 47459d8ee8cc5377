"""Part of Allocation: the compressed model as a folder that transformers opens by itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.services import jobs
from app.services.home import export_folder
from app.widgets.errors import errors_shown
from app.widgets.job_progress import follow, watch
from app.widgets.pickers import option_picker
from app.wording.labels import plain
from engine.jobs import JobStatus
from engine.operations import Export

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.plans import Plan
    from engine.analysis.value import Analysis

_FORMATS = {"factored": "Factors: small", "dense": "Ordinary weights: any runtime, no smaller"}


def export_plan(analysis: Analysis, plan: Plan) -> None:
    """Offer the export of a plan, follow it, and say where it is and how it is opened."""
    job = watch("export", analysis.id)
    if job is not None and job.status is JobStatus.DONE and isinstance(job.result, dict):
        _show_export(job.result)
    with st.expander("Export the compressed model", icon=":material/folder_zip:"):
        st.caption(
            "Writes a folder that transformers opens without RankScope: weights, tokenizer, a model card with the "
            "measurements, and the code that runs the factors. The folder is loaded in a fresh process and compared "
            "with the model in memory before the export is complete."
        )
        suggested = _suggested_name(analysis, plan)
        name = st.text_input("Folder name", suggested, max_chars=80, key=f"export.name.{suggested}")
        chosen = option_picker("Weights", _FORMATS, key="export.format")
        dtype = st.selectbox(
            "Number type",
            Export.settings()["dtype"].choices,
            key="export.dtype",
            help="auto: the type the model came in.",
        )
        if st.button("Export and check", icon=":material/play_arrow:", key="export.start"):
            with errors_shown():
                folder, rank_map = str(export_folder(name.strip())), plan.rank_map.to_json()
                operation = Export(analysis=analysis.id, rank_map=rank_map, folder=folder)
                follow(jobs.submit(operation.changed(format=chosen, dtype=dtype)))
                st.rerun()


def _show_export(result: Mapping[str, Any]) -> None:
    stored, dense = result["weight_bytes"] / 1e6, result["dense_weight_bytes"] / 1e6
    saving = "" if result["saves_memory"] else " It is no smaller than the dense model."
    st.caption(
        f"In {plain(result['folder'])}: {stored:,.1f} MB of weights, {dense:,.1f} MB dense ({result['dtype']})."
        f"{saving} A fresh process without RankScope opened it; on {result['n_verified_tokens']} tokens its outputs "
        f"differ by at most {result['max_logit_difference']:.2g} from the model in memory, where the largest is "
        f"{result['largest_logit']:.1f}."
    )
    st.code("\n".join(result["load"]), language="python")


def _suggested_name(analysis: Analysis, plan: Plan) -> str:
    words = f"{analysis.about['model']}-{plan.method}-{plan.cost.kept_fraction:.2f}"
    return re.sub(r"[^A-Za-z0-9.]+", "-", words).strip("-.")[:80]
