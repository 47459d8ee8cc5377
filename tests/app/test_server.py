"""The dashboard as it is installed: what it listens to, whom it answers, and how it ends."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.running_app import START_S, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
PACKED = ("app", "engine", "cache", "pyproject.toml", "README.md", "LICENSE")
HOSTILE_SETTINGS = '[server]\naddress = "0.0.0.0"\nenableCORS = false\n\n[browser]\ngatherUsageStats = true\n'
EVERY_ADDRESS = "0.0.0.0"
NAMES_LOOKED_UP = """
import os, sys
def note(event, args):
    if event == "socket.getaddrinfo":
        with open(os.environ["NAMES_LOOKED_UP"], "a") as file:
            file.write(f"{args[0]}\\n")
note("socket.getaddrinfo", ["watched"])
sys.addaudithook(note)
"""


def _install(folder: Path) -> None:
    """Build the wheel of this tree and install it without what it needs, which this environment has."""
    for name in PACKED:
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(place, folder / "source" / name)
    pip = (sys.executable, "-m", "pip")
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir")
    subprocess.run([*pip, *build, folder, folder / "source"], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    install = ("install", "--quiet", "--no-deps", "--no-index")
    subprocess.run([*pip, "--python", python, *install, wheel], check=True)
    (installed,) = (folder / "venv").glob("lib/python*/site-packages")
    (installed / "needed.pth").write_text(sysconfig.get_path("purelib"))
    (installed / "sitecustomize.py").write_text(NAMES_LOOKED_UP)
    shutil.rmtree(folder / "source")


@pytest.fixture(scope="session")
def installed(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The command of an installed wheel, in an environment that cannot see this tree."""
    return made_once("installed-wheel", _install) / "venv" / "bin" / "rankscope"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder whose settings and modules are not ours."""
    folder = tmp_path / "elsewhere"
    (folder / ".streamlit").mkdir(parents=True)
    (folder / ".streamlit" / "config.toml").write_text(HOSTILE_SETTINGS)
    (folder / "streamlit.py").write_text("raise SystemExit('a module of the folder was imported')")
    return folder


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PORT"}}
    names = str(folder / "names")
    return {**kept, "STREAMLIT_SERVER_ADDRESS": "0.0.0.0", "RANKSCOPE_HOME": "home", "NAMES_LOOKED_UP": names}


@contextmanager
def _dashboard(command: Path, folder: Path, port: int, *options: object) -> Iterator[tuple[psutil.Process, Path]]:
    """Start the dashboard in a folder; yield its process once it said where it is, and what it printed."""
    log = folder / "app.log"
    words = [command, "app", "--port", str(port), "--no-demo", *map(str, options)]
    with log.open("wb") as output:
        started = subprocess.Popen(words, cwd=folder, env=_environment(folder), stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_S
        while b"RankScope is at" not in log.read_bytes():
            assert started.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield psutil.Process(started.pid), log
    finally:
        started.kill()
        started.wait()


def _listening(process: psutil.Process) -> set[tuple[str, int]]:
    open_ = [c for p in (process, *process.children(recursive=True)) for c in p.net_connections("inet")]
    return {(c.laddr.ip, c.laddr.port) for c in open_ if c.status == psutil.CONN_LISTEN}


def _knock(port: int, host: str, origin: str | None, cookie: str = "") -> tuple[int, http.client.HTTPConnection]:
    """Ask for the connection that a page needs, as a page of ``origin``; return the status of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("GET", "/_stcore/stream", skip_host=True)
    asked = {"Host": host, "Upgrade": "websocket", "Connection": "Upgrade"}
    asked |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    asked |= {name: value for name, value in (("Origin", origin), ("Cookie", cookie)) if value}
    for name, value in asked.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection.getresponse().status, connection


def test_an_installed_dashboard_keeps_to_this_machine_and_to_its_own_pages(installed: Path, elsewhere: Path) -> None:
    with _dashboard(installed, elsewhere, 0) as (process, log):
        ((address, port),) = _listening(process)
        assert address == "127.0.0.1"
        assert f"RankScope is at http://127.0.0.1:{port} " in log.read_text()
        assert "usage statistics" not in log.read_text()
        assert {path.name for path in elsewhere.iterdir()} >= {"home"}, "a relative home is where it was asked for"

        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/_stcore/health")
        assert connection.getresponse().status == 200
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/")
        assert connection.getresponse().headers["X-Frame-Options"] == "SAMEORIGIN"

        here, another = f"127.0.0.1:{port}", f"localhost:{port}"
        refused = {
            origin: _knock(port, host, origin)[0]
            for host, origin in (
                (here, "https://elsewhere.example"),
                (here, "null"),
                (here, "http://127.0.0.1:1"),
                (f"elsewhere.example:{port}", f"http://elsewhere.example:{port}"),
            )
        }
        assert set(refused.values()) == {403}, refused
        assert [_knock(port, host, f"http://{host}")[0] for host in (here, another)] == [101, 101]
        looked_up = set((elsewhere / "names").read_text().split())
        assert looked_up == {"watched"}, "a name was looked up, which asks a host on the internet"


def _get(port: int, path: str, cookie: str = "") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Cookie": cookie})
    return connection.getresponse()


def test_visitors_from_other_machines_show_the_token_that_was_printed(installed: Path, elsewhere: Path) -> None:
    with _dashboard(installed, elsewhere, 0, "--host", EVERY_ADDRESS) as (process, log):
        ((address, port),) = _listening(process)
        assert address == EVERY_ADDRESS
        (token,) = re.findall(rf"http://{socket.gethostname()}:{port}/\?token=([\w-]{{40,}}) ", log.read_text())
        host = f"127.0.0.1:{port}"
        for path in ("/", "/?token=guessed", "/_stcore/health", "/static/index.html"):
            assert _get(port, path).status == 401, path
        assert _knock(port, host, f"http://{host}")[0] == 403
        let_in = _get(port, f"/results?token={token}&keep=0.8")
        assert let_in.status == 303
        assert let_in.headers["Location"] == f"http://{host}/results?keep=0.8"
        cookie, *how = let_in.headers["Set-Cookie"].split("; ")
        assert {"HttpOnly", "SameSite=lax"} <= set(how)
        assert _get(port, "/", cookie).status == 200
        assert _knock(port, host, f"http://{host}", cookie)[0] == 101
        assert _knock(port, host, "https://elsewhere.example", cookie)[0] == 403


def test_a_token_of_ones_own_is_asked_for_on_this_machine_too(
    installed: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKSCOPE_TOKEN", "chosen-by-the-owner")
    with _dashboard(installed, elsewhere, 0) as (process, _):
        ((address, port),) = _listening(process)
        assert address == "127.0.0.1"
        assert [_get(port, path).status for path in ("/", "/?token=chosen-by-the-owner")] == [401, 303]
    monkeypatch.setenv("RANKSCOPE_TOKEN", "short")
    words = [installed, "app", "--port", str(free_port()), "--no-demo"]
    ended = subprocess.run(words, cwd=elsewhere, env=_environment(elsewhere), check=False, capture_output=True)
    assert ended.returncode == 1
    assert b"RANKSCOPE_TOKEN has 5 characters; expected at least 16" in ended.stderr


def test_ending_the_command_ends_the_server_though_a_page_is_open(installed: Path, elsewhere: Path) -> None:
    with _dashboard(installed, elsewhere, free_port()) as (process, _):
        ((_, port),) = _listening(process)
        status, page = _knock(port, f"127.0.0.1:{port}", None)
        assert status == 101
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        page.close()
        with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
            probe.connect(("127.0.0.1", port))


@pytest.mark.parametrize("port", ["-1", "99999", "taken"])
def test_a_port_that_cannot_be_used_is_refused_before_anything_is_said_to_be_open(
    port: str, installed: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        words = [installed, "app", "--no-demo", "--port", str(other.getsockname()[1]) if port == "taken" else port]
        environment = _environment(tmp_path)
        ended = subprocess.run(words, cwd=tmp_path, env=environment, check=False, capture_output=True, timeout=120)
    said = (ended.stdout + ended.stderr).decode()
    assert ended.returncode != 0
    assert said.startswith("Error: ")
    assert "RankScope is at" not in said
