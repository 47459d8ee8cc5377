"""Real processes that write at the same time, and real processes that are killed while they write."""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cache import DirectoryStore, Key, unreadable
from tests.support import store_child
from tests.support.tiers import long_unless

forking = multiprocessing.get_context("forkserver")  # imports once, so that a hundred processes start fast
forking.set_forkserver_preload(["pytest", "tests.support.store_child"])


@pytest.fixture
def start(tmp_path):
    """Start a process that runs a function of store_child, wait until it is ready, end it with the test."""
    children = []

    def start_child(work, *arguments, context=forking):
        ours, theirs = multiprocessing.Pipe()
        child = context.Process(target=work, args=(theirs, tmp_path, *arguments))
        child.start()
        theirs.close()
        children.append((child, ours))
        assert ours.recv() == "ready"
        return child, ours

    yield start_child
    for child, ours in children:
        child.kill()
        child.join()
        ours.close()


def partials(root):
    folder = root / ".partial"
    return sorted(folder.iterdir()) if folder.exists() else []


def check_everything(store):
    """Every listed artifact is complete, and nothing else can be seen beside them."""
    keys = store.keys()
    for key in keys:
        store_child.check_artifact(store.read(key))
    visible = [path for path in store.root.glob("[a-z]*/*") if path.is_dir()]
    assert sorted(f"{path.parent.name}/{path.name}" for path in visible) == [str(key) for key in keys]
    return keys


@pytest.mark.parametrize("seed", long_unless(range(16), {0, 1}))
def test_killed_writers_leave_only_whole_artifacts_and_prunable_folders(start, tmp_path, seed):
    chance = random.Random(seed)
    store = DirectoryStore(tmp_path)
    n_interrupted = 0
    for round_ in range(8):
        seeds = (100 * seed + 2 * round_, 100 * seed + 2 * round_ + 1)
        children = [start(store_child.write_and_delete_forever, child_seed)[0] for child_seed in seeds]
        for child in children:
            child.join(timeout=chance.uniform(0, 0.06))
            assert child.is_alive()
            child.kill()
            child.join()
            assert child.exitcode == -signal.SIGKILL
        assert "kept" in [key.stage for key in check_everything(store)]
        left = partials(tmp_path)
        n_interrupted += len(left)
        left_bytes = sum(path.stat().st_size for folder in left for path in folder.iterdir())
        assert store.prune_partials() == left_bytes
        assert partials(tmp_path) == []
        check_everything(store)
    assert n_interrupted > 0  # otherwise the kills missed what they are for


def test_a_writer_killed_before_any_single_step_leaves_only_whole_artifacts(start, tmp_path):
    store = DirectoryStore(tmp_path)
    seen = []
    for step in range(100):
        child, _ = start(store_child.die_at, step)
        child.join()
        seen.append([key.stage for key in check_everything(store)])
        store.prune_partials()
        assert partials(tmp_path) == []
        if child.exitcode != -signal.SIGKILL:
            break
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
    assert child.exitcode == 0
    assert len(seen) > 15
    assert seen[0] == []
    assert ["one", "two"] in seen
    assert seen[-1] == ["one"]


def test_concurrent_writers_of_one_key_leave_one_whole_artifact(start, tmp_path):
    store = DirectoryStore(tmp_path)
    for round_ in range(8):
        writers = [start(store_child.write_when_told, f"{round_}-{number}") for number in range(4)]
        for _, pipe in writers:
            pipe.send("go")
        for child, _ in writers:
            child.join()
            assert child.exitcode == 0
        (key,) = check_everything(store)
        assert store.read(key).manifest.about["writer"].startswith(f"{round_}-")
        assert partials(tmp_path) == []
        store.delete(key)


def test_the_folder_of_a_living_writer_is_not_pruned(start, tmp_path):
    store = DirectoryStore(tmp_path)
    child, pipe = start(store_child.hold_open)
    with store.writing(Key("two", "1" * 64), {}) as folder:
        assert store.prune_partials() == 0
        assert folder.is_dir()
    assert store.prune_partials() == 0
    pipe.send("go on")
    child.join()
    assert child.exitcode == 0
    assert store.keys() == [Key("one", "0" * 64), Key("two", "1" * 64)]
    assert unreadable(store) == []


def test_a_killed_writer_nobody_has_waited_for_is_dead(start, tmp_path):
    store = DirectoryStore(tmp_path)
    child, _ = start(store_child.hold_open, context=multiprocessing.get_context("spawn"))
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert store.prune_partials() == len(b"held")
    assert partials(tmp_path) == []


def test_a_process_id_given_to_a_new_process_does_not_protect_the_old_ones_folder(tmp_path):
    store = DirectoryStore(tmp_path)
    with store.writing(Key("one", "0" * 64), {}) as folder:
        pid, unique = folder.name.partition("-")[0], folder.name.rpartition("-")[2]
        assert int(pid) == os.getpid()
        abandoned = folder.with_name(f"{pid}-{psutil.Process().create_time() - 60:.2f}-{unique}")
        abandoned.mkdir()
        (abandoned / "member").write_bytes(b"12345")
        (folder.parent / "notes").mkdir()
        assert store.prune_partials() == 5
        assert sorted(path.name for path in folder.parent.iterdir()) == sorted([folder.name, "notes"])


def test_everything_is_on_disk_before_it_can_be_seen(tmp_path, monkeypatch):
    """SIGKILL cannot lose what the kernel holds, a power cut can: watch the order of syncs and the rename."""
    events = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor):
        status = os.fstat(descriptor)
        events.append(("sync", status.st_ino, status.st_size))
        real_fsync(descriptor)

    def rename(source, target):
        inodes = {path.name: (path.stat().st_ino, path.stat().st_size) for path in Path(source).iterdir()}
        events.append(("rename", Path(source).stat().st_ino, inodes))
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    store = DirectoryStore(tmp_path)
    with store.writing(Key("one", "0" * 64), {}) as folder:
        (folder / "a").write_bytes(b"12345")
        (folder / "b").write_bytes(b"1234567")

    (at,) = [index for index, event in enumerate(events) if event[0] == "rename"]
    _, folder_inode, files = events[at]
    synced = {inode: index for index, (kind, inode, _) in enumerate(events) if kind == "sync"}
    sizes = {inode: size for kind, inode, size in events if kind == "sync"}
    assert sorted(files) == ["a", "b", "manifest.json"]
    assert all(sizes[inode] == size for inode, size in files.values())
    order = [synced[files[name][0]] for name in ("a", "b", "manifest.json")]
    assert max(order[:2]) < order[2] < synced[folder_inode] < at
    assert synced[tmp_path.stat().st_ino] < at < synced[(tmp_path / "one").stat().st_ino]


def test_the_package_opens_without_torch():
    heavy = "{'torch', 'transformers', 'streamlit', 'pandas', 'numpy', 'engine'}"
    code = f"import cache, sys; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
