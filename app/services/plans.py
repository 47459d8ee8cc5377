"""What an analysis would work on, and why it cannot begin: judged from files, before anything is queued."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from app.services.home import store
from engine.errors import RankScopeError
from engine.model.demo import MODEL_WHEEL
from engine.model.headers import ModelHeader, read_header
from engine.specs import CorpusSource, ModelSource
from engine.text.preview import TextPreview, preview_text, text_fields

if TYPE_CHECKING:
    from engine.operations import Analyse
    from engine.specs import CorpusSpec, ModelSpec


class TextPlan(NamedTuple):
    """A text of a file.

    Attributes:
        preview: its beginning and its documents.
        n_tokens: in it; counted by the model's tokenizer, or a fourth of its bytes.
        is_counted: whether it was counted.
    """

    preview: TextPreview
    n_tokens: int
    is_counted: bool


def keys_of(path: str) -> tuple[str, ...]:
    """Return the keys of a JSON lines file that hold text; empty where there are none to choose from."""
    try:
        return text_fields(Path(path))
    except (RankScopeError, OSError):
        return ()


def model_header(spec: ModelSpec) -> ModelHeader | None:
    """Return what a model's files say, or ``None`` where they are not on this machine yet.

    Raises:
        ModelError: the files are not those of a model.
    """
    return read_header(Path(spec.location)) if spec.is_path else None


def text_plan(operation: Analyse) -> TextPlan | None:
    """Return what the text of a file holds; ``None`` for other sources.

    Raises:
        CorpusError: the file is not a text.
    """
    spec = operation.spec()
    if spec.corpus.source is not CorpusSource.FILE:
        return None
    path = Path(spec.corpus.location)
    tokenizer = _tokenizer_file(spec.model)
    return _text_plan(
        str(path), path.stat().st_mtime_ns, spec.corpus.text_field, None if tokenizer is None else str(tokenizer)
    )


def obstacle(operation: Analyse) -> str | None:
    """Return why an analysis cannot begin, in a sentence; ``None`` where nothing is known against it."""
    try:
        spec = operation.spec()
        room = operation.plan()
        plan = text_plan(operation)
    except (RankScopeError, OSError) as error:
        return str(error)
    shortage = None if room is None else room.disk_shortage(store().root)
    return shortage or (None if plan is None else _too_little(plan, spec.corpus))


def _too_little(plan: TextPlan, corpus: CorpusSpec) -> str | None:
    needed = corpus.n_sequences * corpus.length
    # No token is shorter than a byte; documents are joined by a token each.
    most = plan.n_tokens if plan.is_counted else plan.preview.n_bytes + len(plan.preview.documents)
    if not plan.preview.is_whole or most >= needed:
        return None
    return f"The text has {most:,} tokens at most, and {needed:,} are needed: ask for fewer, or give more text."


def _tokenizer_file(spec: ModelSpec) -> Path | None:
    folder = Path(spec.location)
    if spec.source is ModelSource.DEMO:
        key = MODEL_WHEEL.key("demo-model")
        folder = store().read(key).folder if key in store() else folder
    file = folder / "tokenizer.json"
    return file if spec.source in {ModelSource.DEMO, ModelSource.FOLDER} and file.is_file() else None


@st.cache_data(max_entries=8, show_spinner="Reading the text")
def _text_plan(path: str, modified_ns: int, field: str, tokenizer: str | None) -> TextPlan:  # noqa: ARG001 - part of the key
    preview = preview_text(Path(path), field)
    if tokenizer is None:
        return TextPlan(preview, preview.n_bytes // 4, is_counted=False)
    from tokenizers import Tokenizer

    encoded = Tokenizer.from_file(tokenizer).encode_batch(list(preview.documents), add_special_tokens=False)
    return TextPlan(preview, sum(len(one) + 1 for one in encoded), is_counted=True)
