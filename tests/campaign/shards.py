"""SIGKILL at random moments of an analysis in shards, on this machine and on a Ray cluster: it ends as undisturbed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import psutil

from engine.jobs import JobStatus
from engine.jobs.record import JobRecord
from tests.campaign.contents import contents
from tests.campaign.kills import Operation, Reference, differing, environment, reference_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.campaign.ground import Ground
    from tests.campaign.options import Options
    from tests.engine.jobs.test_ray import Head

N_CASES = 40
KILLS_IN_A_ROW = 2
MOST_TURNS = 6
START_S = 10.0
LIMIT_S = 180.0
WORDS = (
    *("analyse", "model", "--text", "corpus.txt", "--n-sequences", "135", "--length", "16"),
    *("--compute-dtype", "float32", "--device", "cpu"),
)
SHARED = (*WORDS, "--shards", "3")
MODULES = {"shard": {"engine.jobs.run", "engine.jobs.remote"}, "worker": {"engine.jobs.worker"}}
ENGINES = ("local", "ray") if find_spec("ray") else ("local",)


class Case:
    """One home in which an analysis is killed and resumed.

    Args:
        place: of it.
        folder: of the Ray head; None on this machine.
        chance: chooses who is killed, and when.
    """

    def __init__(self, place: Ground, folder: Path | None, chance: Random) -> None:
        self.n_kills = 0
        self._place = place
        self._folder = folder
        self._chance = chance
        self._head = None if folder is None else _head(folder)

    def end(self) -> None:
        """End what the case started."""
        for process in self._processes(set.union(*MODULES.values())):
            process.kill()
        if self._head is not None and self._folder is not None:
            self._head.end(self._folder)

    def disturb(self, seconds: float) -> None:
        """Begin or resume the analysis, and kill one of its parts at some moment."""
        victim = self._chance.choice(("shard", "worker", "command", *(["head"] if self._head else [])))
        command = self._command(*SHARED)
        time.sleep(self._chance.uniform(0, START_S + seconds))
        if victim == "command":
            self.n_kills += command.poll() is None
            command.kill()
        elif victim == "head" and self._head is not None and self._folder is not None:
            self.n_kills += 1
            self._head.kill()
            self._head = _head(self._folder)
        else:
            for process in self._processes(MODULES[victim])[:1]:
                process.kill()
                self.n_kills += 1
        command.wait(LIMIT_S)

    def finish(self) -> list[str]:
        """Resume until it is done; return what is lost."""
        for _ in range(MOST_TURNS):
            ended = self._command(*SHARED).wait(LIMIT_S)
            if left := self._unfinished():
                for job_id in left:
                    self._command("jobs", "resume", job_id).wait(LIMIT_S)
                    self._command("jobs", "wait", job_id).wait(LIMIT_S)
            elif ended == 0:
                return []
        jobs = JobRecord(self._place.home).jobs()
        said = (self._place.folder / "log").read_text(errors="replace")[-1500:]
        return [f"lost: {[f'{job.title} is {job.status}: {job.error}' for job in jobs]} {said}"]

    def _unfinished(self) -> list[str]:
        return [job.id for job in JobRecord(self._place.home).jobs() if job.status is not JobStatus.DONE]

    def _processes(self, modules: set[str]) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = process.cmdline()
                if modules & set(words) and any(word.startswith(str(self._place.home)) for word in words):
                    found.append(process)
        return found

    def _command(self, *words: str) -> subprocess.Popen[bytes]:
        variables = environment(self._place)
        if self._head is not None:
            variables |= {
                "RANKSCOPE_ENGINE": "ray", "RANKSCOPE_RESOURCES": "cpu=0.5", "RANKSCOPE_RAY_PATIENCE_S": "5",
                "RANKSCOPE_RAY_ADDRESS": self._head.address,
            }  # fmt: skip
        with (self._place.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", "from engine.cli import main; main()", *words],
                cwd=self._place.folder, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip


def run(ground: Ground, options: Options) -> int:
    """Try cases until all were or the time is up; print a table and every finding; return how many there are."""
    until = time.monotonic() + 60 * options.minutes
    reference = reference_of(Operation("shards", WORDS), ground, options.folder / "reference")
    findings, cases, kills = Counter[str](), Counter[str](), Counter[str]()
    for number in range(options.n_cases or N_CASES):
        engine = ENGINES[number % len(ENGINES)]
        name = f"case {number}, {engine}."
        if options.only not in name:
            continue
        if time.monotonic() > until:
            break
        place = ground.copied(options.folder / f"case-{number}")
        chance = Random(f"{options.seed} {number}")
        with _folder_of_head(engine) as folder:
            n_kills, found = _tried(Case(place, folder, chance), place, reference)
        cases[engine] += 1
        kills[engine] += n_kills
        for finding in found:
            findings[finding.partition(":")[0]] += 1
            again = f"python -m tests.campaign shards --seed {options.seed} --only {shlex.quote(name)}"
            print(f"\n{finding}\n  again: {again}", flush=True)
        shutil.rmtree(place.folder, ignore_errors=True)
    for engine in cases:
        print(f"shards on {engine:<22}{cases[engine]} cases, {kills[engine]} kills")
    counted = ", ".join(f"{findings[kind]} {kind}" for kind in ("lost", "different", "hang"))
    print(f"{'all':<32}{cases.total()} cases, {kills.total()} kills: {counted}")
    return findings.total()


def _tried(case: Case, place: Ground, reference: Reference) -> tuple[int, list[str]]:
    try:
        for _ in range(KILLS_IN_A_ROW):
            case.disturb(reference.seconds)
        found = case.finish()
        if not found and (other := differing(reference.contents, contents(place.home / "artifacts"))):
            found.append(f"different: {other[:5]}")
    except subprocess.TimeoutExpired as late:
        found = [f"hang: {late}"]
    finally:
        case.end()
    return case.n_kills, found


def _head(folder: Path) -> Head:
    from tests.engine.jobs.test_ray import Head

    os.environ.pop("RAY_ADDRESS", None)
    return Head(folder)


@contextmanager
def _folder_of_head(engine: str) -> Iterator[Path | None]:
    if engine != "ray":
        yield None
        return
    # The paths of its sockets must be short.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
