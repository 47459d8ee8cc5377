"""Garbage is left alone only while tests are collected."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_tests_and_what_borrows_their_toys_look_for_garbage() -> None:
    assert gc.isenabled()
    subprocess.run([sys.executable, "-c", "import gc, tests.conftest; assert gc.isenabled()"], cwd=ROOT, check=True)
