"""Malformed rank maps, tables, held ranks, texts and archives."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from tests.campaign.cases import Case
from tests.campaign.ground import ANALYSE, ARCHIVE, FAST
from tests.campaign.mutating import DOCUMENTS, WRONG, change_file, mutated, mutations, places, wrong_contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.campaign.ground import Ground
    from tests.campaign.mutating import Change, Place

GOOD = json.dumps({"text": "The river runs to the sea, and the sea is not full. " * 40}).encode() + b"\n"
LINES = {
    "null": b"null",
    "a number": b"7",
    "a list": b"[1, 2]",
    "text": b'"x"',
    "an empty object": b"{}",
    "blank": b"",
    "cut": b'{"text": "x',
    "nested lists": b"[" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "not UTF-8": b'{"text": "\xff"}',
    "zeros": bytes(100),
    "text null": b'{"text": null}',
    "text a number": b'{"text": 7}',
    "text a list": b'{"text": ["x"]}',
    "text an object": b'{"text": {"x": 1}}',
    "messages": b'{"text": [{"role": "user", "content": "x"}]}',
    "messages without content": b'{"text": [{"role": "user"}]}',
    "messages of null": b'{"text": [null]}',
    "messages of numbers": b'{"text": [{"role": 1, "content": 2}]}',
    "another key": b'{"body": "x"}',
    "another type later": b'{"text": "x", "n": 1}\n{"text": "y", "n": "z"}',
    "a lone surrogate": b'{"text": "\\ud800"}',
    "NaN": b'{"text": NaN}',
    "a long number": b'{"text": "x", "n": ' + b"9" * 6000 + b"}",
    "a key twice": b'{"text": "x", "text": 1}',
    "only spaces": b'{"text": "   "}',
    "special tokens": b'{"text": "<eos><eos><eos>"}',
    "a long line": b'{"text": "' + b"x" * 3_000_000 + b'"}',
    "a BOM": b'\xef\xbb\xbf{"text": "x"}',
    "carriage returns": b'{"text": "x"}\r{"text": "y"}\r',
    "two on a line": b'{"text": "x"} {"text": "y"}',
    "a null inside": b'{"text": "x\\u0000y"}',
    "an empty key": b'{"": "x"}',
    "a date": b'{"text": "2020-01-01T00:00:00Z"}',
}

CELLS = (b"", b"x", b"-1", b"1.5", b"1e9", b"9" * 5000, b"nan", b'"', b"=1+1", b"\xff", b"\n", b"a,b")


def cases(ground: Ground) -> Iterator[Case]:
    """Yield every malformed file with a command that reads it."""
    yield from _maps(ground)
    yield from _tables(ground)
    yield from _texts(ground)
    yield from _archives(ground)


def _changed(ground: Ground, good: str, name: str, change: Change) -> None:
    shutil.copy(ground.folder / good, ground.folder / name)
    change_file(ground.folder / name, change)


def _written(ground: Ground, name: str, content: bytes) -> None:
    (ground.folder / name).write_bytes(content)


def _maps(ground: Ground) -> Iterator[Case]:
    readers = {
        "map": ("report", ground.analysis, "wrong.json", "out.html"),
        "imported map": ("maps", "import", ground.analysis, "wrong.json"),
        "held ranks": ("allocate", ground.analysis, "--keep", "0.7", "--lock", "wrong.json", "--out", "out.json"),
    }
    document = json.loads((ground.folder / "map.json").read_bytes())
    for name, change in (wrong_contents() | mutations(document)).items():
        for reader, words in readers.items():
            prepare = partial(_changed, good="map.json", name="wrong.json", change=change)
            yield Case(f"{reader}: {name}", words, prepare)


def _tables(ground: Ground) -> Iterator[Case]:
    words = ("maps", "import", ground.analysis, "wrong.csv")
    rows = [line.split(b",") for line in (ground.folder / "table.csv").read_bytes().splitlines()]
    wrong = wrong_contents() | {"semicolons": lambda content: content.replace(b",", b";")}
    for row, column, value in product((0, 1, len(rows) // 2, len(rows) - 1), range(len(rows[0])), CELLS):
        changed = [list(cells) for cells in rows]
        changed[row][column] = value
        content = b"\n".join(b",".join(cells) for cells in changed)
        wrong[f"{(row, column)} {value[:20]!r}"] = lambda _, content=content: content
    for name, change in wrong.items():
        prepare = partial(_changed, good="table.csv", name="wrong.csv", change=change)
        yield Case(f"table: {name}", words, prepare)


def _texts(ground: Ground) -> Iterator[Case]:
    contents = {f"all {name}": (line + b"\n") * 20 for name, line in LINES.items()}
    contents |= {f"first {name}": line + b"\n" + GOOD * 20 for name, line in LINES.items()}
    contents |= {f"later {name}": GOOD * 20 + line + b"\n" + GOOD * 20 for name, line in LINES.items()}
    contents |= {f"document {name}": content for name, content in DOCUMENTS.items()}
    evaluate = ("evaluate", ground.analysis, "map.json", *FAST)
    for name, content in contents.items():
        for ending in ("jsonl", "txt"):
            write = partial(_written, name=f"wrong.{ending}", content=content)
            words = (*ANALYSE[:2], "--text", f"wrong.{ending}", *FAST)
            yield Case(f"text: {ending} {name}", words, write)
        write = partial(_written, name="wrong.jsonl", content=content)
        yield Case(f"evaluated text: {name}", (*evaluate, "--text", "wrong.jsonl"), write)
        prompt = ("generate", ground.analysis, "--max-new-tokens", "2", "--prompt-file", "wrong.jsonl")
        yield Case(f"prompt: {name}", prompt, write)


def _archives(ground: Ground) -> Iterator[Case]:
    """Yield archives whose bytes, or whose description of the first and the last artifact, are wrong."""
    with tarfile.open(ground.folder / ARCHIVE) as archive:
        entries = [(entry.name, archive.extractfile(entry).read()) for entry in archive]  # type: ignore[union-attr]
    wrong = wrong_contents()
    for what, described in _descriptions(json.loads(entries[0][1])):
        wrong[what] = partial(_redescribed, entries=entries, described=described)
    for what, change in wrong.items():
        yield Case(f"archive: {what}", ("analysis", "import", "wrong.tar"), partial(_arrived, change=change))


def _descriptions(index: dict[str, Any]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    for name, value in product(index, WRONG):
        yield f"{name} {value!r}", partial(mutated, index, (name,), value)

    def with_manifest(number: int, manifest: object, place: Place, value: object) -> bytes:
        return mutated(index, ("manifests", number), mutated(manifest, place, value).decode())

    for number in (0, len(index["manifests"]) - 1):
        manifest = json.loads(index["manifests"][number])
        for place, value in product(places(manifest), WRONG):
            yield f"artifact {number} {place} {value!r}", partial(with_manifest, number, manifest, place, value)


def _redescribed(_: bytes, entries: list[tuple[str, bytes]], described: Callable[[], bytes]) -> bytes:
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in ((entries[0][0], described()), *entries[1:]):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return into.getvalue()


def _arrived(ground: Ground, change: Change) -> None:
    """Put a wrong archive where its analysis is not known."""
    _changed(ground, ARCHIVE, "wrong.tar", change)
    shutil.rmtree(ground.home / "artifacts")
