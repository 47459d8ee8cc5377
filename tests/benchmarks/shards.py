"""Seconds of an analysis in one job, and in shards, as jobs on a real Ray cluster of this machine.

Run: python -m tests.benchmarks.shards [--model demo] [--n-sequences 128] [--length 64] [--shards 2]
Both take the cluster's two cores in all: the whole analysis two, every shard one. Every job starts a process and opens
the model anew; an analysis of what is stored already shows how long that takes. Needs the extra ``ray``; the demo takes
its model and texts from RANKSCOPE_HOME. Give a --model folder and a --text file for anything else.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.jobs import JobQueue, JobStatus
from engine.jobs.engines import choose
from engine.model.sources import resolve_model, resolve_texts
from engine.operations import Analyse, AnalyseShard, submit
from engine.pipeline.runs import RUN_LENGTH
from engine.progress import ignore_progress
from engine.settings import Home, home, job_settings
from tests.engine.jobs.ray_head import Head

if TYPE_CHECKING:
    from engine.jobs import Job
    from engine.operations import Operation
    from engine.settings import JobSettings

N_CORES = 2


class Cluster:
    """One home whose jobs run on one cluster."""

    def __init__(self, place: Path, settings: JobSettings) -> None:
        self._settings = settings
        self._home = Home(place)

    def seconds(self, *several: Operation, cores: int) -> float:
        """Submit jobs at once; return how long they and what follows them take."""
        queue = JobQueue(self._home.root, engine=choose(self._settings, "ray", f"cpu={cores}"))
        begun = time.monotonic()
        for operation in several:
            submit(operation, queue, self._home.store)
        while any(not job.status.is_final for job in queue.jobs()):
            time.sleep(0.05)
        took = time.monotonic() - begun
        _check(queue.jobs())
        return took


def _check(jobs: list[Job]) -> None:
    for job in jobs:
        if job.status is not JobStatus.DONE:
            sys.exit(f"{job.title}: {job.error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo", help="what `rankscope analyse` takes")
    parser.add_argument("--text", default="demo", help="what `rankscope analyse` takes")
    parser.add_argument("--n-sequences", type=int, default=2 * RUN_LENGTH)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--shards", type=int, default=2)
    given = vars(parser.parse_args())
    n_shards = given.pop("shards")
    warm = home()
    spec = Analyse(**given).spec()
    given["model"] = str(resolve_model(warm, spec.model, ignore_progress).path)
    resolve_texts(warm, spec.corpus, ignore_progress)
    analysis = Analyse(**given, device="cpu", compute_dtype="float32", metrics=("loss",))
    shares = [
        AnalyseShard.model_validate({**analysis.arguments(), "shard": i, "n_shards": n_shards}) for i in range(n_shards)
    ]
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as ray, tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place) / name for name in ("whole", "shared")}
        for folder in folders.values():
            if (warm.artifacts / "demo-texts").is_dir():
                shutil.copytree(warm.artifacts / "demo-texts", folder / "artifacts" / "demo-texts")
        os.environ.pop("RANKSCOPE_HOME", None)
        head = Head(Path(ray))
        try:
            clusters = {
                name: Cluster(folder, replace(job_settings(), ray_address=head.address))
                for name, folder in folders.items()
            }
            whole = clusters["whole"].seconds(analysis, cores=N_CORES)
            start = clusters["whole"].seconds(analysis, cores=N_CORES)
            shared = clusters["shared"].seconds(*shares, cores=max(N_CORES // n_shards, 1))
        finally:
            head.end()
    print(f"one job                 {whole:7.1f} s")
    print(f"a job with nothing to do{start:7.1f} s")
    print(f"{n_shards} shards and the merge  {shared:7.1f} s")
    print(f"ratio                   {shared / whole:7.3f}")
    print(f"ratio less one start    {(shared - start) / whole:7.3f}")


if __name__ == "__main__":
    main()
