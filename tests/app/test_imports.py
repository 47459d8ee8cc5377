"""The dashboard's process stays small: what computes runs in jobs."""

from __future__ import annotations

import subprocess
import sys

from tests.app.conftest import MAIN

SCRIPT = """
import sys
from streamlit.testing.v1 import AppTest
from app.pages import PAGES, page_file

page = AppTest.from_file(sys.argv[1], default_timeout=60).run()
for name in PAGES:
    page.switch_page(page_file(name)).run()
    assert not page.exception, (name, page.exception)
heavy = {"torch", "transformers", "datasets", "accelerate", "gguf"} & set(sys.modules)
assert not heavy, heavy
"""


def test_no_page_loads_torch_or_transformers(analysed_home: object) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(MAIN)], check=False, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
