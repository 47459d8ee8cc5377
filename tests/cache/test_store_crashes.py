"""Real processes that write at the same time, and real processes that are killed while they write."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

import cache
from cache import DirectoryStore, Key, damaged

CHILD = Path(__file__).with_name("store_child.py")
MEMBERS = ["arrays.safetensors", "empty", "text.json"]


@pytest.fixture
def start(tmp_path):
    """Start a child in a mode and wait until it is ready; all children end with the test."""
    children = []
    same_cache = os.environ | {"PYTHONPATH": str(Path(cache.__file__).parents[1])}

    def start_child(mode, argument=""):
        command = [sys.executable, str(CHILD), mode, str(tmp_path), str(argument)]
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=same_cache
        )
        children.append(child)
        assert child.stdout.readline() == "ready\n"
        return child

    yield start_child
    for child in children:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def wait_at_random(chance, child, longest_s):
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=chance.uniform(0, longest_s))


def partials(root):
    folder = root / ".partial"
    return sorted(folder.iterdir()) if folder.exists() else []


def check_everything(store):
    """Every listed artifact is complete, and nothing else can be seen beside them."""
    keys = store.keys()
    for key in keys:
        artifact = store.read(key)
        artifact.verify()
        number = artifact.manifest.about["number"]
        assert list(artifact.manifest.members) == MEMBERS
        assert artifact.json("text.json") == artifact.manifest.about
        assert np.array_equal(
            artifact.arrays("arrays.safetensors")["numbers"], np.arange(number, number + 20_000)
        )
    visible = [path for path in store.root.glob("[a-z]*/*") if path.is_dir()]
    assert sorted(f"{path.parent.name}/{path.name}" for path in visible) == [str(key) for key in keys]
    return keys


@pytest.mark.parametrize("seed", range(4))
def test_killed_writers_leave_only_whole_artifacts_and_prunable_folders(start, tmp_path, seed):
    chance = random.Random(seed)
    store = DirectoryStore(tmp_path)
    most_artifacts = n_interrupted = 0
    for round_ in range(8):
        children = [start("loop", 100 * seed + 2 * round_ + offset) for offset in range(2)]
        for child in children:
            wait_at_random(chance, child, longest_s=0.06)
            child.kill()
            assert child.wait() == -signal.SIGKILL
        most_artifacts = max(most_artifacts, len(check_everything(store)))
        left = partials(tmp_path)
        n_interrupted += len(left)
        left_bytes = sum(path.stat().st_size for folder in left for path in folder.iterdir())
        assert store.prune_partials() == left_bytes
        assert partials(tmp_path) == []
        check_everything(store)
    assert most_artifacts > 0
    assert n_interrupted > 0  # otherwise the kills missed what they are for


def test_a_writer_killed_before_any_single_step_leaves_only_whole_artifacts(start, tmp_path):
    store = DirectoryStore(tmp_path)
    seen = []
    for step in range(100):
        child = start("die-at", step)
        died = child.wait() == -signal.SIGKILL
        seen.append([key.stage for key in check_everything(store)])
        store.prune_partials()
        assert partials(tmp_path) == []
        if not died:
            break
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
    assert child.returncode == 0
    assert len(seen) > 15
    assert seen[0] == []
    assert ["one", "two"] in seen
    assert seen[-1] == ["one"]


def test_concurrent_writers_of_one_key_leave_one_whole_artifact(start, tmp_path):
    store = DirectoryStore(tmp_path)
    for round_ in range(3):
        writers = [start("race", f"{round_}-{number}") for number in range(4)]
        for writer in writers:
            writer.stdin.write("\n")
            writer.stdin.flush()
        assert [writer.wait() for writer in writers] == [0] * 4
        (key,) = check_everything(store)
        assert store.read(key).manifest.about["writer"].startswith(f"{round_}-")
        assert partials(tmp_path) == []
        store.delete(key)


def test_the_folder_of_a_living_writer_is_not_pruned(start, tmp_path):
    store = DirectoryStore(tmp_path)
    child = start("hold")
    assert child.stdout.readline() == "holding\n"
    with store.writing(Key("two", "1" * 64), {}) as folder:
        assert store.prune_partials() == 0
        assert folder.is_dir()
    assert store.prune_partials() == 0
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.wait() == 0
    assert store.keys() == [Key("one", "0" * 64), Key("two", "1" * 64)]
    assert damaged(store) == []


def test_a_killed_writer_nobody_has_waited_for_is_dead(start, tmp_path):
    store = DirectoryStore(tmp_path)
    child = start("hold")
    assert child.stdout.readline() == "holding\n"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert store.prune_partials() == len(b"held")
    assert partials(tmp_path) == []


def test_a_process_id_given_to_a_new_process_does_not_protect_the_old_ones_folder(tmp_path):
    store = DirectoryStore(tmp_path)
    with store.writing(Key("one", "0" * 64), {}) as folder:
        pid, started, unique = folder.name.split("-")
        assert int(pid) == os.getpid()
        abandoned = folder.with_name(f"{pid}-{float(started) - 60:.2f}-{unique}")
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
    heavy = "{'torch', 'transformers', 'streamlit', 'pandas', 'engine'}"
    code = f"import cache, sys; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
