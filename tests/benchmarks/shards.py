"""Seconds of an analysis in one job, and in shards, as jobs on a real Ray cluster of this machine.

Run: python -m tests.benchmarks.shards [--model demo] [--layers 4] [--n-sequences 128] [--length 32] [--shards 2]
Every job has one core and one thread; an analysis of what is stored already shows how long it takes until a job has
begun. The first layers of a model are enough, because every layer costs the same. What shards take without overhead is
what one job takes with the passes shared out. Needs the extra ``ray``; the demo takes its model and texts from
RANKSCOPE_HOME. Give a --model folder and a --text file for anything else.
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

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from engine.jobs import JobQueue, JobStatus
from engine.jobs.engines import choose
from engine.model.sources import resolve_model, resolve_texts
from engine.operations import Analyse, AnalyseShard, submit
from engine.pipeline.runs import RUN_LENGTH
from engine.progress import ignore_progress
from engine.settings import Home, home, job_settings
from tests.engine.jobs.ray_head import Head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.operations import Operation
    from engine.settings import JobSettings


class Cluster:
    """One home whose jobs run on one cluster."""

    def __init__(self, home: Home, settings: JobSettings) -> None:
        self._home = home
        self._queue = JobQueue(home.root, engine=choose(settings, "ray", "cpu=1"))

    def seconds(self, several: Sequence[Operation]) -> float:
        """Submit jobs at once; return how long they and what follows them take."""
        asked, begun = time.time(), time.monotonic()
        for operation in several:
            submit(operation, self._queue, self._home.store)
        while any(not job.status.is_final for job in self._queue.jobs()):
            time.sleep(0.05)
        took = time.monotonic() - begun
        for job in self._queue.jobs():
            if job.status is not JobStatus.DONE:
                sys.exit(f"{job.title}: {job.error}")
            if job.started and job.finished and job.created >= asked:
                print(f"  {job.finished - job.started:7.1f} s after {job.started - job.created:.1f} s: {job.title}")
        return took


def _first_layers(model: Path, n_layers: int, into: Path) -> str:
    """Save a model of fewer layers."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(model)
    config.num_hidden_layers = min(n_layers, config.num_hidden_layers)
    AutoModelForCausalLM.from_pretrained(model, config=config).save_pretrained(into)
    AutoTokenizer.from_pretrained(model).save_pretrained(into)
    return str(into)


def _seconds(home: Home) -> tuple[float, float]:
    """Return what the passes and the factors of the stored analysis took."""
    (key,) = (key for key in home.store.keys() if key.stage == "analysis")  # noqa: SIM118
    seconds = home.store.read(key).manifest.about["seconds"]
    return seconds["calibration"], seconds["factorization"]  # type: ignore[call-overload,index,return-value]


def _members(home: Home) -> dict[str, object]:
    """Return what is stored, by its key."""
    return {str(key): home.store.read(key).manifest.members for key in home.store.keys()}  # noqa: SIM118


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo", help="what `rankscope analyse` takes")
    parser.add_argument("--text", default="demo", help="what `rankscope analyse` takes")
    parser.add_argument("--layers", type=int, default=4, help="of the model, from the first; at most all")
    parser.add_argument("--n-sequences", type=int, default=2 * RUN_LENGTH)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--shards", type=int, default=2)
    given = vars(parser.parse_args())
    n_shards, n_layers = given.pop("shards"), given.pop("layers")
    warm = home()
    spec = Analyse(**given).spec()
    model = resolve_model(warm, spec.model, ignore_progress).path
    resolve_texts(warm, spec.corpus, ignore_progress)
    # The paths of Ray's sockets must be short.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as ray, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        given["model"] = _first_layers(model, n_layers, place / "model")
        analysis = Analyse(**given, device="cpu", compute_dtype="float32", metrics=("loss",))
        shares = [
            AnalyseShard.model_validate({**analysis.arguments(), "shard": shard, "n_shards": n_shards})
            for shard in range(n_shards)
        ]
        whole, shared = Home(place / "whole"), Home(place / "shared")
        for each in (whole, shared):
            if (warm.artifacts / "demo-texts").is_dir():
                shutil.copytree(warm.artifacts / "demo-texts", each.artifacts / "demo-texts")
        os.environ.pop("RANKSCOPE_HOME", None)
        head = Head(Path(ray))
        try:
            settings = replace(job_settings(), ray_address=head.address)
            on_one, on_several = Cluster(whole, settings), Cluster(shared, settings)
            one_s, start_s = on_one.seconds([analysis]), on_one.seconds([analysis])
            several_s = on_several.seconds(shares)
        finally:
            head.end()
        passes_s, factors_s = _seconds(whole)
        is_same = _members(whole) == _members(shared)
    best_s = one_s - passes_s + passes_s / n_shards
    working_s, least_s = several_s - start_s, passes_s / n_shards + factors_s
    print(f"one job                      {one_s:7.1f} s: passes {passes_s:.1f} s, factors {factors_s:.1f} s")
    print(f"start of a job               {start_s:7.1f} s (one with nothing to do)")
    print(f"one job, passes shared out   {best_s:7.1f} s")
    print(f"{n_shards} shards                     {several_s:7.1f} s")
    print(f"overhead                     {100 * (several_s / best_s - 1):7.1f} %")
    print(f"without the start            {working_s:7.1f} s; passes shared out, and factors: {least_s:.1f} s")
    print(f"ratio without the start      {working_s / least_s:7.3f} (the model's opening and weighing depths, too)")
    print(f"ratio to one job             {several_s / one_s:7.3f}")
    print(f"the same to the last bit     {'yes' if is_same else 'no':>7}")


if __name__ == "__main__":
    main()
