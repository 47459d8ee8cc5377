"""Where analysed models lie now: folders and files are moved, while what an analysis says of its model stays."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from cache import write_in_one_step

if TYPE_CHECKING:
    from engine.model.sources import ModelFolder
    from engine.settings import Home
    from engine.specs import ModelSpec


def note_place(home: Home, model: ModelFolder) -> None:
    """Remember where a model was seen last, by the fingerprint of its content."""
    if model.spec.is_path:
        home.places.mkdir(parents=True, exist_ok=True)
        for known in filter(None, (model.fingerprint, model.earlier)):
            write_in_one_step(home.places / known, model.spec.location.encode(errors="surrogateescape"))


def places_of(home: Home, model: ModelSpec, fingerprint: str) -> tuple[ModelSpec, ...]:
    """Return where to look for a model that was analysed: where it was seen last, then where it was then."""
    with contextlib.suppress(FileNotFoundError):
        seen = (home.places / fingerprint).read_bytes().decode(errors="surrogateescape")
        return tuple(dict.fromkeys((replace(model, location=seen), model)))
    return (model,)
