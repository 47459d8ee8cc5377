"""Threads of passes do not keep a core from other programs while they wait for each other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECIDING = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings GNU's OpenMP on Linux only")
@pytest.mark.parametrize(("said", "expected"), [({}, "10000"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")])
def test_threads_spin_for_microseconds_unless_the_environment_says_otherwise(said, expected):
    others = {name: value for name, value in os.environ.items() if name not in DECIDING}
    environment = {**others, **said, "OMP_DISPLAY_ENV": "VERBOSE"}
    started = [sys.executable, "-c", "import engine, torch"]
    shown = subprocess.run(started, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stderr
    assert f"GOMP_SPINCOUNT = '{expected}'" in shown
