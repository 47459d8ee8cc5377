"""A slice of every campaign, the same each time; ``make campaign`` runs them whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.campaign.bad_inputs import LIMIT_S, judged, tried
from tests.campaign.cases import Case, Outcome
from tests.campaign.ground import Ground
from tests.support.tiers import sweep_unless

ROOT = Path(__file__).parents[2]


def campaign(*words: str) -> str:
    """Run campaigns in a process of their own, which forks; return what they printed."""
    command = [sys.executable, "-m", "tests.campaign", *words, "--at-once", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


NOTHING = {
    "bad_inputs": r": 0 findings",
    "kills": r"all +[1-9] kills: 0 damaged, 0 half export, 0 not resumable",
    "shards": r"all +[1-9] kills: 0 lost, 0 different, 0 hang, 0 runner failed",
}


@pytest.mark.parametrize("kinds", sweep_unless([("bad_inputs", "kills"), ("shards",)], {("bad_inputs", "kills")}))
def test_wrong_input_and_kills_find_nothing(kinds: tuple[str, ...]) -> None:
    said = campaign(*kinds, "--cases", "5", "--seed", "11")
    assert all(re.search(NOTHING[kind], said) for kind in kinds), said


@pytest.mark.long
def test_load_finds_nothing() -> None:
    said = campaign("load", "--cases", "40")
    assert "0 mixed states, 0 exceptions, 0 lost or late, 0 growing" in said


def test_what_is_wrong_is_a_finding() -> None:
    sentence, traceback = "Error: No.\n", "Traceback (most recent call last):\n"
    assert judged(0, "") is Outcome.ACCEPTED
    assert judged(1, sentence) is Outcome.SENTENCE
    assert judged(1, "") is judged(1, sentence * 2) is Outcome.SILENT
    assert judged(1, traceback) is Outcome.TRACEBACK
    assert judged(1, "Error: Unexpected X. This is a bug in RankScope; see the log.") is Outcome.BUG
    assert judged(-11, "") is judged(1, "Error: The job's process crashed (SIGSEGV).") is Outcome.SIGNAL
    assert {one for one in Outcome if one.is_right} == {Outcome.ACCEPTED, Outcome.SENTENCE, Outcome.LONG}


def test_a_dashboard_that_serves_is_at_work(tmp_path: Path) -> None:
    """A port of 0 is any that is free."""
    (tmp_path / "ground").mkdir()
    case = Case("any port", ("app", "--port", "0", "--no-demo"))
    ground = Ground(tmp_path / "ground", tmp_path, "", "")
    (found,) = tried([case], ground, tmp_path / "copies", 1, time.monotonic() + LIMIT_S)
    assert found.outcome is Outcome.LONG, found.said
    assert found.seconds < LIMIT_S
