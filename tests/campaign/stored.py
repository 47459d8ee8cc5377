"""Damaged files of the home: artifacts, saved maps, the record of jobs and the files of a job."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from tests.campaign.cases import Case
from tests.campaign.ground import FAST, SAVED
from tests.campaign.mutating import CUTS, PUTS, change_file, mutations, put_instead, wrong_contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.campaign.ground import Ground
    from tests.campaign.mutating import Change

COLUMNS = (
    *("turn", "operation", "arguments", "title", "estimate", "status", "created", "started", "finished"),
    *("pid", "pid_started", "attempts", "kill_at", "error"),
)
CELLS = (
    None,
    "x",
    "",
    -1,
    10**15,
    1.5,
    float("inf"),
    b"\xff\xfe",
    "[" * 100_000,
    "[red]",
    "queued",
    "running",
    "null",
    "[]",
)
IN_THE_WAY = ("jobs", "jobs.sqlite3", "worker.lock", "worker.log", "artifacts", "maps", "drafts", "studies")


def cases(ground: Ground) -> Iterator[Case]:
    """Yield every damage with commands that meet it."""
    yield from _artifacts(ground)
    yield from _saved_maps(ground)
    yield from _records(ground)
    for name, (what, put) in product((*IN_THE_WAY, "artifacts/.partial"), {**PUTS, "a file": Path.touch}.items()):
        for reader, words in _readers(ground).items():
            change = partial(_replaced, name=name, put=put)
            yield Case(f"home: {name} {what}, {reader}", words, change, damages=True)


def _readers(ground: Ground) -> dict[str, tuple[str, ...]]:
    return {
        "jobs": ("jobs",),
        "cache list": ("cache", "list"),
        "cache prune": ("cache", "prune", "--damaged"),
        "spectra": ("spectra", ground.analysis),
        "maps list": ("maps", "list", ground.analysis),
        "report": ("report", ground.analysis, "map.json", "out.html"),
        "evaluate": ("evaluate", ground.analysis, "map.json", "--text", "corpus.txt", *FAST),
        "generate": ("generate", ground.analysis, "map.json", "--prompt", "The", "--max-new-tokens", "2"),
        "export": ("export", ground.analysis, "map.json", "new-folder"),
        "sensitivity": ("sensitivity", ground.analysis),
    }


def _artifacts(ground: Ground) -> Iterator[Case]:
    for path in sorted(path for path in (ground.home / "artifacts").rglob("*") if path.is_file()):
        name = str(path.relative_to(ground.home))
        shown = f"{path.parent.parent.name} {path.parent.name[:6]} {path.name}"
        contents = wrong_contents() if path.name == "manifest.json" else CUTS
        damages = {what: partial(_changed, name=name, change=change) for what, change in contents.items()}
        damages |= {what: partial(_replaced, name=name, put=put) for what, put in PUTS.items()}
        for what, change in damages.items():
            # Without a manifest there is no artifact, and an empty member is as it was when emptied.
            refused = (path.name, what) != ("manifest.json", "missing") and path.stat().st_size > 0
            verify = ("cache", "verify")
            yield Case(f"store: {shown} {what}, verify", verify, change, damages=True, must_refuse=refused)
            for reader, words in _readers(ground).items():
                yield Case(f"store: {shown} {what}, {reader}", words, change, damages=True)


def _saved_maps(ground: Ground) -> Iterator[Case]:
    (path,) = (path for path in (ground.home / "maps").rglob("*.json"))
    name = str(path.relative_to(ground.home))
    for what, change in (wrong_contents() | mutations(json.loads(path.read_bytes()))).items():
        prepare = partial(_changed, name=name, change=change)
        for words in (("maps", "list", ground.analysis), ("report", ground.analysis, f"@{SAVED}", "out.html")):
            yield Case(f"saved map: {what}, {words[0]}", words, prepare)


def _records(ground: Ground) -> Iterator[Case]:
    commands = {verb: ("jobs", verb, ground.job) for verb in ("show", "log", "wait", "cancel", "resume", "forget")}
    commands["list"] = ("jobs",)
    commands["again"] = ("evaluate", ground.analysis, "map.json", "--text", "corpus.txt", *FAST)
    damages: dict[str, Callable[[Ground], object]] = {
        f"job row: {column} {ascii(value)[:20]}": partial(_row_changed, column=column, value=value)
        for column, value in product(COLUMNS, CELLS)
    }
    for name in ("spec.json", "result.json", "progress.jsonl", "log.txt"):
        file = f"jobs/{ground.job}/{name}"
        contents = wrong_contents()
        if name == "result.json":
            contents |= mutations(json.loads((ground.home / file).read_bytes()))
        damages |= {f"job file: {name} {what}": partial(_changed, name=file, change=c) for what, c in contents.items()}
        damages |= {f"job file: {name} {what}": partial(_replaced, name=file, put=put) for what, put in PUTS.items()}
    damages |= {f"job record: {what}": partial(_changed, name="jobs.sqlite3", change=c) for what, c in CUTS.items()}
    for (what, prepare), (verb, words) in product(damages.items(), commands.items()):
        yield Case(f"{what}, {verb}", words, prepare)


def _row_changed(ground: Ground, column: str, value: object) -> None:
    with closing(sqlite3.connect(ground.home / "jobs.sqlite3")) as db, db:
        db.execute("CREATE TABLE loose AS SELECT * FROM jobs")  # the same columns, without their constraints
        db.execute(f"UPDATE loose SET {column} = ? WHERE id = ?", (value, ground.job))
        db.execute("DROP TABLE jobs")
        db.execute("ALTER TABLE loose RENAME TO jobs")


def _changed(ground: Ground, name: str, change: Change) -> None:
    change_file(ground.home / name, change)


def _replaced(ground: Ground, name: str, put: Callable[[Path], object]) -> None:
    put_instead(ground.home / name, put)
