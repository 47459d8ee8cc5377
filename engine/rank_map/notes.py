"""Names and notes that people give to measured maps, one file per model, and to analyses; free of torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from cache import canonical_json, write_in_one_step
from engine.errors import NamedMapError
from engine.rank_map.named import checked_name

if TYPE_CHECKING:
    from pathlib import Path

MAX_NOTE: Final = 500
"""Longest note, in characters."""

ANALYSES: Final = "analyses"
"""What the file of the names of analyses is called."""

_LOCK_S: Final = 20


@dataclass(frozen=True, slots=True)
class RunNote:
    """What people call something, and what they remark on it; either may be empty."""

    name: str = ""
    note: str = ""


class RunNotes:
    """The notes in one file; safe against crashes and other processes.

    Args:
        root: of all notes.
        about: fingerprint of the model whose measured maps these are about, or :data:`ANALYSES`.
    """

    def __init__(self, root: Path, about: str) -> None:
        self._path = root / f"{about}.json"

    def all(self) -> dict[str, RunNote]:
        """Return id -> note.

        Raises:
            NamedMapError: the file is not what was written.
        """
        try:
            documents = json.loads(self._path.read_bytes())
            return {str(subject): RunNote(str(one["name"]), str(one["note"])) for subject, one in documents.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise NamedMapError(
                f"The names and notes in {self._path} are damaged; delete the file to begin anew."
            ) from error

    def put(self, subject: str, name: str, note: str) -> None:
        """Name something and remark on it; both empty removes what there is.

        Raises:
            NamedMapError: the name or the note cannot be used, or the file cannot be read or written.
        """
        kept = RunNote(checked_name(name) if name.strip() else "", note.strip())
        if len(kept.note) > MAX_NOTE:
            raise NamedMapError(f"The note has {len(kept.note)} characters; expected at most {MAX_NOTE}.")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._path.with_suffix(".lock"), timeout=_LOCK_S):
                every = self.all() | {subject: kept}
                documents = {key: asdict(one) for key, one in every.items() if one != RunNote()}
                write_in_one_step(self._path, canonical_json(documents))
        except Timeout:
            raise NamedMapError(f"Another process has been writing notes for {_LOCK_S} s; try again then.") from None
        except OSError as error:
            raise NamedMapError(
                f"The notes in {self._path.parent} cannot be written ({error.strerror}); check its permissions and the "
                "free disk space."
            ) from error
