"""The listed mutants fit the code as it is: moved code cannot retire one unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.__main__ import main
from tests.mutants.listed import MUTANTS

ROOT = Path(__file__).parents[2]


def test_every_mutant_changes_one_place_of_the_code() -> None:
    found = {m.name: (ROOT / m.file).read_text(encoding="utf-8").count(m.old) for m in MUTANTS}
    assert {name: n for name, n in found.items() if n != 1} == {}
    assert all(m.new != m.old for m in MUTANTS)


def test_every_mutant_has_a_name_of_its_own_and_tests_that_exist() -> None:
    assert len({m.name for m in MUTANTS}) == len(MUTANTS)
    assert all((ROOT / "tests" / name).exists() for m in MUTANTS for name in m.tests)


def test_what_names_no_mutant_is_refused() -> None:
    with pytest.raises(SystemExit, match="There is no mutant 3:x"):
        main(["3:x"])
