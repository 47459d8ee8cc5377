"""Whatever happens to an artifact's files afterwards, the reader is told which artifact and what to do."""

import hashlib
import os
import random
import shutil
from pathlib import Path

import pytest

from cache import (
    DamagedArtifactError,
    DirectoryStore,
    Key,
    MissingArtifactError,
    NewerArtifactError,
    read_stage,
    unreadable,
)
from tests.support.later_version import written_by_a_later_version

KEY = Key("spectrum", "ab" * 32)
INTACT = Key("spectrum", "cd" * 32)
CONTENTS = {"large": random.Random(0).randbytes(3_000_000), "small": b"0123456789", "empty": b""}


@pytest.fixture
def store(tmp_path) -> DirectoryStore:
    store = DirectoryStore(tmp_path)
    for key in (KEY, INTACT):
        with store.writing(key, {"model": "tiny"}) as folder:
            for name, content in CONTENTS.items():
                (folder / name).write_bytes(content)
    return store


def folder_of(store: DirectoryStore) -> Path:
    return store.root / KEY.stage / KEY.fingerprint


def change(path: Path, content: bytes) -> None:
    """Replace a file's content as a later writer would: its time of change moves on."""
    later_ns = path.stat().st_mtime_ns + 1_000_000_000
    path.write_bytes(content)
    os.utime(path, ns=(later_ns, later_ns))


def flip(content: bytes, bit: int) -> bytes:
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << (bit % 8)
    return bytes(flipped)


def check_told(store: DirectoryStore, reason: str) -> None:
    with pytest.raises(DamagedArtifactError, match=reason) as caught:
        store.read(KEY).verify()
    assert str(KEY) in str(caught.value)
    assert "rankscope cache prune --damaged" in str(caught.value)
    assert [(key, str(error)) for key, error in unreadable(store)] == [(KEY, str(caught.value))]
    assert KEY in store
    assert sorted(store.keys()) == [KEY, INTACT]


def test_every_single_bit_of_a_small_member(store):
    path = folder_of(store) / "small"
    for bit in range(8 * len(CONTENTS["small"])):
        change(path, flip(CONTENTS["small"], bit))
        with pytest.raises(DamagedArtifactError, match="content of its member 'small'"):
            store.read(KEY).path("small")
    check_told(store, "content of its member 'small'")


@pytest.mark.parametrize("bit", [0, 8 * 1_500_000 + 3, 8 * 3_000_000 - 1])
def test_a_bit_of_a_large_member(store, bit):
    change(folder_of(store) / "large", flip(CONTENTS["large"], bit))
    check_told(store, "content of its member 'large'")
    assert store.read(KEY).path("small").read_bytes() == CONTENTS["small"]


def test_every_single_bit_of_the_manifest(store):
    path = folder_of(store) / "manifest.json"
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        path.write_bytes(flip(content, bit))
        with pytest.raises(DamagedArtifactError, match="its manifest is not the one that was written"):
            store.read(KEY)
    check_told(store, "its manifest")
    path.write_bytes(content)
    store.read(KEY).verify()


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"[]", b"{" * 100_000, b"\xff", b'{"sha256":1}'])
def test_a_manifest_that_is_something_else(store, content):
    (folder_of(store) / "manifest.json").write_bytes(content)
    check_told(store, "its manifest is not the one that was written")


def test_a_manifest_in_another_spelling(store):
    path = folder_of(store) / "manifest.json"
    path.write_bytes(path.read_bytes() + b"\n")
    check_told(store, "its manifest is not the one that was written")


def test_every_shorter_manifest(store):
    path = folder_of(store) / "manifest.json"
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedArtifactError):
            store.read(KEY)


def test_an_artifact_under_another_key(store):
    shutil.rmtree(folder_of(store))
    shutil.copytree(store.root / INTACT.stage / INTACT.fingerprint, folder_of(store))
    check_told(store, f"its manifest is that of {INTACT}")


@pytest.mark.parametrize("length", [0, 1, 2_999_999])
def test_a_truncated_member(store, length):
    change(folder_of(store) / "large", CONTENTS["large"][:length])
    check_told(store, f"its member 'large' has {length:,} bytes, 3,000,000 were written")


def test_a_grown_member(store):
    change(folder_of(store) / "empty", b"x")
    check_told(store, "its member 'empty' has 1 bytes, 0 were written")


@pytest.mark.parametrize("member", CONTENTS)
def test_a_missing_member(store, member):
    (folder_of(store) / member).unlink()
    check_told(store, f"its member '{member}' is missing")


def test_a_member_that_goes_missing_after_the_artifact_was_opened(store):
    artifact = store.read(KEY)
    artifact.path("small")
    (folder_of(store) / "small").unlink()
    for read in (lambda: artifact.path("small"), artifact.verify):
        with pytest.raises(DamagedArtifactError, match="its member 'small' is missing"):
            read()


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("small")])
def test_something_added(store, make):
    artifact = store.read(KEY)
    make(folder_of(store) / "added")
    check_told(store, "'added' was added to it")
    with pytest.raises(DamagedArtifactError, match="'added' was added to it"):
        artifact.verify()


def test_a_member_replaced_by_a_link_of_the_same_size(store, tmp_path):
    path = folder_of(store) / "small"
    path.unlink()
    path.symlink_to("./././all.")
    assert path.lstat().st_size == len(CONTENTS["small"])
    check_told(store, "its member 'small' is not a regular file")


def test_without_its_manifest_an_artifact_is_not_there(store):
    (folder_of(store) / "manifest.json").unlink()
    assert KEY not in store
    assert store.keys() == [INTACT]
    assert unreadable(store) == []
    with pytest.raises(MissingArtifactError, match=f"no artifact {KEY}. Compute it again"):
        store.read(KEY)


def test_what_is_left_without_a_manifest_makes_room_for_a_new_artifact(store):
    (folder_of(store) / "manifest.json").unlink()
    with store.writing(KEY, {}) as folder:
        (folder / "member").write_bytes(b"new")
    store.read(KEY).verify()
    assert list(store.read(KEY).manifest.members) == ["member"]
    assert list((store.root / ".partial").iterdir()) == []


def test_what_is_left_without_a_manifest_can_be_deleted(store):
    (folder_of(store) / "manifest.json").unlink()
    store.delete(KEY)
    assert not folder_of(store).exists()


@pytest.mark.parametrize("victim", ["manifest.json", "small"])
def test_a_damaged_artifact_can_be_deleted_and_written_again(store, victim):
    change(folder_of(store) / victim, b"damaged")
    ((key, _),) = unreadable(store)
    store.delete(key)
    assert unreadable(store) == []
    with store.writing(KEY, {}) as folder:
        (folder / "member").write_bytes(b"new")
    store.read(KEY).verify()


def test_a_file_is_hashed_once_however_often_it_is_read(store, monkeypatch):
    n_hashed = 0
    real = hashlib.file_digest

    def counted(*arguments):
        nonlocal n_hashed
        n_hashed += 1
        return real(*arguments)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    for _ in range(3):
        DirectoryStore(store.root).read(KEY).path("large")
    assert n_hashed == 1
    change(folder_of(store) / "large", CONTENTS["large"])
    store.read(KEY).path("large")
    assert n_hashed == 2


def test_opening_and_listing_hash_nothing(store, monkeypatch):
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("a member was hashed"))
    assert store.keys() == [KEY, INTACT]
    assert store.read(KEY).manifest.size_bytes == sum(map(len, CONTENTS.values()))


def test_what_a_later_version_wrote_is_not_called_damaged(store):
    written_by_a_later_version(folder_of(store))
    with pytest.raises(NewerArtifactError, match=r"format 2, this one reads format 1\): update RankScope") as caught:
        store.read(KEY)
    assert "prune" not in str(caught.value)
    assert [(key, type(error)) for key, error in unreadable(store)] == [(KEY, NewerArtifactError)]


def spoil_size(folder):
    with (folder / "small").open("ab") as member:
        member.write(b"x")


def spoil_content(folder):
    change(folder / "small", flip(CONTENTS["small"], 3))


@pytest.mark.parametrize("spoil", [spoil_size, spoil_content, written_by_a_later_version])
def test_one_that_cannot_be_read_hides_no_other_of_its_stage(store, spoil):
    spoil(folder_of(store))
    values, errors = read_stage(store, KEY.stage, lambda artifact: artifact.path("small").read_bytes())
    assert values == [CONTENTS["small"]]
    (reason,) = errors
    assert str(KEY) in str(reason)
    assert read_stage(store, KEY.stage, lambda artifact: None)[0] == []
    assert read_stage(store, "other", lambda artifact: artifact) == ([], [])


def test_one_that_is_deleted_while_it_is_read_is_left_out(store):
    def read(artifact):
        if artifact.key == KEY:
            store.delete(KEY)
        return artifact.path("small").name

    assert read_stage(store, KEY.stage, read) == (["small"], [])
