"""Artifacts in one file: what comes out is what went in, and of anything else nothing is taken over."""

import io
import json
import os
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cache import (
    Artifact,
    DamagedArtifactError,
    DirectoryStore,
    Key,
    MissingArtifactError,
    NotPortableError,
    canonical_json,
    export_artifacts,
    fingerprint_bytes,
    import_artifacts,
)

FIRST, LAST = Key("factors", "ab" * 32), Key("analysis", "cd" * 32)
CONTENTS = {"large.bin": os.urandom(3_000_000), "empty": b"", "ünïcode name": b"0123456789"}

Entry = tuple[tarfile.TarInfo, bytes]


def accept(artifacts: object) -> None:
    """Refuse nothing."""


@pytest.fixture
def source(tmp_path: Path) -> DirectoryStore:
    store = DirectoryStore(tmp_path / "source")
    for key in (FIRST, LAST):
        with store.writing(key, {"of": str(key)}) as folder:
            for name, content in CONTENTS.items():
                (folder / name).write_bytes(content)
    return store


@pytest.fixture
def archive(source: DirectoryStore, tmp_path: Path) -> Path:
    file = tmp_path / "artifacts.tar"
    assert export_artifacts(source, [FIRST, LAST], file) == file.stat().st_size
    return file


@pytest.fixture
def target(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "target")


def entries(archive: Path) -> list[Entry]:
    with tarfile.open(archive) as tar:
        return [(entry, tar.extractfile(entry).read()) for entry in tar]


def rewrite(archive: Path, made: list[Entry]) -> None:
    with tarfile.open(archive, "w") as tar:
        for entry, content in made:
            tar.addfile(entry, io.BytesIO(content))


def entry(name: str, content: bytes = b"", **attributes: object) -> Entry:
    made = tarfile.TarInfo(name)
    made.size = len(content)
    for attribute, value in attributes.items():
        setattr(made, attribute, value)
    return made, content


def change_index(change: Callable[[list[dict]], object]) -> Callable[[list[Entry]], list[Entry]]:
    """Return a change of the manifests, whose own hashes are then those of what they say, as a forger would do it."""

    def changed(made: list[Entry]) -> list[Entry]:
        index = json.loads(made[0][1])
        manifests = [json.loads(text) for text in index["manifests"]]
        change(manifests)
        for manifest in manifests:
            manifest.pop("sha256")
            manifest["sha256"] = fingerprint_bytes(canonical_json(manifest))
        index["manifests"] = [canonical_json(manifest).decode() for manifest in manifests]
        return [entry("artifacts.json", canonical_json(index)), *made[1:]]

    return changed


def rename_member(to: str) -> Callable[[list[Entry]], list[Entry]]:
    """Return a change that calls a member otherwise, in its manifest and in the archive."""

    def change(manifests: list[dict]) -> None:
        manifests[0]["members"][to] = manifests[0]["members"].pop("empty")

    def changed(made: list[Entry]) -> list[Entry]:
        renamed = change_index(change)(made)
        return [
            entry(f"{FIRST}/{to}", content) if e.name == f"{FIRST}/empty" else (e, content) for e, content in renamed
        ]

    return changed


def test_what_comes_out_is_what_went_in(archive: Path, source: DirectoryStore, target: DirectoryStore) -> None:
    shown = []
    imported = import_artifacts(target, archive, shown.extend)
    assert [artifact.key for artifact in shown] == [FIRST, LAST]
    assert (imported.added, imported.known) == ((FIRST, LAST), ())
    assert imported.size_bytes == 2 * sum(map(len, CONTENTS.values()))
    for key in (FIRST, LAST):
        assert target.read(key).manifest == source.read(key).manifest
        target.read(key).verify()
    assert not list((target.root / ".partial").iterdir())


def test_equal_artifacts_make_equal_files(archive: Path, source: DirectoryStore, tmp_path: Path) -> None:
    export_artifacts(source, [FIRST, LAST], tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_what_is_there_stays_as_it_is(archive: Path, target: DirectoryStore) -> None:
    import_artifacts(target, archive, accept)
    before = {path: path.stat().st_mtime_ns for path in target.root.rglob("*") if path.is_file()}
    again = import_artifacts(target, archive, accept)
    assert (again.added, again.known, again.size_bytes) == ((), (FIRST, LAST), 0)
    assert {path: path.stat().st_mtime_ns for path in target.root.rglob("*") if path.is_file()} == before
    target.delete(FIRST)
    assert import_artifacts(target, archive, accept).added == (FIRST,)


def test_what_is_damaged_or_missing_is_not_exported(source: DirectoryStore, archive: Path) -> None:
    before = archive.read_bytes()
    (source.root / str(LAST) / "large.bin").write_bytes(os.urandom(3_000_000))
    with pytest.raises(DamagedArtifactError):
        export_artifacts(source, [FIRST, LAST], archive)
    source.delete(LAST)
    with pytest.raises(MissingArtifactError):
        export_artifacts(source, [FIRST, LAST], archive)
    assert archive.read_bytes() == before
    assert {path.name for path in archive.parent.iterdir()} == {"artifacts.tar", "source"}


def test_what_a_killed_export_left_is_removed_by_the_next_one(
    source: DirectoryStore, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = archive.read_bytes()
    if (pid := os.fork()) == 0:
        monkeypatch.setattr("cache.portable.sync", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        export_artifacts(source, [FIRST], archive)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert archive.read_bytes() == before
    assert len(list(archive.parent.iterdir())) == 3
    export_artifacts(source, [FIRST, LAST], archive)
    assert {path.name for path in archive.parent.iterdir()} == {"artifacts.tar", "source"}


def test_what_the_check_refuses_is_not_taken_over(archive: Path, target: DirectoryStore) -> None:
    def refuse(artifacts: list[Artifact]) -> None:
        assert artifacts[1].path("ünïcode name").read_bytes() == b"0123456789"
        raise NotPortableError("No.")

    with pytest.raises(NotPortableError, match=r"No\."):
        import_artifacts(target, archive, refuse)
    assert target.keys() == []


@pytest.mark.parametrize("kept", [0, 100, 512, 3_000, 1_000_000, 3_010_000, 6_000_000])
def test_half_an_archive_is_refused(archive: Path, target: DirectoryStore, kept: int) -> None:
    archive.write_bytes(archive.read_bytes()[:kept])
    with pytest.raises(NotPortableError, match="cannot be imported"):
        import_artifacts(target, archive, accept)
    assert target.keys() == []


@pytest.mark.parametrize("place", [600, 3_000, 1_000_000, 4_000_000])
def test_a_changed_byte_is_noticed(archive: Path, target: DirectoryStore, place: int) -> None:
    content = bytearray(archive.read_bytes())
    content[place] ^= 1
    archive.write_bytes(content)
    with pytest.raises(NotPortableError, match="cannot be imported"):
        import_artifacts(target, archive, accept)
    assert target.keys() == []


def drop(index: int) -> Callable[[list[Entry]], list[Entry]]:
    return lambda made: [*made[:index], *made[index + 1 :]]


def put(name: str, content: bytes = b"", **attributes: object) -> Callable[[list[Entry]], list[Entry]]:
    """Return a change that puts another entry in the place of the first member."""
    return lambda made: [made[0], entry(name, content, **attributes), *made[2:]]


def set_size(size: object) -> Callable[[list[Entry]], list[Entry]]:
    return change_index(lambda manifests: manifests[0]["members"]["empty"].update(size_bytes=size))


FORGERIES = {
    "a member is missing": drop(2),
    "no index": drop(0),
    "another file first": lambda made: [entry("x"), *made],
    "one more file": lambda made: [*made, entry("more", b"x")],
    "members in another order": lambda made: [made[0], made[2], made[1], *made[3:]],
    "a path outside": put("../../outside", b"x"),
    "an absolute path": put("/outside", b"x"),
    "a link": put(f"{FIRST}/empty", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a hard link": put(f"{FIRST}/empty", type=tarfile.LNKTYPE, linkname=f"{FIRST}/large.bin"),
    "a device": put(f"{FIRST}/empty", type=tarfile.CHRTYPE),
    "a folder": put(f"{FIRST}/empty", type=tarfile.DIRTYPE),
    "a sparse file": put(f"{FIRST}/empty", pax_headers={"GNU.sparse.map": "0,0", "GNU.sparse.size": "0"}),
    "a member above its artifact": rename_member("../../outside"),
    "a member with an absolute name": rename_member("/outside"),
    "a member in a folder": rename_member("a/b"),
    "a member called like the folder": rename_member(".."),
    "a member called like the manifest": rename_member("manifest.json"),
    "a member whose name cannot be shown": rename_member("a\nb"),
    "more than any disk holds": set_size(10**18),
    "less than nothing": set_size(-1),
    "a size that is no number": set_size("0"),
    "a hash that is none": change_index(lambda ms: ms[0]["members"]["empty"].update(sha256="../../x")),
    "members that are a list": change_index(lambda ms: ms[0].update(members=[])),
    "a stage that is a path": change_index(lambda ms: ms[0].update(stage="../up")),
    "the same artifact twice": change_index(lambda ms: ms.append(dict(ms[0]))),
    "no artifact": change_index(lambda ms: ms.clear()),
    "no date": change_index(lambda ms: ms[0].update(created="yesterday")),
    "nothing to say about it": change_index(lambda ms: ms[0].update(about=7)),
    "an index that is no object": lambda made: [entry("artifacts.json", b"[" * 100_000), *made[1:]],
    "an index of another kind": lambda made: [entry("artifacts.json", b"[]"), *made[1:]],
    "an index that is a link": lambda made: [entry("artifacts.json", type=tarfile.SYMTYPE, linkname="x"), *made[1:]],
}


@pytest.mark.parametrize("forged", FORGERIES.values(), ids=FORGERIES)
def test_what_no_export_writes_is_refused(
    archive: Path, target: DirectoryStore, forged: Callable[[list[Entry]], list[Entry]]
) -> None:
    around = sorted(archive.parent.rglob("*"))
    rewrite(archive, forged(entries(archive)))
    with pytest.raises(NotPortableError, match="cannot be imported") as refused:
        import_artifacts(target, archive, accept)
    assert "\n" not in str(refused.value)
    assert target.keys() == []
    left = [path for path in sorted(archive.parent.rglob("*")) if path not in around]
    assert {path.relative_to(target.root).parts[:1] for path in left} <= {(), (".partial",)}


def test_an_archive_of_a_later_version_says_so(archive: Path, target: DirectoryStore) -> None:
    made = entries(archive)
    index = {**json.loads(made[0][1]), "format": 2}
    rewrite(archive, [entry("artifacts.json", canonical_json(index)), *made[1:]])
    with pytest.raises(NotPortableError, match="comes from a newer RankScope"):
        import_artifacts(target, archive, accept)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(2000), bytes(10_240), os.urandom(10_240)])
def test_what_is_no_archive_is_refused(archive: Path, target: DirectoryStore, content: bytes) -> None:
    archive.write_bytes(content)
    with pytest.raises(NotPortableError, match="cannot be imported"):
        import_artifacts(target, archive, accept)


def test_a_pipe_that_nobody_writes_to_is_refused(tmp_path: Path, target: DirectoryStore) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotPortableError, match="cannot be imported"):
        import_artifacts(target, tmp_path / "pipe", accept)
