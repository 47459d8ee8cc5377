"""A process is known again when its pid went to another one, when the clock was set and when it is of an older home."""

import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from cache import DirectoryStore
from cache.partials import new_partial_path
from cache.processes import ProcessId, identify, is_alive, is_of_this_boot, this_process
from tests.support.clock import in_a_process_whose_clock_was_set


def test_this_process_is_alive_and_its_pid_alone_is_not_enough():
    me = this_process()
    assert me.pid == os.getpid()
    assert is_alive(me)
    assert not is_alive(replace(me, started=f"{me.started}0"))
    assert not is_alive(None)


def test_the_start_that_an_older_version_wrote_is_understood():
    started = psutil.Process().create_time()
    assert is_alive(ProcessId(os.getpid(), started))
    assert not is_alive(ProcessId(os.getpid(), started - 60))


def test_a_process_of_before_the_machine_was_started_anew_is_dead():
    me = this_process()
    if not isinstance(me.started, str):
        pytest.skip("this system names no boots")
    earlier = replace(me, started="0" * 36 + "." + me.started.rpartition(".")[2])
    assert not is_alive(earlier)
    assert not is_of_this_boot(earlier)
    assert is_of_this_boot(me)


def test_a_name_with_parentheses_and_spaces_does_not_confuse(tmp_path):
    odd = tmp_path / "a) S (b 1 2"
    odd.symlink_to(sys.executable)
    with subprocess.Popen([odd, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert is_alive(identify(child.pid))
        child.kill()
        child.wait()
        with pytest.raises(psutil.NoSuchProcess):
            identify(child.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the wall clock is known")
@pytest.mark.parametrize("seconds", [-3600.0, 15.0])
def test_the_folder_of_a_living_writer_survives_a_clock_that_was_set(tmp_path, seconds):
    folder = new_partial_path(tmp_path / ".partial")
    folder.mkdir(parents=True)
    store = f"DirectoryStore(Path({str(tmp_path)!r}))"
    in_a_process_whose_clock_was_set(
        f"from pathlib import Path\nfrom cache import DirectoryStore\n{store}.prune_partials()", seconds
    )
    assert folder.is_dir()


def test_folders_of_older_versions_are_pruned_when_their_writer_is_dead(tmp_path):
    started = psutil.Process().create_time()
    living, dead = (tmp_path / ".partial" / f"{os.getpid()}-{s:.2f}-{'0' * 32}" for s in (started, started - 60))
    for folder in (living, dead):
        folder.mkdir(parents=True)
    DirectoryStore(tmp_path).prune_partials()
    assert [living.is_dir(), dead.is_dir()] == [True, False]


def test_a_forked_child_is_another_process():
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(this_process) != this_process()


def test_what_another_machine_may_still_write_is_left_alone_for_a_day(tmp_path):
    another = f"7-{'0' * 8}-0000-0000-0000-{'0' * 12}.1234-"
    recent, idle = (tmp_path / ".partial" / f"{another}{digit * 32}" for digit in "01")
    for folder in (recent, idle):
        folder.mkdir(parents=True)
        (folder / "member").write_bytes(b"12345")
    for path in (idle, idle / "member"):
        os.utime(path, (0, 0))
    os.utime(recent, (0, 0))
    assert DirectoryStore(tmp_path).prune_partials() == 5
    assert [recent.is_dir(), idle.is_dir()] == [True, False]
