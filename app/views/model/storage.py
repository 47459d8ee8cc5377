"""Part of Model: what lies in the home, with sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app.services import storage
from app.services.stored_exports import stored_exports
from app.views.model.stored_analyses import show_analyses
from app.views.model.stored_exports import show_exports
from engine.results.words import megabytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.services.storage import Stored

_WORDS: Final[Mapping[str, str]] = {
    "analysis": "Spectra and curves of analyses",
    "block-losses": "Losses of single tokens, one projection cut",
    "comparison": "Comparisons of methods",
    "converted-model": "Models converted from GGUF files",
    "cost": "Measured speeds",
    "demo-model": "The demo's model",
    "demo-texts": "The demo's texts",
    "evaluation": "Measured perplexities",
    "factors": "Factors that maps are cut from",
    "memory": "Measured memory",
    "post-training": "Results of training",
    "reference": "What dense models predict, to compare with",
    "refined-layer": "Refined factors of single layers, to resume from",
    "refinement": "Refined factors",
    "rounding": "Predicted effects of rounding",
    "sensitivity": "Measured sensitivities",
    "spectrum": "Spectra of single layers",
    "statistics": "Statistics of calibration texts, to analyse again from",
    "subset": "Texts that searches measure on",
    "summaries": "Written summaries",
    "task-scores": "Answers to tasks",
    "token-losses": "Losses of single tokens",
    "training-check": "States of training, to resume from",
    "trial": "Measured maps of searches",
    "unread-text": "Whether refined factors do better",
}


def show_storage() -> None:
    """Show what takes space, read only while it is open."""
    section = st.expander("Storage", key="model.storage", on_change="rerun", icon=":material/hard_drive:")
    if not section.open:
        return
    with section:
        stages, exports = storage.stored_by_stage(), stored_exports()
        total = sum(stored.n_bytes for stored in stages) + sum(export.n_bytes for export in exports)
        st.caption(
            f"{megabytes(total)} in all. Analyses share statistics and factors where model and text are the same."
        )
        show_analyses()
        show_exports(exports)
        _show_stages(stages)


def _show_stages(rows: Sequence[Stored]) -> None:
    table = {
        "What": [_WORDS.get(stored.what, stored.what) for stored in rows],
        "Items": [stored.n_items for stored in rows],
        "MB": [stored.n_bytes / 1e6 for stored in rows],
    }
    st.dataframe(table, hide_index=True, column_config={"MB": st.column_config.NumberColumn(format="%.1f")})
