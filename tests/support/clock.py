"""What a process sees after the clock of the machine was set: other wall-clock times, the same time since the start."""

import os
import subprocess
import sys
from pathlib import Path

_SET = """
import time
import psutil
from psutil import _pslinux
boot_time, now = _pslinux.boot_time, time.time
_pslinux.boot_time = lambda: boot_time() + {seconds}
time.time = lambda: now() + {seconds}
"""


def in_a_process_whose_clock_was_set(code: str, seconds: float) -> str:
    """Run code in a fresh process for which the clock was moved on by ``seconds``; return what it prints."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _SET.format(seconds=seconds) + code]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=environment).stdout
