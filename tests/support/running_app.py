"""The dashboard as a user starts it: a process of its own, seen through a real browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator, Page

CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
START_S = 120
LOG = "app.log"


def chromium() -> str | None:
    """Return the system's Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None)


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_app(home: Path, port: int, python: str | Path = sys.executable) -> Iterator[str]:
    """Run the ``rankscope app`` beside an interpreter on a home; yield its address. Its log lies in the home."""
    home.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "RANKSCOPE_HOME": str(home)}
    command = [str(Path(python).with_name("rankscope")), "app", "--port", str(port), "--no-demo"]
    with (home / LOG).open("wb") as log:
        app = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            address = f"http://127.0.0.1:{port}"
            _await_health(address, app)
            yield address
        finally:
            os.killpg(app.pid, signal.SIGTERM)
            app.wait(timeout=30)


def _await_health(address: str, app: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        if app.poll() is not None:
            raise RuntimeError(f"The dashboard ended with status {app.returncode} before it answered.")
        time.sleep(0.2)
    raise TimeoutError(f"The dashboard did not answer within {START_S} s.")


def settled(page: Page, timeout_ms: int = 120_000) -> None:
    """Wait until the page is drawn and its script has ended."""
    page.wait_for_selector("[data-testid='stApp'] h1", timeout=timeout_ms)
    page.wait_for_selector("[data-testid='stApp'][data-test-script-state='notRunning']", timeout=timeout_ms)


def scrolled_box(page: Page, found: Locator) -> dict[str, float]:
    """Scroll to an element once no run of the page can replace it any more; return its box in pixels."""
    settled(page)
    found.scroll_into_view_if_needed()
    box = found.bounding_box()
    assert box is not None
    return dict(box)
