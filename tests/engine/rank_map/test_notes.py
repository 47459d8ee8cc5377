"""Names and notes of measured maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.errors import NamedMapError
from engine.rank_map.notes import RunNote, RunNotes

if TYPE_CHECKING:
    from pathlib import Path


def test_notes_are_kept_by_model_and_removed_when_empty(tmp_path: Path) -> None:
    notes = RunNotes(tmp_path, "a" * 64)
    notes.put("one", " first ", " looks good ")
    notes.put("two", "", "only a note")
    assert RunNotes(tmp_path, "a" * 64).all() == {
        "one": RunNote("first", "looks good"),
        "two": RunNote("", "only a note"),
    }
    assert RunNotes(tmp_path, "b" * 64).all() == {}
    notes.put("one", "", "")
    assert list(notes.all()) == ["two"]


@pytest.mark.parametrize(("name", "note"), [("x" * 81, ""), ("a\u0000b", ""), ("", "x" * 501)])
def test_what_cannot_be_kept_is_refused(tmp_path: Path, name: str, note: str) -> None:
    notes = RunNotes(tmp_path, "a" * 64)
    with pytest.raises(NamedMapError):
        notes.put("one", name, note)
    assert notes.all() == {}


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"one": 1}', b"\xff"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{'a' * 64}.json").write_bytes(content)
    with pytest.raises(NamedMapError, match="are damaged; delete the file"):
        RunNotes(tmp_path, "a" * 64).all()
