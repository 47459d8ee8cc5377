"""The folder of one job: what was asked, how far it is, what it printed, what came out."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from cache import write_in_one_step
from engine.jobs.progress import read_tail

LOG_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The files of one job.

    Attributes:
        path: the folder; named after the job's id.
    """

    path: Path

    @property
    def progress(self) -> Path:
        """The reports of the last attempt, as JSON lines."""
        return self.path / "progress.jsonl"

    @property
    def log(self) -> Path:
        """What all attempts printed."""
        return self.path / "log.txt"

    def write_spec(self, spec: object) -> None:
        """Write what the job is asked to do."""
        self.path.mkdir(parents=True, exist_ok=True)
        _write(self.path / "spec.json", spec)

    def write_result(self, result: object) -> None:
        """Write what the operation returned; complete on disk or absent.

        Raises:
            TypeError: ``result`` is not made of JSON values.
            ValueError: ``result`` holds a number that is not finite.
        """
        _write(self.path / "result.json", result)

    def has_result(self) -> bool:
        """Whether the last attempt came to its end."""
        return (self.path / "result.json").exists()

    def read_result(self) -> object:
        """Read what the operation returned; None if it was deleted."""
        try:
            return json.loads((self.path / "result.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def clear_outcome(self) -> None:
        """Delete the result and the progress of an earlier attempt; the log goes on."""
        for path in (self.path / "result.json", self.progress):
            path.unlink(missing_ok=True)

    def read_log(self, last_lines: int) -> str:
        """Read the end of the log; of a line drawn over and over (a bar), what it showed last."""
        lines = read_tail(self.log, LOG_BYTES).decode("utf-8", errors="replace").split("\n")
        if lines[-1] == "":
            lines.pop()
        return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines[-last_lines:])

    def delete(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.path, ignore_errors=True)


def _write(path: Path, value: object) -> None:
    write_in_one_step(path, json.dumps(value, indent=2, allow_nan=False).encode() + b"\n")
