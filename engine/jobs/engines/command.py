"""Jobs by a command of your own, such as Slurm's ``srun``, that runs another command on a machine of a cluster."""

import shlex
import string
import subprocess
import sys
import time

from engine.jobs.choice import EngineChoice
from engine.jobs.engines._process import ProcessAttempt, begin_process
from engine.jobs.job import Job, JobError, JobStatus
from engine.jobs.launch import ATTEMPT
from engine.jobs.processes import LocalProcess
from engine.jobs.record import JobRecord
from engine.jobs.remote_files import FILES_ARRIVE_S, WROTE_ITS_END
from engine.settings import JobSettings

FIRST_STATUS_S = 1.0
STATUS_EVERY_S = 10.0
COMMAND_TIMEOUT_S = 30.0
_SHELL_SIGNAL = 128
"""A command that hands on which signal ended a job far away adds this to it."""


class CommandEngine:
    """Fills in a template and starts it here; the process it is about runs ``engine.jobs.remote``, anywhere."""

    one_at_a_time = False

    def __init__(self, record: JobRecord, entrypoint: str) -> None:
        self._record = record
        self._entrypoint = entrypoint

    @staticmethod
    def settings_of(given: JobSettings, resources: dict[str, float]) -> dict[str, str]:
        """Return the templates, all of whose placeholders are known."""
        if not given.command:
            raise JobError(
                "The engine command needs RANKSCOPE_COMMAND, a command with {command} in it, such as "
                "'srun --gres=gpu:{gpu} {command}'."
            )
        if "{command}" not in given.command.split():
            raise JobError(f"RANKSCOPE_COMMAND is {given.command!r}; it needs {{command}} as a word of its own.")
        templates = {
            "command": given.command,
            "cancel": given.command_cancel,
            "status": given.command_status,
            "python": given.python,
        }
        known = {"command", "name", "log", *resources}
        for variable in ("command", "cancel", "status"):
            _check(variable, templates[variable], known if variable == "command" else known - {"command"})
        return templates

    @staticmethod
    def describe(choice: EngineChoice) -> str:
        """Name the cluster by the command's first word."""
        return shlex.split(choice.settings["command"])[0]

    def start(self, job: Job) -> ProcessAttempt | None:
        """Start the filled-in command; ``engine.jobs.launch`` claims the job for it."""
        settings, folder = job.engine.settings, self._record.folder(job.id)
        remote = [settings["python"], "-P", "-m", "engine.jobs.remote", str(folder.path), ATTEMPT, self._entrypoint]
        words: list[str] = []
        for word in shlex.split(settings["command"]):
            words += remote if word == "{command}" else [_filled(word, job, str(folder.log))]
        command = [sys.executable, "-P", "-m", "engine.jobs.launch", str(self._record.home), job.id, *words]
        process = begin_process(self._record, job, command)
        return None if process is None else _CommandAttempt(self._record, job, process)

    def adopt(self, job: Job) -> ProcessAttempt | None:
        """Wait for the command that another worker started."""
        return None if job.process is None else _CommandAttempt(self._record, job, LocalProcess(job.process))


class _CommandAttempt(ProcessAttempt):
    """A command on this machine that waits for a job far away."""

    def __init__(self, record: JobRecord, job: Job, process: LocalProcess) -> None:
        super().__init__(record, job, process)
        self._next_status_s = time.monotonic() + FIRST_STATUS_S
        self._is_begun = False
        self._ended_at: float | None = None

    def advance(self) -> bool:
        job = self._record.get(self._job.id)
        if job is not None and job.status is JobStatus.RUNNING and not self._is_begun:
            self._look_where(job)
        if job is not None and job.status is not JobStatus.QUEUED and self.exit_code in WROTE_ITS_END:
            has_arrived = self._record.folder(job.id).remote(job.attempts).end() is not None
            self._ended_at = self._ended_at or time.monotonic()
            if not has_arrived and time.monotonic() < self._ended_at + FILES_ARRIVE_S:
                return False
        return super().advance()

    @property
    def exit_code(self) -> int | None:
        code = super().exit_code
        return code if code is None or code <= _SHELL_SIGNAL else _SHELL_SIGNAL - code

    def ask_to_end(self) -> None:
        job = self._record.get(self._job.id)
        if job is not None and not job.status.is_final:
            self._record.folder(job.id).remote(job.attempts).call_off()
            self._run("cancel", job)
        super().ask_to_end()

    def _look_where(self, job: Job) -> None:
        """See whether a machine has begun with it; until then ask the cluster now and then."""
        files = self._record.folder(job.id).remote(job.attempts)
        self._is_begun = files.host() is not None
        if self._is_begun:
            self._record.begin(job.id, job.attempts)
        elif job.engine.settings["status"] and time.monotonic() >= self._next_status_s:
            self._next_status_s = time.monotonic() + STATUS_EVERY_S
            files.write_cluster(None, self._run("status", job))

    def _run(self, which: str, job: Job) -> str:
        """Run a template that asks the cluster something; return the first line it says."""
        template = job.engine.settings[which]
        if not template:
            return ""
        log = self._record.folder(job.id).log
        words = [_filled(word, job, str(log)) for word in shlex.split(template)]
        try:
            said = subprocess.run(
                words, capture_output=True, text=True, errors="replace", timeout=COMMAND_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            return f"{words[0]} failed: {error}"
        return next(iter((said.stdout or said.stderr).strip().splitlines()), "")


def _filled(word: str, job: Job, log: str) -> str:
    amounts = {name: f"{amount:g}" for name, amount in job.engine.resources.items()}
    return word.format_map({"name": f"rankscope-{job.id}", "log": log, **amounts})


def _check(variable: str, template: str, known: set[str]) -> None:
    name = "RANKSCOPE_COMMAND" + ("" if variable == "command" else f"_{variable.upper()}")
    try:
        shlex.split(template)
        used = {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
    except ValueError as error:
        raise JobError(f"{name} is {template!r}, which cannot be read ({error}).") from error
    if unknown := sorted(used - known):
        raise JobError(
            f"{name} names {{{unknown[0]}}}, and the job has no such resource; known are "
            f"{', '.join(sorted(known))}. Ask for it, such as --resources {unknown[0] or 'gpu'}=1."
        )
