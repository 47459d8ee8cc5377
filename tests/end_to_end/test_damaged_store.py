"""A result that cannot be read hides no other from a terminal, and is named where something is left out for it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from cache import DirectoryStore, Key
from tests.app.conftest import toy_home  # noqa: F401 -- a fixture
from tests.support.later_version import written_by_a_later_version
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path


class Damaged(NamedTuple):
    """A home with a damaged measurement, in a terminal, and another that is whole."""

    terminal: Terminal
    analysis: str
    damaged: Key
    whole: Key


@pytest.fixture
def home(toy_home: Path, tmp_path: Path) -> Damaged:  # noqa: F811
    shutil.copytree(toy_home, tmp_path / "home")
    store = DirectoryStore(tmp_path / "home" / "artifacts")
    damaged, whole = store.keys("evaluation")
    member = store.read(damaged).folder / "rank-map.json"
    member.write_bytes(member.read_bytes() + b" ")
    return Damaged(Terminal(tmp_path / "home"), store.keys("analysis")[0].fingerprint, damaged, whole)


def test_what_is_damaged_is_listed_beside_what_is_whole(home: Damaged) -> None:
    rows = {Key(row["stage"], row["fingerprint"]): row for row in home.terminal.json("cache", "list")["artifacts"]}
    assert rows[home.whole]["damaged"] is False
    assert rows[home.whole]["error"] is None
    assert rows[home.whole]["bytes"] > 0
    assert rows[home.damaged]["damaged"] is True
    assert f"{home.damaged} is damaged" in rows[home.damaged]["error"]
    (line,) = (line for line in home.terminal("cache", "list").stdout.splitlines() if " evaluation " in line)
    assert [cell.strip() for cell in line.strip("│").split("│")][::3] == ["evaluation", "1"]


def test_a_store_that_cannot_be_written_is_one_sentence(home: Damaged) -> None:
    partials = home.terminal.home / "artifacts" / ".partial"
    shutil.rmtree(partials, ignore_errors=True)
    partials.touch()
    said = home.terminal.error("cache", "prune", "--stage", "statistics")
    assert "cannot be used" in said
    assert "check its permissions and the disk" in said


def test_what_leaves_out_a_damaged_result_names_it(home: Damaged, tmp_path: Path) -> None:
    rank_map = tmp_path / "map.json"
    for words in (
        ("allocate", home.analysis, "--keep", 0.7, "--out", rank_map),
        ("report", home.analysis, rank_map, tmp_path / "report.html"),
        ("maps", "list", home.analysis),
        ("cache", "list"),
    ):
        for how in ((), ("--json",)):
            ended = home.terminal(*words, *how)
            assert f"Warning: Artifact {home.damaged} is damaged" in ended.stderr, words
            assert "Warning" not in ended.stdout
    home.terminal("cache", "prune", "--damaged")
    assert home.terminal("maps", "list", home.analysis).stderr == ""


def test_what_a_later_version_wrote_is_named_and_left(home: Damaged) -> None:
    newer = DirectoryStore(home.terminal.home / "artifacts").read(home.whole).folder
    written_by_a_later_version(newer)
    found = json.loads(home.terminal("cache", "verify", "--json", code=1).stdout)
    assert [fault["key"] for fault in found["damaged"]] == [str(home.damaged)]
    assert [fault["key"] for fault in found["newer"]] == [str(home.whole)]
    said = home.terminal("cache", "prune", "--stage", "evaluation").stdout
    assert "Removed 0 artifacts" in said
    assert "2 that cannot be read were left" in said
    assert home.terminal.json("cache", "prune", "--damaged")["removed"] == [str(home.damaged)]
    assert newer.is_dir()
