"""SIGKILL at random moments of every operation: nothing is half there, and the same command comes to its end."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from cache import DirectoryStore, unreadable
from cache.partials import is_partial
from cache.processes import is_alive
from engine.jobs import JobStatus
from engine.jobs.record import JobRecord
from tests.campaign.cases import nothing
from tests.campaign.contents import contents, without_what_varies
from tests.campaign.forking import await_all, forked
from tests.campaign.ground import ARCHIVE, FAST, MAIN, Ground, in_folder, run_command
from tests.campaign.pages import PAGE, asked
from tests.support.running_app import free_port, running_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.campaign.options import Options

N_KILLS = 650
"""Planned; a part comes when the operation has ended."""

KILLS_IN_A_ROW = 5
KILLS_OF_PROCESSES = 3
PROCESSES_EVERY = 7
"""Of so many chains, one is of processes as a user starts them, with a worker and a process for every job; prime, so
that every operation has its turn."""

START_S = 8.0
LIMIT_S = 300.0
EXPORTED = "exported"
VICTIMS = ("command", "worker", "job", "command and job", "all", "dashboard")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Operation:
    """A command whose job is killed.

    Attributes:
        name: of it.
        words: of the command.
        is_fixed: what it stores is the same after a kill; a search proposes other trials after one.
        prepare: what is changed on the ground before.
    """

    name: str
    words: tuple[str, ...]
    is_fixed: bool = True
    prepare: Callable[[Ground], None] = nothing


@dataclass(frozen=True)
class Reference:
    """An operation that nobody interrupted.

    Attributes:
        operation: that was run.
        seconds: it took.
        contents: of what it left, as far as two runs agree.
    """

    operation: Operation
    seconds: float
    contents: dict[str, object]


@dataclass
class Chain:
    """Kills of one operation, one after another in one home, and its end.

    Attributes:
        name: says which.
        n_kills: that met a living process.
        findings: sentences.
    """

    name: str
    n_kills: int = 0
    findings: list[str] = field(default_factory=list)


def operations(ground: Ground) -> tuple[Operation, ...]:
    """Return every kind of job, and what else takes long, small."""
    text, others = ("--text", "corpus.txt"), ("--text", "corpus.txt", "--n-sequences", "3", "--length", "32")
    return (
        Operation("analyse", ("analyse", "model", *others)),
        Operation("analyse around", ("analyse", "model", *text, *FAST, "--around-keep", "0.6")),
        Operation("evaluate", ("evaluate", ground.analysis, "map.json", "table.csv", *others, "--batch-size", "1")),
        Operation("sensitivity", ("sensitivity", ground.analysis, "--measure", *text, *FAST)),
        Operation(
            "search", ("search", ground.analysis, *text, *FAST, "--trials", "4", "--n-subset", "2"), is_fixed=False
        ),
        Operation("refine", ("refine", ground.analysis, "map.json", *text, *FAST)),
        Operation("train", ("refine", ground.analysis, "map.json", *text, *FAST, "--train", "--epochs", "3")),
        Operation("export", ("export", ground.analysis, "map.json", EXPORTED)),
        Operation(
            "compare", ("compare", ground.analysis, *text, *FAST, "--other-text", "", "--keep", "0.7,0.9"), False
        ),
        Operation("compress", ("compress", ground.analysis, EXPORTED, *text, *FAST, "--keep", "0.8")),
        Operation("compress in two steps", ("compress", ground.analysis, EXPORTED, *text, *FAST, "--keep", "0.5")),
        Operation("post-train", ("post-train", ground.analysis, "map.json", *text, *FAST, "--max-steps", "3")),
        *(Operation(name, (PAGE, name, json.dumps(arguments))) for name, arguments in asked(ground).items()),
        Operation("archive", ("analysis", "export", ground.analysis, EXPORTED)),
        Operation("import", ("analysis", "import", ARCHIVE), prepare=_without_artifacts),
    )


def _without_artifacts(ground: Ground) -> None:
    shutil.rmtree(ground.home / "artifacts")


def run(ground: Ground, options: Options) -> int:
    """Kill ``options.n_cases`` times, print a table and every finding; return how many findings there are."""
    until = time.monotonic() + 60 * options.minutes
    wanted = options.n_cases or N_KILLS
    named = [
        (number, operation)
        for number, operation in _planned(ground, wanted)
        if options.only in _name(number, operation)
    ]
    if not named:
        raise SystemExit(f"No chain has {options.only!r} in its name.")
    print(f"kills: {wanted} in {len(named)} chains, seed {options.seed}", flush=True)
    chosen = dict.fromkeys(operation for _, operation in named)
    references = {one: reference_of(one, ground, options.folder / f"reference-{one.name}") for one in chosen}
    runners = [
        forked(partial(_run_some, named[part :: options.at_once], references, ground, options, until), log)
        for part in range(options.at_once)
        for log in [options.folder / f"runner-{part}.log"]
    ]
    codes = await_all(runners)
    return _told(options.folder, codes)


def _planned(ground: Ground, n_kills: int) -> Iterator[tuple[int, Operation]]:
    every, number, planned = operations(ground), 0, 0
    while planned < n_kills:
        yield number, every[number % len(every)]
        planned += KILLS_OF_PROCESSES if _is_of_processes(number) else KILLS_IN_A_ROW
        number += 1


def _is_of_processes(number: int) -> bool:
    return number % PROCESSES_EVERY == PROCESSES_EVERY - 1


def _name(number: int, operation: Operation) -> str:
    return f"chain {number}, {operation.name}{' as processes' if _is_of_processes(number) else ''}."


def reference_of(operation: Operation, ground: Ground, folder: Path) -> Reference:
    """Run an operation twice, undisturbed."""
    found = []
    for attempt in ("first", "second"):
        place = ground.copied(folder.with_name(f"{folder.name}-{attempt}"))
        operation.prepare(place)
        began = time.monotonic()
        run_command(operation.words, place.folder, place.folder / "log")
        found.append((time.monotonic() - began, contents(place.home / "artifacts", *_exported(place))))
    (seconds, first), (_, second) = found
    return Reference(operation, seconds, without_what_varies(first, second))


def _run_some(
    named: list[tuple[int, Operation]],
    references: dict[Operation, Reference],
    ground: Ground,
    options: Options,
    until: float,
) -> None:
    for number, operation in named:
        if time.monotonic() > until:
            return
        chain, chance = Chain(_name(number, operation)), Random(f"{options.seed} {number}")
        place = ground.copied(options.folder / f"chain-{number}")
        operation.prepare(place)
        _run_chain(chain, references[operation], place, chance, as_processes=_is_of_processes(number))
        told = options.folder / f"told-{number}.json"
        told.write_text(json.dumps([chain.name, chain.n_kills, chain.findings]))
        print(told.read_text(), flush=True)
        subprocess.run(["rm", "-rf", place.folder], check=False)


def _run_chain(chain: Chain, reference: Reference, place: Ground, chance: Random, *, as_processes: bool) -> None:
    words = reference.operation.words
    for _ in range(KILLS_OF_PROCESSES if as_processes else KILLS_IN_A_ROW):
        if as_processes:
            chain.n_kills += _kill_a_process(chain, words, place, chance, reference.seconds)
        else:
            chain.n_kills += _kill_a_child(words, place, chance, reference.seconds)
        chain.findings += _half_there(place, reference)
    try:
        if as_processes:
            _finish_process(_command(words, place), place)
        else:
            run_command(words, place.folder, place.folder / "last.log")
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        chain.findings.append(f"not resumable: {error}")
        return
    chain.findings += _half_there(place, reference)
    store = DirectoryStore(place.home / "artifacts")
    store.prune_partials()
    beside = (*place.folder.glob("*"), *(place.home / "exports").glob("*"))
    if left := [*(place.home / "artifacts" / ".partial").glob("*"), *(one for one in beside if is_partial(one.name))]:
        chain.findings.append(f"left over: {left}")
    chain.findings += _not_done(place)
    found = contents(place.home / "artifacts", *_exported(place))
    if reference.operation.is_fixed and (others := differing(reference.contents, found)):
        chain.findings.append(f"other contents than without a kill: {others[:5]}")


def _kill_a_child(words: tuple[str, ...], place: Ground, chance: Random, seconds: float) -> int:
    """Kill a command and its job, which are one process, perhaps with what it started; 1 if it still ran."""
    child = forked(partial(in_folder, place.folder, words), place.folder / "log")
    end_at = child.began + chance.uniform(0, 1.1 * seconds)
    while time.monotonic() < end_at and not child.has_ended():
        time.sleep(0.002)
    if child.has_ended():
        return 0
    if chance.random() < 0.5:
        os.kill(child.pid, signal.SIGKILL)
        await_all([child])
    child.kill()
    await_all([child])
    return 1


def _kill_a_process(chain: Chain, words: tuple[str, ...], place: Ground, chance: Random, seconds: float) -> int:
    """Kill the command, its worker, its job or a dashboard beside them; 1 if anything was there to kill."""
    victim = chance.choice(VICTIMS)
    if victim == "dashboard":
        return _kill_a_dashboard(words, place, chance, seconds)
    command = _command(words, place)
    time.sleep(chance.uniform(0, START_S + seconds))
    met = 0
    for process in _victims(victim, command, place):
        try:
            os.kill(process, signal.SIGKILL)
            met = 1
        except ProcessLookupError:
            continue
    try:
        command.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        command.kill()
        chain.findings.append(f"hang: the command after {victim} was killed")
    return met


def _victims(victim: str, command: subprocess.Popen[bytes], place: Ground) -> list[int]:
    found = [command.pid] if "command" in victim or victim == "all" else []
    if (place.home / "jobs.sqlite3").exists():
        record = JobRecord(place.home)
        worker = record.worker()
        if victim in {"worker", "all"} and worker is not None and is_alive(worker):
            found.append(worker.pid)
        if "job" in victim or victim == "all":
            found += [job.process.pid for job in record.unfinished() if job.process and is_alive(job.process)]
    return found


def _kill_a_dashboard(words: tuple[str, ...], place: Ground, chance: Random, seconds: float) -> int:
    """Kill a dashboard while the job of a command runs beside it; the next dashboard opens."""
    command = _command(words, place)
    app = subprocess.Popen(
        [sys.executable, "-m", "app.server", str(free_port())], env=environment(place), cwd=place.folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(chance.uniform(0, START_S + seconds))
    app.kill()
    app.wait()
    command.wait(LIMIT_S)
    with running_app(place.home, free_port()):
        return 1


def _command(words: tuple[str, ...], place: Ground) -> subprocess.Popen[bytes]:
    with (place.folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *words],
            cwd=place.folder, env=environment(place), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip


def environment(place: Ground) -> dict[str, str]:
    """Return the variables of a command that is a process of its own."""
    return {**os.environ, "RANKSCOPE_HOME": str(place.home), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


def _finish_process(command: subprocess.Popen[bytes], place: Ground) -> None:
    if code := command.wait(LIMIT_S):
        log = (place.folder / "log").read_text(errors="replace")
        raise RuntimeError(f"the command ended with {code}: {log[-1500:]}")
    record, leave_by = JobRecord(place.home), time.monotonic() + LIMIT_S
    while is_alive(record.worker()):
        if time.monotonic() > leave_by:
            raise RuntimeError("the worker does not leave")
        time.sleep(0.05)


def _half_there(place: Ground, reference: Reference) -> list[str]:
    found = [f"damaged: {error}" for _, error in unreadable(DirectoryStore(place.home / "artifacts"))]
    for exported in _exported(place):
        whole = {name: value for name, value in reference.contents.items() if name.split("/")[0] == exported.name}
        found += [f"half export: {one}" for one in differing(whole, contents(exported))]
    return found


def _exported(place: Ground) -> list[Path]:
    """Return what was exported where the user wanted it, and on the way there."""
    return [*place.folder.glob(EXPORTED), *sorted((place.home / "exports").glob("narrowed-*"))]


def _not_done(place: Ground) -> list[str]:
    """Resume jobs that are not done: the command had nothing left to do for one that was killed as it ended."""
    record = JobRecord(place.home)
    for job in record.jobs():
        if job.status is not JobStatus.DONE:
            run_command(("jobs", "resume", job.id), place.folder, place.folder / "last.log")
    return [f"not resumable: {job.title} is {job.status}" for job in record.jobs() if job.status is not JobStatus.DONE]


def differing(reference: dict[str, object], found: dict[str, object]) -> list[str]:
    """Say which contents of the reference were not found, or others."""
    return [
        f"{name} {found.get(name)!r} for {value!r}"[:200]
        for name, value in reference.items()
        if found.get(name) != value
    ]


def _told(folder: Path, codes: list[int]) -> int:
    kills, kinds = Counter[str](), Counter[str]()
    for path in folder.glob("told-*.json"):
        name, n_kills, findings = json.loads(path.read_text())
        kills[name.partition(", ")[2]] += n_kills
        for finding in findings:
            kinds[finding.partition(":")[0]] += 1
            print(f"\n{finding}\n  again: python -m tests.campaign kills --only {shlex.quote(name)}")
    for name, count in sorted(kills.items()):
        print(f"{name:<40}{count} kills")
    for number, code in enumerate(codes):
        if code:
            kinds["runner failed"] += 1
            print((folder / f"runner-{number}.log").read_text()[-3000:])
    counted = ", ".join(
        f"{kinds[kind]} {kind}"
        for kind in (
            "damaged",
            "half export",
            "not resumable",
            "hang",
            "left over",
            "other contents than without a kill",
            "runner failed",
        )
    )
    print(f"{'all':<40}{kills.total()} kills: {counted}")
    return kinds.total()
