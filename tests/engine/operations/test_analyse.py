"""The operation ``analyse``: what an effort stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.errors import InvalidSpecError
from engine.model import sources
from engine.operations import Analyse
from engine.settings import Home

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("effort", "n_sequences"), [("fast", 16), ("good", 64), ("best", 256)])
def test_an_effort_decides_how_much_is_read(effort: str, n_sequences: int) -> None:
    operation = Analyse().changed(effort=effort)
    assert operation.spec().corpus.n_sequences == n_sequences
    assert operation.arguments() == ({} if effort == "good" else {"effort": effort})
    assert Analyse(**operation.arguments()) == operation


def test_what_is_asked_for_goes_before_the_effort() -> None:
    operation = Analyse(effort="best", n_sequences=8)
    assert operation.spec().corpus.n_sequences == 8
    assert operation.arguments() == {"effort": "best", "n_sequences": 8}


def test_the_help_says_what_an_effort_changes() -> None:
    assert Analyse.default_text("n_sequences") == "64; fast: 16; best: 256"


def test_an_unknown_effort_is_a_sentence() -> None:
    with pytest.raises(
        InvalidSpecError, match="effort of analyse was given as 'most'; expected one of fast, good, best"
    ):
        Analyse().changed(effort="most")


def test_more_sequences_than_can_be_listed_are_a_sentence() -> None:
    with pytest.raises(InvalidSpecError, match="a whole number of at least 1 and at most 1000000, such as the default"):
        Analyse(n_sequences=2**31)


def test_a_large_text_is_not_read_again_for_every_form_a_stored_analysis_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "text.txt").write_text("word\n", encoding="utf-8")
    read, real = [], sources.fingerprint_file

    def counted(path: Path) -> str:
        read.append(path.name)
        return real(path)

    monkeypatch.setattr(sources, "fingerprint_file", counted)
    operation = Analyse(model=str(tmp_path / "model"), text=str(tmp_path / "text.txt"))
    assert operation.stored(Home(tmp_path / "home")) is None
    assert read.count("text.txt") == 2
