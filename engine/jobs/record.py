"""The record of all jobs: one SQLite file, the only truth about what state a job is in.

Two rules make it correct when anything is killed at any moment:

* A job becomes *running* in the transaction in which its own process writes its pid and start time
  (``claim``). So a running job always names a process, and two processes can never both run one job: the
  second finds it no longer queued and leaves.
* Every end is written for one attempt (``finish``, ``close``), and only if that attempt is still open. So the
  job's own process, the worker and a reader that finds the process dead may all try; the first one wins.
"""

import json
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from cache.processes import ProcessId
from engine.jobs.choice import LOCAL, EngineChoice
from engine.jobs.files import JobFolder
from engine.jobs.home import open_home, open_privately, writing_to
from engine.jobs.job import Job, JobError, JobStatus

SCHEMA_VERSION = 3
BUSY_TIMEOUT_S = 30.0

_SCHEMA = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, turn INTEGER NOT NULL, operation TEXT NOT NULL, arguments TEXT NOT NULL,
    title TEXT NOT NULL, estimate TEXT NOT NULL, status TEXT NOT NULL, created REAL NOT NULL,
    started REAL, finished REAL, pid INTEGER, pid_started REAL, attempts INTEGER NOT NULL DEFAULT 0,
    kill_at REAL, error TEXT);
CREATE TABLE worker (one INTEGER PRIMARY KEY CHECK (one = 1), pid INTEGER NOT NULL, started REAL NOT NULL);
PRAGMA user_version = 1;
"""

_TO_VERSION_2 = """
ALTER TABLE jobs ADD COLUMN engine TEXT NOT NULL DEFAULT 'local';
ALTER TABLE jobs ADD COLUMN engine_settings TEXT NOT NULL DEFAULT '{}';
ALTER TABLE jobs ADD COLUMN resources TEXT NOT NULL DEFAULT '{}';
PRAGMA user_version = 2;
"""
_TO_VERSION_3 = """
ALTER TABLE jobs ADD COLUMN lead TEXT;
PRAGMA user_version = 3;
"""
_UPGRADES = (_SCHEMA, _TO_VERSION_2, _TO_VERSION_3)
"""What brings a record from each version to the next one."""

_MAYBE_NUMBER = (int, float, type(None))
_KINDS: tuple[tuple[str, type | tuple[type, ...]], ...] = (
    *((name, str) for name in ("operation", "title", "engine")),
    *((name, (int, float)) for name in ("created", "attempts", "turn")),
    ("lead", (str, type(None))),
    *((name, _MAYBE_NUMBER) for name in ("started", "finished", "kill_at", "pid")),
)
_NO_NAME = re.compile(r"[^\w-]")

_SELECT = """
SELECT *, CASE status WHEN 'queued' THEN
           (SELECT COUNT(*) FROM jobs AS other WHERE jobs.engine = 'local' AND other.engine = 'local' AND
            (other.status IN ('running', 'cancelling') OR (other.status = 'queued' AND other.turn < jobs.turn)))
       END AS ahead FROM jobs
"""


class JobRecord:
    """The states of all jobs under one home; every method is one transaction."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._path = home / "jobs.sqlite3"
        self._folders = home / "jobs"
        open_home(home)
        if not self._path.exists():
            with writing_to(self._path), open_privately(self._path, "ab"):
                pass  # SQLite would make it readable for everybody
        with self._connection() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
        if version < SCHEMA_VERSION:
            self._upgrade()
        elif version > SCHEMA_VERSION:
            raise JobError(
                f"The job record {self._path} has version {version} and this RankScope reads version "
                f"{SCHEMA_VERSION}: update RankScope, or use another home."
            )

    def folder(self, job_id: str) -> JobFolder:
        """The files of a job."""
        return JobFolder(self._folders / _NO_NAME.sub("_", job_id))

    def jobs(self) -> list[Job]:
        """All jobs, the last submitted first."""
        with self._connection() as db:
            return [_job(row) for row in db.execute(_SELECT + "ORDER BY turn DESC")]

    def unfinished(self) -> list[Job]:
        """The jobs that are queued, running or cancelling, oldest first."""
        with self._connection() as db:
            unfinished = "WHERE status IN ('queued', 'running', 'cancelling') ORDER BY turn"
            found = [_job(row) for row in db.execute(_SELECT + unfinished)]
        return [job for job in found if not job.status.is_final]

    def get(self, job_id: str) -> Job | None:
        """The job with exactly this id."""
        with self._connection() as db:
            row = db.execute(_SELECT + "WHERE id = ?", (job_id,)).fetchone()
        return None if row is None else _job(row)

    def enqueue(
        self,
        job_id: str,
        operation: str,
        arguments: Mapping[str, object],
        title: str,
        estimate: Mapping[str, object],
        *,
        again: bool,
        engine: EngineChoice = LOCAL,
        lead: str | None = None,
    ) -> None:
        """Queue a job unless it is under way or done; ``again`` queues a done one too."""
        where = (engine.name, json.dumps(dict(engine.settings)), json.dumps(dict(engine.resources)))
        with writing_to(self._folders), self._writing() as db:
            self.folder(job_id).write_spec({"operation": operation, "arguments": arguments})
            db.execute(
                "INSERT INTO jobs (id, turn, operation, arguments, title, estimate, status, created) "
                "VALUES (?, 0, ?, ?, ?, ?, 'cancelled', ?) ON CONFLICT (id) DO NOTHING",
                (job_id, operation, json.dumps(arguments), title, json.dumps(estimate), time.time()),
            )
            db.execute(
                "UPDATE jobs SET status = 'queued', turn = (SELECT MAX(turn) FROM jobs) + 1, title = ?, "
                "estimate = ?, started = NULL, finished = NULL, kill_at = NULL, error = NULL, engine = ?, "
                "engine_settings = ?, resources = ?, lead = ? WHERE id = ? "
                "AND (status IN ('failed', 'cancelled', 'interrupted') OR (status = 'done' AND ?))",
                (title, json.dumps(estimate), *where, lead, job_id, again),
            )

    def claim(self, job_id: str, process: ProcessId | None) -> int | None:
        """Make a queued job the running job of ``process``; its number of attempts, or None if not queued.

        ``None`` in place of a process claims it for a cluster, by whoever submits it there.
        """
        pid, started = (None, None) if process is None else (process.pid, process.started)
        with self._writing() as db:
            row = db.execute(
                "UPDATE jobs SET status = 'running', started = ?, pid = ?, pid_started = ?, "
                "attempts = attempts + 1 WHERE id = ? AND status = 'queued' RETURNING attempts",
                (time.time(), pid, started, job_id),
            ).fetchone()
            if row is None:
                return None
            self.folder(job_id).clear_outcome()
            return int(row["attempts"])

    def begin(self, job_id: str, attempt: int) -> None:
        """Note that an attempt which waited at a cluster runs: its time counts from now."""
        with self._writing() as db:
            db.execute(
                "UPDATE jobs SET started = ? WHERE id = ? AND attempts = ? AND status = 'running'",
                (time.time(), job_id, attempt),
            )

    def finish(self, job_id: str, attempt: int, status: JobStatus, error: str | None = None) -> None:
        """Write what the job's process says of its own end.

        A cancelled attempt that fails is left *cancelling*: it is over when everything it started is.
        """
        with self._writing() as db:
            db.execute(
                "UPDATE jobs SET status = ?, error = ?, finished = ?, kill_at = NULL WHERE id = ? "
                "AND attempts = ? AND (status = 'running' OR (status = 'cancelling' AND ? = 'done'))",
                (status, error, time.time(), job_id, attempt, status),
            )

    def close(self, job_id: str, attempt: int, status: JobStatus, error: str | None = None) -> None:
        """Write how an attempt ended of which nothing lives, unless it said so itself."""
        with self._writing() as db:
            db.execute(
                "UPDATE jobs SET finished = ?, kill_at = NULL, "
                "error = CASE WHEN status = 'cancelling' THEN NULL ELSE ? END, "
                "status = CASE WHEN status = 'cancelling' AND ? <> 'done' THEN 'cancelled' ELSE ? END "
                "WHERE id = ? AND attempts = ? AND status IN ('running', 'cancelling')",
                (time.time(), error, status, status, job_id, attempt),
            )

    def refuse(self, job_id: str, attempts: int, error: str) -> None:
        """Fail a queued job that could not be begun; ``attempts`` is how often it had been begun before."""
        with self._writing() as db:
            db.execute(
                "UPDATE jobs SET status = 'failed', finished = ?, error = ? "
                "WHERE id = ? AND attempts = ? AND status = 'queued'",
                (time.time(), error, job_id, attempts),
            )

    def cancel(self, job_id: str, kill_at: float) -> None:
        """End a queued job; ask a running one to end, by force at ``kill_at``, never later than before."""
        with self._writing() as db:
            db.execute(
                "UPDATE jobs SET kill_at = CASE status WHEN 'queued' THEN NULL "
                "ELSE MIN(?, COALESCE(kill_at, ?)) END, finished = CASE status WHEN 'queued' THEN ? END, "
                "status = CASE status WHEN 'queued' THEN 'cancelled' ELSE 'cancelling' END "
                "WHERE id = ? AND status IN ('queued', 'running', 'cancelling')",
                (kill_at, kill_at, time.time(), job_id),
            )

    def forget(self, job_id: str) -> bool:
        """Delete a finished job and its folder; False when it is not finished."""
        with self._writing() as db:
            row = db.execute(_SELECT + "WHERE id = ?", (job_id,)).fetchone()
            if row is None or not _job(row).status.is_final:
                return False
            db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            self.folder(job_id).delete()
            return True

    def worker(self) -> ProcessId | None:
        """The worker that registered last; it may have been killed."""
        with self._connection() as db:
            row = db.execute("SELECT pid, started FROM worker").fetchone()
        return None if row is None else ProcessId(row["pid"], row["started"])

    def set_worker(self, process: ProcessId | None) -> None:
        """Register the worker, or say that there is none."""
        with self._writing() as db:
            db.execute("DELETE FROM worker")
            if process is not None:
                db.execute("INSERT INTO worker VALUES (1, ?, ?)", (process.pid, process.started))

    def _upgrade(self) -> None:
        # SQLite does not wait for a database that another process is switching to WAL, so one at a time.
        from filelock import FileLock

        with writing_to(self.home), FileLock(self.home / "create.lock", mode=0o600), self._connection() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                db.execute("PRAGMA journal_mode = WAL")
            for upgrade in _UPGRADES[version:]:
                db.executescript(f"BEGIN IMMEDIATE; {upgrade} COMMIT;")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as db:
                db.row_factory = sqlite3.Row
                db.text_factory = _text
                db.execute("PRAGMA synchronous = NORMAL")
                yield db
        except sqlite3.DatabaseError as error:
            raise JobError(
                f"The job record {self._path} cannot be used ({error}): check that the disk is not full and "
                "the file is writable, or move it away to begin a new one."
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")


def _text(content: bytes) -> str:
    return content.decode(errors="replace")  # one row that is not Unicode must not hide the others


def _job(row: sqlite3.Row) -> Job:
    """Read a row; a damaged one becomes a failed job that says so, and hides no other."""
    try:
        status = JobStatus(row["status"])
        arguments, estimate = json.loads(row["arguments"]), json.loads(row["estimate"])
        engine = EngineChoice(row["engine"], json.loads(row["engine_settings"]), json.loads(row["resources"]))
    except (ValueError, TypeError, RecursionError):
        return _damaged(row)
    is_whole = all(isinstance(part, dict) for part in (arguments, estimate, engine.settings, engine.resources))
    if not (is_whole and all(isinstance(row[name], kind) for name, kind in _KINDS)):
        return _damaged(row)
    plain = ("id", "operation", "title", "created", "started", "finished", "pid", "pid_started", "attempts", "lead")
    return Job(
        **{name: row[name] for name in (*plain, "kill_at", "error")},
        arguments=arguments,
        estimate=estimate,
        status=status,
        engine=engine,
        position=row["ahead"] if status is JobStatus.QUEUED else None,
    )


def _damaged(row: sqlite3.Row) -> Job:
    job_id = str(row["id"])
    return Job(
        id=job_id, operation=str(row["operation"]), arguments={}, title=str(row["title"]), estimate={},
        status=JobStatus.FAILED, created=0.0, started=None, finished=None, pid=None, pid_started=None, attempts=0,
        kill_at=None, position=None,
        error=f"The record of this job is damaged: forget it with `rankscope jobs forget {job_id}` and ask for it "
        "again; what it computed is kept.",
    )  # fmt: skip
