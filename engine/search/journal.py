"""The journal file of a search, mended where a full disk or a power loss cut or garbled it.

Optuna reads every line of a journal in order, each a change to a study or to one of its trials, named by numbers that
count from the beginning. It appends to a half line, and then cannot read the file any more.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

if TYPE_CHECKING:
    from pathlib import Path


def repair_journal(path: Path) -> str | None:
    """Take out of a journal what cannot be read, keep the old one beside it, and say so; None if all can be read.

    That costs the trial that was running where the damage is; if the beginning of one was lost, those after it too.
    What they measured is in the store.
    """
    if not path.is_file() or _is_whole(path):
        return None
    lock = JournalFileSymlinkLock(str(path))  # nobody who appends is in the middle of a line while we hold it
    lock.acquire()
    try:
        if _is_whole(path):
            return None
        aside = path.with_name(f"{path.name}.damaged")
        shutil.copyfile(path, aside)
        lines = path.read_bytes().splitlines(keepends=True)
        kept = _readable(lines)
        mended = path.with_name(f"{path.name}.mended")
        mended.write_bytes(b"".join(kept))
        if not _is_whole(mended):
            kept = []
            mended.write_bytes(b"")
        mended.replace(path)
    finally:
        lock.release()
    return (
        f"The search's journal {path} was damaged, as a full disk or a power loss leaves it: "
        f"{len(lines) - len(kept)} of its {len(lines)} lines were taken out. Every trial that was measured is still in "
        f"the store. The old journal is {aside}; delete it when you like."
    )


def _is_whole(path: Path) -> bool:
    """Whether Optuna can read a journal."""
    if not all(_parsed(line) for line in path.read_bytes().splitlines(keepends=True)):
        return False  # Optuna passes over a last line that is not whole, and then appends to it
    try:
        JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return False
    return True


def _readable(lines: list[bytes]) -> list[bytes]:
    """Return the lines that make sense together.

    What a gap was about is not known: a trial that was running there is left without an end, so that it counts as lost
    with its worker. Where the numbers do not fit after a gap, a beginning was lost, and only what is before it is kept.
    """
    kept: list[bytes] = []
    first_gap: int | None = None
    n_studies = n_trials = 0
    running: set[int] = set()
    lost: set[int] = set()
    for line in lines:
        change = _parsed(line)
        if change is None:
            first_gap = len(kept) if first_gap is None else first_gap
            lost |= running
            continue
        kind, trial = change["op_code"], change.get("trial_id", -1)
        if change.get("study_id", -1) >= n_studies or trial >= n_trials:
            return kept[: len(kept) if first_gap is None else first_gap]
        if trial in lost:
            continue
        state = change.get("state", TrialState.RUNNING)
        if kind == JournalOperation.CREATE_TRIAL and state == TrialState.RUNNING:
            running.add(n_trials)
        if kind == JournalOperation.SET_TRIAL_STATE_VALUES:
            (running.add if state == TrialState.RUNNING else running.discard)(trial)
        n_studies += kind == JournalOperation.CREATE_STUDY
        n_trials += kind == JournalOperation.CREATE_TRIAL
        kept.append(line)
    return kept


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        change = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(change, dict) or not isinstance(change.get("op_code"), int):
        return None
    numbers = (change.get("study_id", 0), change.get("trial_id", 0))
    return change if all(isinstance(number, int) for number in numbers) else None
