"""SIGKILL at random moments of analyses in shards, on this machine and on a Ray cluster: they end as undisturbed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tests.campaign.contents import contents
from tests.campaign.forked_jobs import forked_jobs
from tests.campaign.forking import await_all, forked
from tests.campaign.kills import ROOT, Operation, Reference, differing, reference_of
from tests.campaign.sharded import WORDS, Sharded

if TYPE_CHECKING:
    from tests.campaign.ground import Ground
    from tests.campaign.options import Options

N_KILLS = 160
"""Planned; a part comes when the analysis is done."""

KILLS_IN_A_ROW = 8
N_JOBS = 3
IMPORTS_S = 5.0
PLACES = ("forked", "ray", "forked", "ray", "forked", "started") if find_spec("ray") else ("forked", "started")
"""Of the cases one after another: on this machine, with processes forked or started anew, or on a cluster."""


class Cluster:
    """A Ray cluster of this machine, which is begun when it is needed first, and again after a kill."""

    def __init__(self) -> None:
        from tests.engine.jobs.ray_head import Head

        os.environ.pop("RAY_ADDRESS", None)
        # The paths of its sockets must be short.
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self._head = Head(self._folder)

    def variables(self) -> dict[str, str]:
        """Return the variables with which jobs run on it."""
        return {
            "RANKSCOPE_ENGINE": "ray", "RANKSCOPE_RAY_ADDRESS": self._head.address, "RANKSCOPE_RESOURCES": "cpu=0.5",
            "RANKSCOPE_RAY_PATIENCE_S": "5",
        }  # fmt: skip

    def kill_head(self, chance: Random) -> int:
        """Kill it, and begin another one at the same address or elsewhere."""
        from tests.engine.jobs.ray_head import Head

        self._head.kill()
        self._head = Head(self._folder, self._head.port if chance.random() < 0.5 else 0)
        os.environ |= self.variables()
        return 1

    def end(self) -> None:
        """Kill all of it."""
        self._head.end()
        shutil.rmtree(self._folder, ignore_errors=True)


def run(ground: Ground, options: Options) -> int:
    """Kill ``options.n_cases`` times, print a table and every finding; return how many findings there are."""
    until = time.monotonic() + 60 * options.minutes
    wanted = options.n_cases or N_KILLS
    cases = [(number, PLACES[number % len(PLACES)]) for number in range(-(-wanted // KILLS_IN_A_ROW))]
    cases = [(number, where) for number, where in cases if options.only in _name(number, where)]
    if not cases:
        raise SystemExit(f"No case has {options.only!r} in its name.")
    print(f"shards: {wanted} kills in {len(cases)} cases, seed {options.seed}", flush=True)
    reference = reference_of(Operation("shards", WORDS), ground, options.folder / "reference")
    n_kills = min(wanted, KILLS_IN_A_ROW)
    elsewhere, here = ([one for one in cases if (one[1] == "ray") == is_ray] for is_ray in (True, False))
    codes = []
    for some in ([elsewhere], [here]) if options.at_once == 1 else ([elsewhere, here],):
        logs = [options.folder / f"{where}.log" for part in some for _, where in part[:1]]
        acts = [partial(_run_some, part, reference, ground, options, n_kills, until) for part in some if part]
        codes += await_all([forked(act, log) for act, log in zip(acts, logs, strict=True)])
    failed = [log.read_text()[-3000:] for log in options.folder.glob("*.log")] if any(codes) else []
    return _told(options, failed)


def _name(number: int, where: str) -> str:
    return f"case {number}, {where}."


def _run_some(
    cases: list[tuple[int, str]],
    reference: Reference,
    ground: Ground,
    options: Options,
    n_kills: int,
    until: float,
) -> None:
    with ExitStack() as stack:
        cluster = None
        for number, where in cases:
            if time.monotonic() > until:
                return
            if where == "ray" and cluster is None:
                cluster = Cluster()
                stack.callback(cluster.end)
            place = ground.copied(options.folder / f"case-{number}")
            name, chance = _name(number, where), Random(f"{options.seed} {number}")
            told = [name, *_tried(place, cluster if where == "ray" else None, where, chance, reference, n_kills)]
            (options.folder / f"told-{number}.json").write_text(json.dumps(told))
            print(told, flush=True)
            shutil.rmtree(place.folder, ignore_errors=True)


def _tried(
    place: Ground, cluster: Cluster | None, where: str, chance: Random, reference: Reference, n_kills: int
) -> tuple[dict[str, int], list[str]]:
    """Kill parts of one analysis; return how often which were met, and findings."""
    os.environ |= {"RANKSCOPE_HOME": str(place.home), "PYTHONPATH": str(ROOT), "RANKSCOPE_ENGINE": "local"}
    if cluster is not None:
        os.environ |= cluster.variables()
    met: Counter[str] = Counter()
    with ExitStack() as stack:
        if where == "forked":
            stack.enter_context(forked_jobs())
        job_s = reference.seconds / N_JOBS
        analysis = Sharded(place, chance, job_s if where == "forked" else IMPORTS_S, job_s)
        stack.callback(analysis.end)
        kill = {"job": analysis.kill_job, "worker": analysis.kill_worker, "command": analysis.kill_command}
        if cluster is not None:
            kill["head"] = partial(cluster.kill_head, chance)
        try:
            while met.total() < n_kills and analysis.goes_on():
                victim = chance.choice(("job", "job", "worker", *kill))
                analysis.await_moment()
                met[victim] += kill[victim]()
            found = analysis.finish()
        except TimeoutError as late:
            found = [f"hang: {late}"]
    if not found and (other := differing(reference.contents, contents(place.home / "artifacts"))):
        found.append(f"different: {other[:5]}")
    return met, found


def _told(options: Options, failed: list[str]) -> int:
    kills: dict[str, Counter[str]] = {where: Counter() for where in PLACES}
    kinds = Counter({"runner failed": len(failed)})
    for path in options.folder.glob("told-*.json"):
        name, met, findings = json.loads(path.read_text())
        kills[name.rstrip(".").rpartition(" ")[2]] += met
        for finding in findings:
            kinds[finding.partition(":")[0]] += 1
            again = f"python -m tests.campaign shards --seed {options.seed} --only {shlex.quote(name)}"
            print(f"\n{finding}\n  again: {again}")
    print(*failed, sep="\n", end="")
    for where, met in kills.items():
        if met.total():
            print(f"{f'shards, {where}':<32}" + ", ".join(f"{n} of {victim}" for victim, n in sorted(met.items())))
    counted = ", ".join(f"{kinds[kind]} {kind}" for kind in ("lost", "different", "hang", "runner failed"))
    print(f"{'all':<32}{sum(met.total() for met in kills.values())} kills: {counted}")
    return kinds.total()
