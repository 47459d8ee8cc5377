"""The operation ``analyse``: what an effort stands for."""

from __future__ import annotations

import pytest

from engine.errors import InvalidSpecError
from engine.operations import Analyse


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
