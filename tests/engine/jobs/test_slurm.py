"""The templates that docs/clusters.md has for Slurm, on scripts that take the words Slurm takes."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from engine.jobs import JobQueue, JobStatus
from engine.jobs.engines import choose

from .conftest import ENTRYPOINT, ROOT, eventually
from .contract import is_gone
from .test_engines import SETTINGS

RUN = """#!/bin/sh
while :; do
  case $1 in
    --job-name=*) name=${1#*=} ;;
    --output=*) output=${1#*=} ;;
    --gres=*) gres=${1#*=} ;;
    --*) ;;
    *) break ;;
  esac
  shift
done
echo "PENDING, Resources, starts N/A" > "$SLURM/$name"
while [ ! -e "$SLURM/free" ]; do sleep 0.05; done
echo "RUNNING, None, starts now" > "$SLURM/$name"
echo "$gres" >> "$SLURM/granted"
setsid "$@" >> "${output:-/dev/stdout}" 2>&1 &
echo $! > "$SLURM/$name.pid"
wait $!
"""
CANCEL = '#!/bin/sh\nkill "$(cat "$SLURM/${1#--name=}.pid")"\n'
SHOW = '#!/bin/sh\nfor word; do case $word in --name=*) cat "$SLURM/${word#*=}" ;; esac; done\n'
PROGRAMS = {"srun": RUN, "sbatch": RUN, "scancel": CANCEL, "squeue": SHOW}


def written(variable: str, begin: str) -> str:
    """Return what the page tells to set."""
    page = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^export {variable}='({begin} [^']+)'$", page, re.MULTILINE)
    return found


def script(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs, and what they note."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in PROGRAMS.items():
        script(folder / name, text)
    script(folder / "run.sh", '#!/bin/sh\nexec "$@"\n')
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM", str(folder))
    return folder


@pytest.mark.parametrize("program", ["srun", "sbatch"])
def test_a_job_waits_runs_and_is_cancelled(home: Path, tmp_path: Path, slurm: Path, program: str) -> None:
    templates = replace(
        SETTINGS,
        command=written("RANKSCOPE_COMMAND", program).replace("/shared/run.sh", str(slurm / "run.sh")),
        command_cancel=written("RANKSCOPE_COMMAND_CANCEL", "scancel"),
        command_status=written("RANKSCOPE_COMMAND_STATUS", "squeue"),
    )
    queue = JobQueue(home, ENTRYPOINT, choose(templates, "command", "gpu=1,cpu=8"))
    held = queue.submit("hold", {"folder": str(tmp_path)}, title="Held")
    eventually(lambda: "(PENDING, Resources, starts N/A)" in str(queue.get(held.id).place))
    (slurm / "free").touch()
    eventually(lambda: queue.get(held.id).progress)
    queue.cancel(held.id)
    assert queue.wait(held.id, poll_s=0.04).status is JobStatus.CANCELLED
    eventually(lambda: is_gone(int((tmp_path / "started").read_text())))
    done = queue.wait(queue.submit("echo", {"word": "hello"}, title="Echo").id, poll_s=0.04)
    assert (done.status, done.result) == (JobStatus.DONE, {"word": "hello"})
    assert "echo says hello" in queue.log(done.id)
    assert (slurm / "granted").read_text().split() == ["gpu:1", "gpu:1"]
