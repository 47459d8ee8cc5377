"""A program that is forked behaves as one that is started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

LOOK = """
import json, os, sys
word = sys.stdin.read()
found = {"words": sys.argv, "folder": os.getcwd(), "said": word, "told": os.environ["TOLD"], "path": sys.path}
print(json.dumps(found))
print("aside", file=sys.stderr)
sys.exit(7)
"""
OURS = """
import os, sys
print(sorted({name.partition(".")[0] for name in sys.modules} & {"app", "cache", "engine", "tests"}))
print(len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1)
"""


def started(python: object, *words: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(python), *words], capture_output=True, text=True, check=False, timeout=60, **options)


def test_streams_words_environment_folder_and_code_are_those_of_a_fresh_process(
    warm_python: Path, tmp_path: Path
) -> None:
    program = tmp_path / "look.py"
    program.write_text(LOOK, encoding="utf-8")
    options = {"input": "hello", "cwd": tmp_path, "env": {**os.environ, "HF_HUB_OFFLINE": "1", "TOLD": "so"}}
    words = ("-I", str(program), "a", "b c")
    forked, fresh = (started(python, *words, **options) for python in (warm_python, sys.executable))
    assert (forked.returncode, forked.stderr) == (fresh.returncode, fresh.stderr) == (7, "aside\n")
    assert json.loads(forked.stdout) == json.loads(fresh.stdout)


def test_the_command_lies_beside_it(warm_python: Path) -> None:
    done = started(warm_python.with_name("rankscope"), "jobs", "--help")
    assert "Usage: rankscope jobs" in done.stdout


def test_nothing_of_the_project_is_there_and_no_thread(warm_python: Path) -> None:
    assert started(warm_python, "-I", "-c", OURS).stdout.splitlines() == ["[]", "1"]


@pytest.mark.parametrize(
    ("code", "status", "last"),
    [
        ("raise ValueError('so')", 1, "ValueError: so"),
        ("import sys; sys.exit('so')", 1, "so"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
    ],
)
def test_it_fails_as_a_process_fails(warm_python: Path, code: str, status: int, last: str) -> None:
    done = started(warm_python, "-c", code)
    assert done.returncode == status
    assert done.stderr.splitlines()[-1:] == ([last] if last else [])


@pytest.mark.parametrize("is_nested", [False, True])
def test_whoever_kills_it_kills_the_program_and_what_that_started(warm_python: Path, is_nested: bool) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    if is_nested:
        code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    with subprocess.Popen([str(warm_python), "-c", code], stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        program = int(client.stdout.readline())
        client.kill()
    deadline = time.monotonic() + 30
    while psutil.pid_exists(program):
        assert time.monotonic() < deadline
        time.sleep(0.02)
