"""An interpreter for tests that has imported torch and transformers before it is started.

Exports are opened and jobs are run by the dozen, and each process would spend seconds on the same imports. What is
started with this interpreter is forked from a process that has done them, without a connection to the hub, and has
imported nothing of the project. Everything else is as in a fresh process: arguments, environment, working folder,
streams, exit code, death by signal, and the interpreter for what it starts in turn.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = Path(__file__).parent


@contextmanager
def warm_interpreter() -> Iterator[Path]:
    """Yield a program to start in place of ``python``; ``rankscope`` lies beside it, as in an environment."""
    with tempfile.TemporaryDirectory(prefix="rankscope-warm-") as folder:
        place, program = Path(folder) / "socket", Path(folder) / "python"
        start = [sys.executable, "-I", "-S", str(_HERE / "client.py"), str(place), str(program)]
        command = ["-P", "-c", "import sys; from engine.cli import main; sys.argv[0] = 'rankscope'; main()"]
        for path, words in ((program, start), (program.with_name("rankscope"), [*start, *command])):
            path.write_text(f'#!/bin/sh\nexport HF_HUB_OFFLINE=1\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
            path.chmod(0o700)
        command = [sys.executable, "-I", str(_HERE / "server.py"), str(place)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n", "the process that is forked did not start"
            yield program
