"""What every store promises, checked once for each."""

import gc
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from cache import (
    DamagedArtifactError,
    DirectoryStore,
    InvalidKeyError,
    Key,
    Member,
    MemoryStore,
    MissingArtifactError,
    Store,
    StoreError,
    fingerprint_bytes,
    unreadable,
    write_arrays,
    write_json,
)

KEY = Key("spectrum", "ab" * 32)
OTHER = Key("spectrum", "0" * 64)
EARLIER = Key("calibration", "f" * 64)


@pytest.fixture(params=["directory", "memory"])
def store(request, tmp_path) -> Store:
    return DirectoryStore(tmp_path / "artifacts") if request.param == "directory" else MemoryStore()


def write(store: Store, key: Key = KEY, content: bytes = b"content", **about: object) -> None:
    with store.writing(key, about) as folder:
        (folder / "member").write_bytes(content)


def fill(store: Store, filling: Callable[[Path], object]) -> None:
    with store.writing(KEY, {}) as folder:
        filling(folder)


class TestStore:
    def test_what_is_written_is_read(self, store):
        singular_values = np.linspace(0, 1, 12).reshape(3, 4)
        with store.writing(KEY, {}) as folder:
            assert list(folder.iterdir()) == []
            write_arrays(folder / "values.safetensors", {"singular_values": singular_values})
            write_json(folder / "shape.json", {"rows": 3, "columns": 4})
            (folder / "text").write_bytes(b"abc")
        artifact = store.read(KEY)
        artifact.verify()
        assert artifact.key == KEY
        assert np.array_equal(artifact.arrays("values.safetensors")["singular_values"], singular_values)
        assert artifact.json("shape.json") == {"rows": 3, "columns": 4}
        assert artifact.path("text").read_bytes() == b"abc"

    def test_the_folder_holds_the_members_and_the_manifest(self, store):
        write(store)
        folder = store.read(KEY).folder
        assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "member"]
        assert store.read(KEY).path("member").parent == folder

    def test_the_manifest_describes_the_members(self, store):
        with store.writing(KEY, {}) as folder:
            (folder / "b").write_bytes(b"12")
            (folder / "a").write_bytes(b"345")
        manifest = store.read(KEY).manifest
        assert dict(manifest.members) == {
            "a": Member(3, fingerprint_bytes(b"345")),
            "b": Member(2, fingerprint_bytes(b"12")),
        }
        assert list(manifest.members) == ["a", "b"]
        assert manifest.size_bytes == 5

    def test_created_is_now_in_utc(self, store):
        write(store)
        created = datetime.fromisoformat(store.read(KEY).manifest.created)
        assert created.utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)

    def test_about_comes_back_as_json(self, store):
        write(store, model="Größe 🙂", sizes=(1, 2.5), nested={"flag": True, "none": None})
        assert store.read(KEY).manifest.about == {
            "model": "Größe 🙂",
            "sizes": [1, 2.5],
            "nested": {"flag": True, "none": None},
        }

    @pytest.mark.parametrize("about", [{"x": float("nan")}, {"x": Path()}, {1: "x"}, [1], None, {"x": "\ud800"}])
    def test_about_that_is_not_json_is_refused_before_the_work(self, store, about):
        with pytest.raises((TypeError, ValueError)), store.writing(KEY, about):
            pytest.fail("the work began")
        assert store.keys() == []

    def test_the_first_writer_wins(self, store):
        write(store, content=b"first", writer=1)
        write(store, content=b"second", writer=2)
        artifact = store.read(KEY)
        assert artifact.path("member").read_bytes() == b"first"
        assert artifact.manifest.about == {"writer": 1}

    def test_the_first_to_finish_wins_when_writers_overlap(self, store):
        with store.writing(KEY, {}) as outer:
            (outer / "member").write_bytes(b"late")
            write(store, content=b"early")
        assert store.read(KEY).path("member").read_bytes() == b"early"
        assert not outer.exists()

    def test_many_threads_write_one_artifact(self, store):
        barrier = Barrier(8)

        def write_together(number: int) -> None:
            with store.writing(KEY, {"number": number}) as folder:
                (folder / "member").write_text(str(number))
                barrier.wait()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write_together, range(8)))
        assert store.keys() == [KEY]
        artifact = store.read(KEY)
        artifact.verify()
        assert artifact.path("member").read_text() == str(artifact.manifest.about["number"])

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
    def test_an_exception_discards_everything(self, store, error):
        folders = []

        def fail(folder):
            folders.append(folder)
            (folder / "member").write_bytes(b"half")
            raise error

        with pytest.raises(error):
            fill(store, fail)
        assert not folders[0].exists()
        assert KEY not in store
        assert store.keys() == []
        write(store)
        assert KEY in store

    def test_an_artifact_is_not_there_while_it_is_written(self, store):
        with store.writing(KEY, {}) as folder:
            (folder / "member").write_bytes(b"half")
            assert KEY not in store
            assert store.keys() == []
            with pytest.raises(MissingArtifactError):
                store.read(KEY)
        assert KEY in store

    def test_members_may_be_empty_and_so_may_artifacts(self, store):
        write(store, content=b"")
        with store.writing(OTHER, {}):
            pass
        assert store.read(KEY).path("member").read_bytes() == b""
        assert store.read(OTHER).manifest.members == {}
        assert store.read(OTHER).manifest.size_bytes == 0
        assert unreadable(store) == []

    def test_an_unknown_member_is_named_beside_those_there_are(self, store):
        write(store)
        with pytest.raises(StoreError, match="has no member 'membre'; it holds member") as caught:
            store.read(KEY).path("membre")
        assert str(KEY) in str(caught.value)

    @pytest.mark.parametrize("member", ["", ".", "..", "../member", "/etc/passwd", "manifest.json", "x\0"])
    def test_only_members_can_be_asked_for(self, store, member):
        write(store)
        with pytest.raises(StoreError, match="has no member"):
            store.read(KEY).path(member)

    def test_a_sub_folder_is_refused(self, store):
        with pytest.raises(StoreError, match=r"'deep' is not a regular file.*root only"):
            fill(store, lambda folder: (folder / "deep").mkdir())
        assert KEY not in store

    def test_a_link_is_refused(self, store):
        with pytest.raises(StoreError, match="'link' is not a regular file"):
            fill(store, lambda folder: (folder / "link").symlink_to(__file__))
        assert KEY not in store

    @pytest.mark.parametrize("name", ["manifest.json", "line\nbreak", "\udcff"])
    def test_a_name_that_cannot_be_a_member_is_refused(self, store, name):
        with pytest.raises(StoreError, match="cannot be called"), store.writing(KEY, {}) as folder:
            (folder / name).touch()
        assert KEY not in store

    def test_keys_are_sorted_and_can_be_limited_to_a_stage(self, store):
        for key in (KEY, OTHER, EARLIER):
            write(store, key)
        assert store.keys() == [EARLIER, OTHER, KEY]
        assert store.keys("spectrum") == [OTHER, KEY]
        assert store.keys("perplexity") == []
        with pytest.raises(InvalidKeyError):
            store.keys("../spectrum")

    def test_an_empty_store(self, store):
        assert store.keys() == []
        assert store.keys("spectrum") == []
        assert KEY not in store
        assert unreadable(store) == []

    def test_a_missing_artifact_is_named_with_what_to_do(self, store):
        with pytest.raises(MissingArtifactError, match=f"no artifact {KEY}.*rankscope cache list"):
            store.read(KEY)

    def test_a_deleted_artifact_is_gone_and_can_be_written_again(self, store):
        write(store, content=b"old")
        write(store, OTHER)
        old = store.read(KEY)
        old.path("member")
        store.delete(KEY)
        assert KEY not in store
        assert store.keys() == [OTHER]
        for read in (
            lambda: store.read(KEY),
            lambda: old.path("member"),
            old.verify,
            lambda: store.delete(KEY),
        ):
            with pytest.raises(MissingArtifactError):
                read()
        write(store, content=b"new")
        assert store.read(KEY).path("member").read_bytes() == b"new"

    def test_a_changed_member_is_noticed_even_when_it_has_been_read_before(self, store):
        write(store)
        artifact = store.read(KEY)
        path = artifact.path("member")
        changed_at_ns = path.stat().st_mtime_ns + 1_000_000_000
        path.write_bytes(b"contemt")
        os.utime(path, ns=(changed_at_ns, changed_at_ns))
        with pytest.raises(DamagedArtifactError, match="content of its member 'member'"):
            artifact.path("member")
        assert [key for key, _ in unreadable(store)] == [KEY]


def test_the_files_of_a_memory_store_end_with_it():
    store = MemoryStore()
    write(store)
    folder = store.read(KEY).folder
    assert folder.is_dir()
    del store
    gc.collect()
    assert not folder.exists()


def test_a_memory_store_writes_no_files_until_they_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = MemoryStore()
    write(store)
    artifact = store.read(KEY)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert artifact.path("member").is_relative_to(tmp_path)


def test_a_directory_store_can_be_moved_and_knows_no_absolute_path(tmp_path):
    write(DirectoryStore(tmp_path / "here"))
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = DirectoryStore(tmp_path / "there")
    moved.read(KEY).verify()
    for path in (tmp_path / "there").rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes()


def test_a_directory_store_keeps_the_documented_layout(tmp_path):
    write(DirectoryStore(tmp_path))
    files = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    folder = Path(KEY.stage) / KEY.fingerprint
    assert sorted(files) == [folder / "manifest.json", folder / "member"]


def test_a_directory_store_ignores_what_is_not_an_artifact(tmp_path):
    store = DirectoryStore(tmp_path)
    write(store)
    for stranger in ("Spectrum/" + "0" * 64, "spectrum/short", "spectrum/" + "F" * 64, ".partial/x"):
        (tmp_path / stranger).mkdir(parents=True)
        (tmp_path / stranger / "manifest.json").write_text("{}")
    (tmp_path / "notes.txt").touch()
    assert store.keys() == [KEY]


def test_a_relative_root_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = DirectoryStore(Path("artifacts"))
    write(store)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert store.keys() == [KEY]
