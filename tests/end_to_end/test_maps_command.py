"""``rankscope maps`` and ``@NAME`` as people and scripts use them, with the documented JSON."""

from __future__ import annotations

import shutil

import pytest

from tests.app.conftest import toy_analysis, toy_home  # noqa: F401 -- fixtures
from tests.support.terminal import Terminal


@pytest.fixture
def terminal(tmp_path, toy_home):  # noqa: F811
    shutil.copytree(toy_home / "artifacts", tmp_path / "home" / "artifacts")
    return Terminal(tmp_path / "home")


@pytest.fixture
def analysis(toy_analysis):  # noqa: F811
    return toy_analysis.id[:12]


@pytest.fixture
def rank_map(terminal, analysis, tmp_path):
    path = tmp_path / "half.json"
    terminal("allocate", analysis, "--method", "flrc", "--keep", 0.6, "--out", path)
    return path


def test_a_map_goes_through_its_life(terminal, analysis, rank_map, tmp_path, toy_home):  # noqa: F811
    saved = terminal.json("maps", "save", analysis, rank_map, "Half & [half]")
    assert (saved["name"], saved["method"], saved["metric"]) == ("Half & [half]", "flrc", "input")
    assert 0.5 < saved["kept_fraction"] <= 0.6
    copy = terminal.json("maps", "duplicate", analysis, "half & [HALF]")
    assert copy["name"] == "Half & [half] 2"
    renamed = terminal.json("maps", "rename", analysis, copy["id"], "table")
    assert (renamed["id"], renamed["created"]) == (copy["id"], copy["created"])
    table = tmp_path / "table.csv"
    assert terminal.json("maps", "export", analysis, "table", table)["out"] == str(table)
    imported = terminal.json("maps", "import", analysis, table)
    assert imported["name"] == "table 2"
    assert imported["metric"] == "input"
    assert imported["params"] == saved["params"]
    terminal("maps", "export", analysis, saved["id"], tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == rank_map.read_text()
    assert terminal.json("maps", "delete", analysis, "TABLE") == {"deleted": copy["id"]}
    listed = terminal.json("maps", "list", analysis)
    assert listed == {"maps": [saved, imported], "damaged": []}
    assert "Half & [half]" in terminal("maps", "list", analysis).stdout

    # Elsewhere a saved map stands where a file could stand.
    words = ("--text", toy_home / "corpus.txt", "--n-sequences", 2, "--length", 32)
    found = terminal.json("evaluate", analysis, "@half & [half]", *words)
    assert found["maps"][0]["size"]["params"] == saved["params"]
    assert terminal.json("evaluate", analysis, table, *words)["maps"] == found["maps"]


def test_a_damaged_map_is_listed_and_can_be_deleted(terminal, analysis, rank_map, tmp_path):
    broken, whole = (terminal.json("maps", "save", analysis, rank_map, name)["id"] for name in ("one", "two"))
    (path,) = (tmp_path / "home" / "maps").rglob(f"{broken}.json")
    path.write_text("{")
    listed = terminal.json("maps", "list", analysis)
    assert [m["id"] for m in listed["maps"]] == [whole]
    assert listed["damaged"][0]["id"] == broken
    assert "is damaged" in terminal("maps", "list", analysis).stdout
    assert "is damaged" in terminal.error("maps", "export", analysis, broken, tmp_path / "x.csv")
    assert terminal.json("maps", "delete", analysis, broken) == {"deleted": broken}


def test_what_cannot_be_done_is_one_sentence(terminal, analysis, rank_map, tmp_path):
    terminal("maps", "save", analysis, rank_map, "one")
    assert "There is a saved map 'one' already" in terminal.error("maps", "save", analysis, rank_map, "ONE")
    assert terminal.json("maps", "save", analysis, rank_map, "ONE", "--overwrite")["name"] == "ONE"
    assert "1 to 80 characters" in terminal.error("maps", "rename", analysis, "one", "x" * 81)
    assert "no saved map 'two'" in terminal.error("maps", "delete", analysis, "two")
    assert ".json or .csv" in terminal.error("maps", "export", analysis, "one", tmp_path / "x.txt")
    assert "cannot be written" in terminal.error("maps", "export", analysis, "one", tmp_path / "no" / "x.csv")
    table = tmp_path / "x.csv"
    table.write_text("projection,format,rank\nmodel.layers.0.mlp.down_proj,skip,0\n")
    assert "Line 2 of the table has the rank '0'" in terminal.error("maps", "import", analysis, table)
    assert "did you mean 'ONE'" in terminal.error("evaluate", analysis, "@ON")
    for command in ("refine", "post-train"):
        assert "no saved map 'none'" in terminal.error(command, analysis, "@none")
    assert "no saved map 'none'" in terminal.error("generate", analysis, "@none", "--prompt", "x")
