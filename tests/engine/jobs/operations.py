"""What the jobs of these tests do; imported by their processes as ``tests.engine.jobs.operations:run``."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.errors import RankScopeError
from engine.jobs.entry import QueueNext
from engine.progress import Report
from engine.settings import home

Arguments = Mapping[str, Any]

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


def run(operation: str, arguments: Arguments, report: Report, queue_next: QueueNext) -> object:
    if "then" in arguments:
        queue_next("echo", {"word": arguments["then"]}, "What follows")
    return OPERATIONS[operation](arguments, report)


def echo(arguments: Arguments, report: Report) -> object:
    report("echo", 1.0, "said")
    print("echo says", arguments.get("word"))
    return dict(arguments)


def where(arguments: Arguments, report: Report) -> object:
    return str(Path.cwd())


def stores(arguments: Arguments, report: Report) -> object:
    """Tell where a job keeps what it makes."""
    return str(home().root)


def note(arguments: Arguments, report: Report) -> object:
    """Add a line to a file, so that a test can count and order the runs."""
    with Path(arguments["notes"]).open("a") as notes:
        notes.write(f"{arguments['word']}\n")
    return arguments["word"]


def hold(arguments: Arguments, report: Report) -> object:
    """Say that it runs, then run until the file ``gate`` appears."""
    folder = Path(arguments["folder"])
    with (folder / "started").open("a") as started:
        started.write(f"{os.getpid()}\n")
    report("hold", 0.5, "waiting")
    while not (folder / "gate").exists():
        time.sleep(0.005)
    return "held"


def stages(arguments: Arguments, report: Report) -> object:
    """Two stages with a checkpoint between; the second is not survived the first time."""
    folder = Path(arguments["folder"])
    checkpoint = folder / "checkpoint"
    was_there = checkpoint.exists()
    if not was_there:
        report("first", 0.5, "computing")
        checkpoint.write_text("42")
        os.kill(os.getpid(), signal.SIGKILL)
    report("second", 1.0, "continuing")
    return {"resumed": was_there, "value": int(checkpoint.read_text())}


def family(arguments: Arguments, report: Report) -> object:
    """Start a grandchild that ignores SIGTERM, then hold; SIGTERM is an exception if asked."""
    child = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, start_new_session=arguments["leaves_group"]
    )
    assert child.stdout is not None
    child.stdout.readline()
    if arguments["raises"]:
        signal.signal(signal.SIGTERM, _raise)
    (Path(arguments["folder"]) / "grandchild").write_text(str(child.pid))
    return hold(arguments, report)


def _raise(*_: object) -> None:
    raise RankScopeError("asked to end")


def report_often(arguments: Arguments, report: Report) -> object:
    n = arguments["n"]
    for i in range(n):
        report("often", (i + 1) / n, f"step {i}")
    return n


def fail(arguments: Arguments, report: Report) -> object:
    print("about to fail")
    match arguments["how"]:
        case "engine":
            raise RankScopeError("The model 'x' was not found:\n give a folder.")
        case "store":
            from cache.errors import StoreError

            raise StoreError("The artifact is damaged: run again.")
        case "bug":
            return 1 + arguments["how"]
        case "memory":
            raise MemoryError
        case "disk":
            raise OSError(28, "No space left on device")
        case "disk-of-arrays":
            fill_a_disk_with_arrays()
        case "exit":
            sys.exit(3)
        case "taken":
            os._exit(75)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "terminated":
            os.kill(os.getpid(), signal.SIGTERM)
        case "not-json":
            return object()
        case "nan":
            return float("nan")
    raise AssertionError(arguments)


def fill_a_disk_with_arrays() -> None:
    """Write arrays where no more than 4 kB fit, as safetensors sees it."""
    import resource

    import numpy as np
    from safetensors.numpy import save_file

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    try:
        save_file({"a": np.zeros(10_000)}, Path(os.environ["TMPDIR"]) / "arrays.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


OPERATIONS: dict[str, Callable[[Arguments, Report], object]] = {
    operation.__name__: operation for operation in (echo, where, stores, note, hold, stages, family, report_often, fail)
}
