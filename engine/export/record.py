"""What an exported folder says of the request that wrote it, so that the same request finds it done."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from engine.errors import InvalidSpecError
from engine.export.outcome import ExportedModel
from engine.export.specs import ExportSpec
from engine.paths import read_small_file
from engine.rank_map.document import MAX_BYTES
from engine.results.json_form import from_json, to_json

if TYPE_CHECKING:
    from pathlib import Path

RECORD = "export.json"
RANK_MAP = "rank-map.json"


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """A request and its outcome, without a place of this machine.

    Attributes:
        asked: how the model was to be written.
        exported: what came out.
    """

    asked: ExportSpec
    exported: ExportedModel


def write_record(folder: Path, asked: ExportSpec, exported: ExportedModel) -> None:
    """Write the record of an export into its folder."""
    document = to_json(ExportRecord(asked, exported.moved(".")))
    (folder / RECORD).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def finished_export(folder: Path, analysis: str, rank_map: str, asked: ExportSpec) -> ExportedModel | None:
    """Return what an equal request left in a folder, or ``None`` if something else or nothing is there.

    Args:
        folder: to look in.
        analysis: id of the analysis.
        rank_map: JSON of the rank map.
        asked: how the model is to be written.
    """
    record = read_record(folder)
    if record is None:
        return None
    try:
        written_map = read_small_file(folder / RANK_MAP, "rank map", MAX_BYTES, "").decode()
    except (InvalidSpecError, UnicodeDecodeError):
        return None
    found = record.exported
    is_same = (record.asked, found.analysis, written_map) == (asked, analysis, rank_map)
    return found.moved(str(folder)) if is_same and found.folder_bytes == size_of(folder) else None


def read_record(folder: Path) -> ExportRecord | None:
    """Return what a folder says of the export that wrote it, or ``None`` if none did."""
    try:
        return from_json(ExportRecord, json.loads(read_small_file(folder / RECORD, "record", MAX_BYTES, "")))
    except (InvalidSpecError, ValidationError, ValueError, RecursionError):  # anybody may have written it
        return None


def size_of(folder: Path) -> int:
    """Return the bytes of an export without its record."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.name != RECORD)
