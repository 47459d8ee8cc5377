"""What every case begins with: a home with an analysis, a measured and saved map and a job; odd things beside it."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli import main
from engine.jobs.record import JobRecord
from tests.campaign.forking import await_all, forked
from tests.conftest import train_toy_tokenizer
from tests.support.analysed_toy import save_toy_model, write_corpus

if TYPE_CHECKING:
    from collections.abc import Sequence

FAST = ("--n-sequences", "2", "--length", "32")
ANALYSE = ("analyse", "model", "--text", "corpus.txt", *FAST)
SAVED = "saved map"
ARCHIVE = "toy.tar"
LONG = "n" * 300
MAIN = "import tests.campaign.pages; from engine.cli import main; main()"
"""The command of a process of its own."""


@dataclass(frozen=True)
class Ground:
    """A folder that every case gets a copy of.

    Attributes:
        folder: where commands run; paths of cases are relative to it.
        shared: the model, which no case changes.
        analysis: id of the analysis in the home.
        job: id of a job in the home that is done.
    """

    folder: Path
    shared: Path
    analysis: str
    job: str

    @property
    def home(self) -> Path:
        """What RANKSCOPE_HOME is."""
        return self.folder / "home"

    @classmethod
    def make(cls, root: Path) -> Ground:
        """Analyse a toy and measure a map of it with the real commands."""
        shared, folder = root / "shared", root / "ground"
        shared.mkdir(parents=True)
        folder.mkdir()
        await_all([forked(lambda: _save_model(shared), root / "model.log")])
        (folder / "model").symlink_to(shared / "model")
        write_corpus(folder / "corpus.txt")

        def command(*words: str) -> None:
            run_command(words, folder, root / "ground.log")

        command(*ANALYSE)
        (analysis,) = (path.name for path in (folder / "home" / "artifacts" / "analysis").iterdir())
        command("allocate", analysis, "--keep", "0.8", "--out", "map.json")
        command("evaluate", analysis, "map.json", "--text", "corpus.txt", *FAST)
        command("maps", "save", analysis, "map.json", SAVED)
        command("maps", "export", analysis, SAVED, "table.csv")
        command("analysis", "export", analysis, ARCHIVE)
        job = JobRecord(folder / "home").jobs()[0].id
        return cls(folder, shared, analysis, job)

    def copied(self, folder: Path) -> Ground:
        """Copy everything that commands may change, and put odd things beside it."""
        shutil.copytree(self.folder, folder, symlinks=True)
        odd = folder / "odd"
        odd.mkdir()
        (odd / "dangling").symlink_to("nowhere")
        (odd / "loop").symlink_to("loop")
        (odd / "empty").touch()
        (odd / "binary").write_bytes(bytes(range(256)) * 16)
        (odd / "folder.json").mkdir()
        (odd / "[red]x[" / "red]").mkdir(parents=True)
        os.mkfifo(odd / "pipe")
        os.mkfifo(odd / "pipe.txt")
        with (odd / "endless.json").open("wb") as file:
            file.truncate(10**11)
        return Ground(folder, self.shared, self.analysis, self.job)


def run_command(words: Sequence[str], folder: Path, log: Path) -> None:
    """Run a command that has to succeed, in a child of this process.

    Raises:
        RuntimeError: it did not succeed.
    """
    child = forked(lambda: in_folder(folder, words), log)
    (ended,) = await_all([child])
    if ended != 0:
        raise RuntimeError(f"rankscope {' '.join(words)} ended with {ended}: {log.read_text(errors='replace')[-2000:]}")


def in_folder(folder: Path, words: Sequence[str]) -> None:
    """Be the ``rankscope`` command with these words; its jobs run in this process."""
    import pytest

    from tests.support.terminal import run_jobs_here

    run_jobs_here(pytest.MonkeyPatch())
    typed(folder, words)


def typed(folder: Path, words: Sequence[str]) -> None:
    """Be the ``rankscope`` command with these words."""
    be_offline()
    os.chdir(folder)
    os.environ["RANKSCOPE_HOME"] = "home"
    sys.argv = ["rankscope", *words]
    main()


def be_offline() -> None:
    """Let this process and what it starts ask no host."""
    import datasets.config
    import huggingface_hub.constants

    os.environ |= {"HF_HUB_OFFLINE": "1", "PIP_NO_INDEX": "1", "COLUMNS": "200"}
    datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True


def _save_model(shared: Path) -> None:
    save_toy_model(shared / "model", train_toy_tokenizer())
