"""Wrong input of every kind through the real command: it is accepted or refused in one sentence, nothing else."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from cache import DirectoryStore, unreadable
from engine.errors import RankScopeError
from engine.jobs.processes import family, send_signal
from engine.jobs.record import JobRecord
from tests.campaign import arguments, files, model_folders, pages, stored
from tests.campaign.cases import Case, Outcome, Tried
from tests.campaign.forking import Child, forked, limit_resources
from tests.campaign.ground import MAIN, Ground, be_offline, in_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.campaign.options import Options

SHARES = {arguments: 0.48, files: 0.2, model_folders: 0.13, stored: 0.15, pages: 0.04}
"""Of the cases, by their kind."""

N_CASES = 1500
LIMIT_S = 120.0
AT_WORK_S = 30.0
"""A command that reported or printed this shortly before its time was up is at work."""

SERVES = "RankScope is at http"
"""What the dashboard says once it answers; it goes on until it is stopped."""

MOST_BYTES = 3 * 2**30
REAL_EVERY = 25
"""Of so many cases, one is a process of its own with a worker and processes for its jobs."""

_CRASHED = re.compile(r"\(SIG[A-Z]+\)")
ROOT = Path(__file__).parents[2]


class _Running(NamedTuple):
    case: Case
    place: Ground
    child: Child


def chosen_cases(ground: Ground, n: int, chance: Random, only: str = "") -> list[Case]:
    """Return ``n`` cases, from every kind its share; with a text, at most ``n`` of those whose names contain it."""
    kinds = [(list(kind.cases(ground)), share) for kind, share in SHARES.items()]
    if only:
        matching = [case for cases, _ in kinds for case in cases if only in case.name]
        return matching if len(matching) <= n else _drawn(matching, n, chance)
    found = [case for cases, share in kinds for case in _drawn(cases, round(n * share), chance)]
    chance.shuffle(found)
    return found


def _drawn(cases: list[Case], n: int, chance: Random) -> list[Case]:
    """Draw cases, first what they are about, then one of it: most of a large file's fields are alike."""
    subjects = defaultdict(list)
    for case in chance.sample(cases, len(cases)):
        subjects[tuple(case.name.split(" ")[:2])].append(case)
    found: list[Case] = []
    while subjects and len(found) < n:
        subject = chance.choice(list(subjects))
        found.append(subjects[subject].pop())
        if not subjects[subject]:
            del subjects[subject]
    return found


def tried(cases: Sequence[Case], ground: Ground, folder: Path, at_once: int, until: float) -> Iterator[Tried]:
    """Try cases, some at once, until all were or the time is up.

    Args:
        cases: to try.
        ground: that each gets a copy of.
        folder: for the copies.
        at_once: how many processes.
        until: when no other case is begun, in seconds of the monotonic clock.
    """
    waiting, running = list(enumerate(cases)), []
    while waiting or running:
        if time.monotonic() > until:
            waiting.clear()
        while waiting and len(running) < at_once:
            number, case = waiting.pop(0)
            running.append(
                _begun(case, ground.copied(folder / f"case-{number}"), real=number % REAL_EVERY == REAL_EVERY - 1)
            )
        for one in list(running):
            is_late = time.monotonic() - one.child.began > LIMIT_S
            if one.child.has_ended() or is_late or _serves(one.place):
                running.remove(one)
                yield _tried(one, is_late=not one.child.has_ended())
                shutil.rmtree(one.place.folder, ignore_errors=True)
        time.sleep(0.01)


def _begun(case: Case, place: Ground, *, real: bool) -> _Running:
    case.prepare(place)

    def act() -> None:
        limit_resources()
        if real:
            be_offline()
            os.chdir(place.folder)
            os.environ |= {"RANKSCOPE_HOME": "home", "PYTHONPATH": str(ROOT)}
            os.execv(sys.executable, [sys.executable, "-c", MAIN, *case.words])
        in_folder(place.folder, case.words)

    return _Running(case, place, forked(act, place.folder / "stderr", place.folder / "stdout"))


def _tried(one: _Running, *, is_late: bool) -> Tried:
    seconds = time.monotonic() - one.child.began
    at_work = is_late and (_serves(one.place) or _is_at_work(one.place))
    _end(one)
    said = _said(one.place)
    return Tried(one.case, _outcome(one, said, is_late=is_late, at_work=at_work), said[-3000:], seconds)


def _outcome(one: _Running, said: str, *, is_late: bool, at_work: bool) -> Outcome:
    if is_late:
        return Outcome.LONG if at_work else Outcome.HANG
    outcome = judged(one.child.code or 0, said)
    if outcome is Outcome.SILENT and one.case.must_refuse and " is damaged: " in _printed(one.place):
        outcome = Outcome.SENTENCE  # what was asked for, and so on standard output
    if not outcome.is_right:
        return outcome
    if one.child.peak_bytes > MOST_BYTES:
        return Outcome.MEMORY
    if not one.case.damages and _has_half_artifact(one.place):
        return Outcome.HALF
    return Outcome.MISSED if outcome is Outcome.ACCEPTED and one.case.must_refuse else outcome


def judged(code: int, said: str) -> Outcome:
    """Return how a command ended by its exit code, negative for a signal, and by what it printed as errors."""
    for found, outcome in (
        (code < 0 or _CRASHED.search(said), Outcome.SIGNAL),
        ("Traceback (most recent call last)" in said, Outcome.TRACEBACK),
        ("This is a bug in RankScope" in said, Outcome.BUG),
        (code == 0, Outcome.ACCEPTED),
        (sum(line.startswith("Error: ") for line in said.splitlines()) == 1, Outcome.SENTENCE),
    ):
        if found:
            return outcome
    return Outcome.SILENT


def _said(place: Ground) -> str:
    errors = place.folder / "stderr"
    return errors.read_text(errors="replace") if errors.is_file() else ""


def _serves(place: Ground) -> bool:
    return SERVES in _said(place)


def _printed(place: Ground) -> str:
    return (place.folder / "stdout").read_text(errors="replace")


def _is_at_work(place: Ground) -> bool:
    written = (*place.home.glob("jobs/*/progress.jsonl"), place.folder / "stdout", place.folder / "stderr")
    return any(time.time() - path.stat().st_mtime < AT_WORK_S and path.stat().st_size for path in written)


def _end(one: _Running) -> None:
    """End the command, and the worker and the job it may have left."""
    one.child.kill()
    while not one.child.has_ended():
        time.sleep(0.01)
    if (one.place.home / "jobs.sqlite3").is_file():
        try:
            record = JobRecord(one.place.home)
            leaders = [record.worker(), *(job.process for job in record.unfinished())]
        except RankScopeError:
            return
        for leader in filter(None, leaders):
            if leader.pid != one.child.pid:
                send_signal(family(leader), 9)


def _has_half_artifact(place: Ground) -> bool:
    store = DirectoryStore(place.home / "artifacts")
    return bool(unreadable(store)) or any((place.home / "artifacts" / ".partial").glob("*"))


def run(ground: Ground, options: Options) -> int:
    """Try ``options.n_cases`` cases, print a table and every finding; return how many findings there are."""
    cases = chosen_cases(ground, options.n_cases or N_CASES, Random(options.seed), options.only)
    if not cases:
        raise SystemExit(f"No case has {options.only!r} in its name.")
    print(f"bad_inputs: {len(cases)} cases, seed {options.seed}", flush=True)
    counts: dict[str, Counter[Outcome]] = defaultdict(Counter)
    findings = 0
    for one in tried(cases, ground, options.folder, options.at_once, time.monotonic() + 60 * options.minutes):
        counts[one.case.name.partition(":")[0]][one.outcome] += 1
        if not one.outcome.is_right:
            findings += 1
            again = f"python -m tests.campaign bad_inputs --only {shlex.quote(one.case.name)}"
            print(f"\n{one.outcome.upper()} ({one.seconds:.0f} s): {again}\n{one.said}", flush=True)
    for kind, outcomes in sorted(counts.items()):
        print(f"{kind:<16}" + ", ".join(f"{n} {outcome}" for outcome, n in sorted(outcomes.items())))
    total = sum(counts.values(), Counter())
    print(f"{'all':<16}" + ", ".join(f"{total[outcome]} {outcome}" for outcome in Outcome) + f": {findings} findings")
    return findings
