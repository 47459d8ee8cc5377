"""Which text, and how much of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import streamlit as st

from app.services import plans, texts
from app.services.evaluations import own_text
from app.widgets.path_input import path_input
from app.widgets.pickers import option_picker
from app.widgets.setting_input import whole_number_input
from engine.operations import OnText
from engine.results.words import TIMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.analysis.value import Analysis

Asked = TypeVar("Asked", bound=OnText)

_SOURCES = {"demo": "Demo texts", "upload": "Upload", "file": "File on this machine", "hub": "Hub data set"}
_DEMO_TEXTS = {"demo": "Wikipedia passages", "demo:news": "BBC news (another domain)"}


class TextSettings(TypedDict):
    """Which text, as an operation takes it."""

    text: str
    text_field: str


def text_picker(*, key: str, sources: Mapping[str, str] = _SOURCES) -> TextSettings | None:
    """Ask for a text; return its settings, or ``None`` while there is no answer yet.

    Raises:
        CorpusError: the uploaded file cannot be used.
    """
    source = option_picker("Text", sources, key=f"{key}.source")
    text: str | None = None
    match source:
        case "demo":
            text = st.selectbox("Demo text", list(_DEMO_TEXTS), format_func=_DEMO_TEXTS.__getitem__, key=f"{key}.demo")
        case "upload":
            file = st.file_uploader(
                "Text file (.txt or .jsonl, UTF-8, up to 5 MB)", ["txt", "jsonl"], key=f"{key}.upload"
            )
            text = None if file is None else texts.store_upload(file.name, file.getvalue())
        case "file":
            text = path_input("Path of a .txt or .jsonl file", key=f"{key}.path", suffixes=[".txt", ".jsonl"]) or None
        case "hub":
            name = "Data set, as ID:CONFIG@SPLIT"
            text = st.text_input(name, "Salesforce/wikitext:wikitext-2-raw-v1", key=f"{key}.hub").strip() or None
        case _:
            text = source
    if text is None:
        return None
    return {"text": text, "text_field": _field_of(text, key) if source in {"hub", "upload", "file"} else "text"}


def _field_of(text: str, key: str) -> str:
    """Ask which column or key holds the text, of those there are where that is known."""
    label = "Column or key that holds the text"
    known = plans.keys_of(text)
    if known:
        return st.selectbox(label, known, known.index("text") if "text" in known else 0, key=f"{key}.key")
    if text.endswith((".txt", ".json", ".jsonl")):
        return "text"
    return st.text_input(label, "text", key=f"{key}.field").strip() or "text"


def with_amount(operation: Asked, *, key: str) -> Asked:
    """Ask for a number of sequences and their length, beginning at the operation's; return it with what was chosen."""
    left, right = st.columns(2)
    with left:
        sequences = whole_number_input(
            type(operation),
            "n_sequences",
            "Sequences",
            key=f"{key}.n",
            default=operation.n_sequences,
            help_text="Separate excerpts of the text.",
        )
    with right:
        tokens = whole_number_input(
            type(operation), "length", "Tokens in each", key=f"{key}.length", default=operation.length
        )
    st.caption(f"{sequences:,} {TIMES} {tokens:,} = {sequences * tokens:,} tokens will be read.")
    return operation.changed(n_sequences=sequences, length=tokens)


def measuring_form(analysis: Analysis, operation: Asked, *, key: str) -> Asked | None:
    """Ask what to measure on, starting from what fits the analysis; ``None`` while no text is chosen.

    A user's own text is the first choice for their own model; it says so when it is not held out.
    """
    corpus: Mapping[str, Any] = analysis.about["spec"]["corpus"]
    sources = dict(_SOURCES)
    same = own_text(analysis)
    if same is not None:
        sources = {same: "Text of the analysis", **_SOURCES}
        operation = operation.changed(
            n_sequences=min(operation.n_sequences, corpus["n_sequences"]),
            length=min(operation.length, corpus["length"]),
        )
    chosen = text_picker(key=f"{key}.{analysis.id[:8]}", sources=sources)
    if chosen is not None and chosen["text"] == corpus["location"]:
        chosen["text_field"] = corpus["text_field"]
        st.caption("This is the calibration text itself, not held out: the result will look better than on new text.")
    operation = with_amount(operation, key=f"{key}.{analysis.id[:8]}")
    return None if chosen is None else operation.changed(**chosen)
