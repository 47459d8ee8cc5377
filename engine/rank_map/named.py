"""Rank maps people named: kept by model, one file each, free of torch.

A file is called by an id that has nothing to do with the name, so a name may be any text and a link stays good when
it changes. Files appear and change in one step and carry their own hash; who writes holds the folder's lock.
"""

from __future__ import annotations

import json
import re
import secrets
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout

from cache import PARTIAL_SUFFIX, canonical_json, fingerprint_bytes, write_in_one_step
from engine.errors import InvalidRankMapError, NamedMapError
from engine.rank_map.document import MAX_BYTES, parse_rank_map
from engine.registry import did_you_mean, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from engine.rank_map.document import RankMap

MAX_NAME = 80
"""Longest name, in characters."""

_FORMAT: Final = "rankscope/named-map/1"
_ID: Final = re.compile(r"[0-9a-f]{16}")
_JOINERS: Final = "\u200c\u200d"  # within words of some scripts, and within emoji
_LOCK_S: Final = 20


@dataclass(frozen=True, slots=True)
class NamedMap:
    """A rank map under a name.

    Attributes:
        id: 16 hexadecimal digits; never changes.
        name: 1 to 80 characters, unlike any other name of the model's maps even when case is ignored.
        created: ISO 8601 time of the first saving, in UTC.
        rank_map: what it decides.
    """

    id: str
    name: str
    created: str
    rank_map: RankMap


@dataclass(frozen=True, slots=True)
class DamagedMap:
    """A file among the named maps that is not what was written, and the sentence that says so."""

    id: str
    error: str


class NamedMaps:
    """The named maps of one model; safe against crashes and other processes.

    Args:
        root: of all named maps.
        model_fingerprint: whose maps these are.
    """

    def __init__(self, root: Path, model_fingerprint: str) -> None:
        self._model = model_fingerprint
        self._folder = root / model_fingerprint

    def ids(self) -> list[str]:
        """Return the id of every file there is, damaged ones included, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.json") if _ID.fullmatch(path.stem))

    def version(self, map_id: str) -> tuple[int, int] | None:
        """Return a value that changes whenever a map's file does; ``None`` if there is no such map."""
        try:
            status = self._path(map_id).stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino

    def all(self) -> list[NamedMap | DamagedMap]:
        """Return every map, by name; damaged files come last and hide no other."""
        found: list[NamedMap | DamagedMap] = []
        for map_id in self.ids():
            try:
                found.append(self.read(map_id))
            except NamedMapError as error:
                if map_id in self:
                    found.append(DamagedMap(map_id, str(error)))
        return sorted(found, key=lambda m: (1, m.id) if isinstance(m, DamagedMap) else (0, _folded(m.name)))

    def __contains__(self, map_id: str) -> bool:
        return _ID.fullmatch(map_id) is not None and self._path(map_id).is_file()

    def read(self, map_id: str) -> NamedMap:
        """Return a map by its id.

        Raises:
            NamedMapError: there is none, or its file is damaged.
        """
        try:
            with self._path(map_id).open("rb") as file:
                return _decoded(map_id, file.read(2 * MAX_BYTES))
        except FileNotFoundError:
            raise NamedMapError(
                f"There is no saved map with the id {map_id} for this model; it may have been deleted."
            ) from None
        except OSError as error:
            raise NamedMapError(f"The saved map {map_id} cannot be read ({error.strerror}).") from error

    def find(self, name_or_id: str) -> NamedMap:
        """Return a map by its name, in any case and with spaces around it, or by its id.

        Raises:
            NamedMapError: there is none; the message lists the names.
        """
        there = [m for m in self.all() if isinstance(m, NamedMap)]
        for found in there:
            if _folded(found.name) == _folded(name_or_id.strip()):
                return found
        if name_or_id in self:
            return self.read(name_or_id)
        names = [m.name for m in there]
        listed = ", ".join(shown(n) for n in names[:20]) + (", …" if len(names) > 20 else "")
        raise NamedMapError(
            f"There is no saved map {shown(name_or_id)} for this model{did_you_mean(name_or_id, names)}; "
            f"the saved maps are: {listed or 'none yet'}."
        )

    def save(self, name: str, rank_map: RankMap, *, overwrite: bool = False) -> NamedMap:
        """Keep a rank map under a name.

        Args:
            name: surrounding spaces are dropped.
            rank_map: for this model.
            overwrite: whether a map of this name takes the new content; it keeps its id and its time.

        Raises:
            NamedMapError: the name cannot be used or is taken, or the folder cannot be written.
            InvalidRankMapError: the map is for another model.
        """
        name = checked_name(name)
        with self._writing():
            taken = self._named(name)
            if taken is not None and not overwrite:
                raise _is_taken(taken)
            new = self._new(name, rank_map)
            new = new if taken is None else replace(new, id=taken.id, created=taken.created)
            self._write(new)
        return new

    def save_as_new(self, name: str, rank_map: RankMap) -> NamedMap:
        """Keep a rank map under a name, or under the first of ``name 2``, ``name 3``, … that is free.

        Raises:
            NamedMapError: the name cannot be used, or the folder cannot be written.
            InvalidRankMapError: the map is for another model.
        """
        name = checked_name(name)
        with self._writing():
            new = self._new(self._free(name), rank_map)
            self._write(new)
        return new

    def rename(self, map_id: str, name: str) -> NamedMap:
        """Give a map another name.

        Raises:
            NamedMapError: there is no such map, or the name cannot be used or is taken.
        """
        name = checked_name(name)
        with self._writing():
            found = self.read(map_id)
            taken = self._named(name)
            if taken is not None and taken.id != map_id:
                raise _is_taken(taken)
            renamed = replace(found, name=name)
            self._write(renamed)
        return renamed

    def duplicate(self, map_id: str, name: str | None = None) -> NamedMap:
        """Keep a second map of the same content, called ``name`` or by the next number.

        Raises:
            NamedMapError: there is no such map, or the name cannot be used or is taken.
        """
        found = self.read(map_id)
        return self.save_as_new(found.name, found.rank_map) if name is None else self.save(name, found.rank_map)

    def delete(self, map_id: str) -> None:
        """Remove a map, damaged or not.

        Raises:
            NamedMapError: there is none.
        """
        with self._writing():
            try:
                self._path(map_id).unlink()
            except FileNotFoundError:
                raise NamedMapError(f"There is no saved map with the id {map_id}; it is deleted already.") from None

    def _path(self, map_id: str) -> Path:
        if not _ID.fullmatch(map_id):
            raise NamedMapError(f"{shown(map_id)} is no id of a saved map; expected 16 hexadecimal digits.")
        return self._folder / f"{map_id}.json"

    def _named(self, name: str) -> NamedMap | None:
        fitting = (m for m in self.all() if isinstance(m, NamedMap) and _folded(m.name) == _folded(name))
        return next(fitting, None)

    def _free(self, name: str) -> str:
        taken = {_folded(m.name) for m in self.all() if isinstance(m, NamedMap)}
        stem, number = re.sub(r" \d{1,6}$", "", name), 2
        while _folded(name) in taken:
            name = f"{stem[: MAX_NAME - 7].rstrip()} {number}"
            number += 1
        return name

    def _new(self, name: str, rank_map: RankMap) -> NamedMap:
        if rank_map.model_fingerprint != self._model:
            raise InvalidRankMapError(
                f"The rank map is for the model {shown(rank_map.model_name)} ({rank_map.model_fingerprint[:12]}), but "
                f"it was to be saved for {self._model[:12]}; open that model."
            )
        return NamedMap(secrets.token_hex(8), name, datetime.now(UTC).isoformat(timespec="seconds"), rank_map)

    def _write(self, named: NamedMap) -> None:
        write_in_one_step(self._path(named.id), _encoded(named))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the folder's lock; remove what killed writers left."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / ".lock", timeout=_LOCK_S):
                for left in self._folder.glob(f"*{PARTIAL_SUFFIX}"):
                    left.unlink(missing_ok=True)
                yield
        except Timeout:
            raise NamedMapError(
                f"Another process has been writing saved maps for {_LOCK_S} s; try again when it is done."
            ) from None
        except OSError as error:
            raise NamedMapError(
                f"The saved maps in {self._folder} cannot be written ({error.strerror}); check its permissions and "
                "the free disk space."
            ) from error


def checked_name(name: str) -> str:
    """Return a name without surrounding spaces, in Unicode's composed form.

    Raises:
        NamedMapError: it is empty, too long, or holds characters that cannot be seen.
    """
    plain = unicodedata.normalize("NFC", name.strip())
    if not 1 <= len(plain) <= MAX_NAME:
        given = f"has {len(plain)} characters" if plain else "is empty"
        raise NamedMapError(f"The name {given}; expected 1 to {MAX_NAME} characters.")
    for character in plain:
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and character not in _JOINERS:
            raise NamedMapError(
                f"The name {shown(plain)} holds the control character U+{ord(character):04X}; leave it out."
            )
    return plain


def _folded(name: str) -> str:
    """Return what equal names share: case and compatible forms of a character make no difference."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name.strip()).casefold())


def _is_taken(by: NamedMap) -> NamedMapError:
    return NamedMapError(
        f"There is a saved map {shown(by.name)} already (case makes no difference); choose another name, or rename "
        "or delete that one."
    )


def _encoded(named: NamedMap) -> bytes:
    body = {
        "format": _FORMAT,
        "id": named.id,
        "name": named.name,
        "created": named.created,
        "rank_map": json.loads(named.rank_map.to_json()),
    }
    return canonical_json(body | {"sha256": fingerprint_bytes(canonical_json(body))})


def _decoded(map_id: str, content: bytes) -> NamedMap:
    damage = NamedMapError(
        f"The file of the saved map {map_id} is damaged: it is not what was written; delete the map and save it again."
    )
    try:
        document: dict[str, Any] = json.loads(content)
        claimed = document.pop("sha256")
        intact = claimed == fingerprint_bytes(canonical_json(document)) and document["id"] == map_id
        if not intact or document["format"] != _FORMAT:
            raise damage
        rank_map = parse_rank_map(canonical_json(document["rank_map"]))
        return NamedMap(map_id, document["name"], document["created"], rank_map)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, InvalidRankMapError) as error:
        raise damage from error
