"""A real Ray cluster of this machine."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil

from cache.processes import ProcessId, identify
from engine.jobs.engines._ray_client import RayClient, UnreachableError
from engine.jobs.processes import family, send_signal

from .conftest import ROOT, eventually

STORE_BYTES = 80_000_000
"""The least that Ray takes is 75 MiB."""


class Head:
    """A cluster of one machine that has one ``fakegpu``.

    Args:
        folder: for what it writes; its path has to be short.
        port: of its dashboard; by default a free one.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        with closing(socket.socket()) as free, closing(socket.socket()) as agent, closing(socket.socket()) as client:
            for each in (free, agent, client):
                each.bind(("127.0.0.1", 0))
            any_port, agent_port, client_port = (each.getsockname()[1] for each in (free, agent, client))
        self._folder = folder
        self.port = port or any_port
        self.address = f"http://127.0.0.1:{self.port}"
        command = [
            str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--disable-usage-stats",
            "--num-cpus=2", "--num-gpus=0", '--resources={"fakegpu": 1}', f"--object-store-memory={STORE_BYTES}",
            "--port=0", "--dashboard-host=127.0.0.1", f"--dashboard-port={self.port}", f"--temp-dir={folder}",
            f"--dashboard-agent-listen-port={agent_port}", f"--ray-client-server-port={client_port}",
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_JOB_STOP_WAIT_TIME_S": "1"}
        with (folder / "head.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True, cwd=folder
            )
        self._id: ProcessId = identify(self._process.pid)
        eventually(self.answers)

    def answers(self) -> bool:
        assert self._process.poll() is None, "the head has ended"
        try:
            RayClient(self.address).connect()
        except UnreachableError:
            return False
        return True

    def kill(self) -> None:
        """Kill all of it at once, as a power failure would; what jobs run outlives it for a while."""
        send_signal(family(self._id), signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """Kill whatever is left of it, jobs too."""
        self.kill()
        for process in psutil.process_iter():
            try:
                if any(str(self._folder) in word for word in (*process.cmdline(), *process.environ().values())):
                    process.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue
