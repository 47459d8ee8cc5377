"""What a person can mistype, and where a command may write: one sentence each, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.app.conftest import toy_home  # noqa: F401 -- a fixture
from tests.support.terminal import Terminal
from tests.support.tiers import sweep_unless

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = "a" * 300
UNUSABLE = (LONG, f"{LONG}.json", "~nobody-of-this-name/x", "\udcff", "/dev/zero/x")
LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));from engine.cli import main; main()"


class Place(NamedTuple):
    """A home with an analysis, in a terminal; a text, a model and a rank map."""

    terminal: Terminal
    analysis: str
    text: Path
    model: Path
    rank_map: Path


@pytest.fixture(scope="module")
def place(toy_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:  # noqa: F811
    home = tmp_path_factory.mktemp("wrong-words") / "home"
    shutil.copytree(toy_home, home)
    terminal = Terminal(home)
    (analysis,) = (path.name for path in (home / "artifacts" / "analysis").iterdir())
    rank_map = home.parent / "map.json"
    terminal("allocate", analysis, "--keep", 0.7, "--out", rank_map)
    return Place(terminal, analysis, home / "corpus.txt", home / "toy-model", rank_map)


PATHS: dict[str, Callable[[Place, str], tuple[object, ...]]] = {
    "evaluate": lambda at, path: ("evaluate", at.analysis, path),
    "report a map": lambda at, path: ("report", at.analysis, path, "report.html"),
    "report to": lambda at, path: ("report", at.analysis, at.rank_map, f"{path}.html"),
    "analyse": lambda at, path: ("analyse", path),
    "text": lambda at, path: ("analyse", at.model, "--text", path),
    "text file": lambda at, path: ("analyse", at.model, "--text", f"{path}.txt"),
    "export": lambda at, path: ("export", at.analysis, at.rank_map, path),
    "demo": lambda at, path: ("demo", path, "--keep", "2"),
    "allocate to": lambda at, path: ("allocate", at.analysis, "--keep", 0.7, "--out", path),
    "lock": lambda at, path: ("allocate", at.analysis, "--keep", 0.7, "--lock", path),
    "prompt": lambda at, path: ("generate", at.analysis, "--prompt-file", path),
    "import": lambda at, path: ("maps", "import", at.analysis, path),
    "job": lambda _, path: ("jobs", "show", path),
    "analysis": lambda _, path: ("spectra", path),
}


@pytest.mark.parametrize(
    "path", sweep_unless(UNUSABLE, UNUSABLE[1:3]), ids=["long", "long.json", "nobody", "not UTF-8", "in a device"]
)
@pytest.mark.parametrize("command", PATHS)
def test_a_path_that_nothing_can_have_is_one_sentence(place: Place, command: str, path: str) -> None:
    assert place.terminal.error(*PATHS[command](place, path))


@pytest.mark.parametrize("home", UNUSABLE, ids=["long", "long.json", "nobody", "not UTF-8", "in a device"])
def test_a_home_that_nothing_can_have_is_one_sentence(home: str, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.environment["RANKSCOPE_HOME"] = home
    assert "RANKSCOPE_HOME" in terminal.error("jobs")


@pytest.mark.parametrize("where", ["", ".", "missing/map.json"])
def test_a_place_that_cannot_be_written_is_one_sentence(place: Place, where: str, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.chdir(tmp_path)
        said = place.terminal.error("allocate", place.analysis, "--keep", 0.7, "--out", where)
    assert "cannot be written" in said
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_without_end_is_not_read(place: Place) -> None:
    said = place.terminal.error("allocate", place.analysis, "--keep", 0.7, "--lock", "/dev/zero")
    assert "There is no file of held ranks at /dev/zero" in said
    large = place.rank_map.with_name("large.json")
    with large.open("wb") as file:
        file.truncate(10**12)
    for words in (("allocate", place.analysis, "--keep", 0.7, "--lock", large), ("evaluate", place.analysis, large)):
        assert "larger than 5 MB" in place.terminal.error(*words)


NUMBERS = {
    "search a seed": ("search", "ANALYSIS", "--seed", -1),
    "compare a seed": ("compare", "ANALYSIS", "--seed", -1),
    "refine a seed": ("refine", "ANALYSIS", "MAP", "--train", "--seed", 10**20),
    "evaluate a seed": ("evaluate", "ANALYSIS", "MAP", "--seed", 2**32),
    "generate a seed": ("generate", "ANALYSIS", "--prompt", "Why?", "--seed", 10**20),
    "evaluate no batch": ("evaluate", "ANALYSIS", "MAP", "--batch-size", 0),
    "refine a batch": ("refine", "ANALYSIS", "MAP", "--batch-size", 10**20),
    "refine epochs": ("refine", "ANALYSIS", "MAP", "--train", "--epochs", 10**20),
    "search allocations": ("search", "ANALYSIS", "--n-allocations", 10**20),
    "evaluate a dtype": ("evaluate", "ANALYSIS", "MAP", "--dtype", "nn"),
    "refine a dtype": ("refine", "ANALYSIS", "MAP", "--compute-dtype", "x"),
    "analyse memory": ("analyse", "MODEL", "--memory-gb", "1e308"),
    "sensitivity nan": ("sensitivity", "ANALYSIS", "--keep", "nan"),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_a_number_out_of_range_is_one_sentence(place: Place, case: str) -> None:
    known = {"ANALYSIS": place.analysis, "MAP": place.rank_map, "MODEL": place.model}
    said = place.terminal.error(*(known.get(str(word), word) for word in NUMBERS[case]))
    assert "expected" in said
    assert "bug" not in said


@pytest.mark.parametrize("days", ["nan", "inf", "1e12", "-1"])
def test_a_number_of_days_that_is_none_removes_nothing(place: Place, days: str) -> None:
    before = place.terminal.json("cache", "list")
    ended = place.terminal("cache", "prune", "--stage", "statistics", "--older-than-days", days, code=2)
    assert ended.stderr.startswith("Error: Invalid value for '--older-than-days'")
    assert place.terminal.json("cache", "list") == before


@pytest.mark.parametrize("command", ["allocate", "report", "maps export"])
def test_a_full_disk_leaves_the_file_as_it_was(place: Place, command: str, tmp_path: Path) -> None:
    file = tmp_path / ("report.html" if command == "report" else "map.json")
    file.write_text("what was there")
    words = {
        "allocate": ("allocate", place.analysis, "--keep", "0.6", "--out", file),
        "report": ("report", place.analysis, place.rank_map, file),
        "maps export": ("maps", "export", place.analysis, "full", file),
    }[command]
    if command == "maps export":
        place.terminal("maps", "save", place.analysis, place.rank_map, "full")
    environment = {**os.environ, **place.terminal.environment}
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, words)],
        env=environment,
        check=False,
        capture_output=True,
        timeout=240,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(b"Error: ")
    assert b"cannot be written (File too large)" in ended.stderr
    assert file.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [file]


def test_what_stands_where_a_file_is_written_stays_what_it_was(place: Place, tmp_path: Path) -> None:
    private, link, pipe = tmp_path / "private.json", tmp_path / "link.json", tmp_path / "pipe.json"
    private.touch(0o600)
    link.symlink_to(tmp_path / "behind.json")
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    for file in (private, link, pipe):
        place.terminal("allocate", place.analysis, "--keep", 0.7, "--out", file)
    reader.join(timeout=60)
    written = place.rank_map.read_text()
    assert [private.read_text(), (tmp_path / "behind.json").read_text(), *read] == [written] * 3
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert link.is_symlink()
    assert pipe.is_fifo()


def test_brackets_in_names_are_no_markup(place: Place, tmp_path: Path) -> None:
    odd = tmp_path / "y[" / "]q.json"
    odd.parent.mkdir()
    place.terminal("allocate", place.analysis, "--keep", 0.7, "--out", odd)
    odd.write_text(odd.read_text().replace('"water-filling"', '"half [/] :smile:"'))
    assert "[/x]" in place.terminal.error("analyse", "[/x]", "--text", place.text)
    words = ("--text", place.text, "--n-sequences", 2, "--length", 64)
    assert "half [/] :smile:" in place.terminal("evaluate", place.analysis, odd, *words).stdout
    listed = place.terminal("jobs").stdout
    assert "Analyse [/x] on corpus.txt" in listed
    assert "Measure half [/] :smile: at " in listed


def test_a_text_that_was_moved_is_named(place: Place, tmp_path: Path) -> None:
    text = tmp_path / "moved.txt"
    shutil.copy(place.text, text)
    amount = ("--n-sequences", 2, "--length", 64)
    analysis = place.terminal.json("analyse", place.model, "--text", text, *amount)["analysis"]
    place.terminal("allocate", analysis, "--keep", 0.7, "--out", tmp_path / "map.json")
    text.unlink()
    said = place.terminal.error("refine", analysis, tmp_path / "map.json")
    assert f"The text file {text} cannot be read (No such file or directory): put it back" in said
