"""The ``rankscope`` command for tests: in this process, or as the process that a user starts."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.cli import main
from engine.jobs.record import JobRecord
from engine.jobs.run import run


class Ended(NamedTuple):
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def run_jobs_here(patch: pytest.MonkeyPatch) -> None:
    """Run every submitted job at once and in this process, in place of a worker that starts a process for each."""

    def run_what_is_queued(command: list[str], log: Path) -> None:
        *_, home, entrypoint = command
        record = JobRecord(Path(home))
        with log.open("a") as output, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            for job in record.unfinished():
                run(record.home, job.id, entrypoint)

    patch.setattr("engine.jobs.queue.start_detached", run_what_is_queued)


class Terminal:
    """Runs ``rankscope`` with its own home, in this process: no start and no imports for each command."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.environment = {"RANKSCOPE_HOME": str(home), "COLUMNS": "200", **environment}

    def __call__(self, *words: object, code: int = 0) -> Ended:
        done = self.run([str(word) for word in words])
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def run(self, words: list[str]) -> Ended:
        """Run the command and return how it ended."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            for offline in ("datasets.config.HF_HUB_OFFLINE", "huggingface_hub.constants.HF_HUB_OFFLINE"):
                patch.setattr(offline, True)  # what HF_HUB_OFFLINE=1 sets in a new process
            for console in ("out", "err"):  # which take COLUMNS when they are made, as a new process would
                patch.setattr(f"engine.cli._console.{console}.width", int(self.environment["COLUMNS"]))
            patch.setattr(sys, "argv", ["rankscope", *words])
            run_jobs_here(patch)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    main()
                    code = 0
                except SystemExit as end:
                    code = int(end.code or 0)
        return Ended(code, out.getvalue(), err.getvalue())

    def json(self, *words: object) -> dict:
        """Run the command with ``--json`` and return what it printed."""
        return json.loads(self(*words, "--json").stdout)

    def error(self, *words: object) -> str:
        """Run a command that has to fail and return its one sentence."""
        done = self(*words, code=1)
        assert "Traceback" not in done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
        assert len(lines) == 1, done.stderr
        return lines[0]


class ProcessTerminal(Terminal):
    """Runs ``rankscope`` as a process of its own, whose jobs are run by a worker."""

    def __init__(self, home: Path, python: str | Path = sys.executable, **environment: str) -> None:
        super().__init__(home, **environment)
        self._python = str(python)

    def run(self, words: list[str]) -> Ended:
        """Run the command and return how it ended."""
        command = [self._python, "-c", "from engine.cli import main; main()", *words]
        environment = {**os.environ, **self.environment, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)
        return Ended(done.returncode, done.stdout, done.stderr)
