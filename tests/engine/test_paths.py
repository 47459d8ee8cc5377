"""What visitors of a dashboard may name: hub ids, and what lies in the folders they were given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine import paths
from engine.errors import InvalidSpecError
from engine.operations import Analyse
from engine.specs import CorpusSpec, ModelSpec

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "_confined_to", [])
    folder = tmp_path / "allowed"
    (folder / "model").mkdir(parents=True)
    (tmp_path / "private").mkdir()
    for place in (folder, tmp_path / "private"):
        (place / "notes.txt").write_text("text")
    (folder / "link.txt").symlink_to(tmp_path / "private" / "notes.txt")
    monkeypatch.chdir(tmp_path)
    paths.confine_to([folder])
    return folder


def text(name: str) -> CorpusSpec:
    return CorpusSpec.parse(name, part="evaluation", n_sequences=2, length=8)


def test_what_lies_in_the_folders_and_hub_ids_can_be_named(allowed: Path) -> None:
    assert ModelSpec.parse(str(allowed / "model")).location == str(allowed / "model")
    assert text(str(allowed / "notes.txt")).location == str(allowed / "notes.txt")
    assert ModelSpec.parse("owner/name@main").revision == "main"
    assert text("owner/set:config@train").config == "config"
    assert Analyse(text="demo:news").text == "demo:news"


@pytest.mark.parametrize(
    "name", ["{}/private", "{}/gone", "private", "allowed/../private", "../gone", "~/x", "{}/allowed/../private"]
)
def test_whatever_lies_elsewhere_is_refused_whether_it_is_there_or_not(allowed: Path, name: str) -> None:
    with pytest.raises(InvalidSpecError, match="is not in a folder that visitors of this dashboard may use"):
        ModelSpec.parse(name.format(allowed.parent))


@pytest.mark.parametrize("name", ["private/notes.txt", "allowed/link.txt"])
def test_texts_elsewhere_are_refused_links_to_them_too(allowed: Path, name: str) -> None:
    with pytest.raises(InvalidSpecError, match="is not in a folder that visitors"):
        Analyse(text=str(allowed.parent / name))


def test_code_of_a_model_is_not_run_for_visitors(allowed: Path) -> None:
    with pytest.raises(InvalidSpecError, match="is not run for visitors"):
        ModelSpec.parse("owner/name", trust_remote_code=True)
