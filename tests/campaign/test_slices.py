"""A slice of every campaign, the same each time; ``make campaign`` runs them whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign.bad_inputs import judged
from tests.campaign.cases import Outcome

ROOT = Path(__file__).parents[2]


def campaign(*words: str) -> str:
    """Run campaigns in a process of their own, which forks; return what they printed."""
    command = [sys.executable, "-m", "tests.campaign", *words, "--at-once", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_wrong_input_and_kills_find_nothing() -> None:
    said = campaign("bad_inputs", "kills", "shards", "--cases", "5", "--seed", "11")
    assert "0 findings" in said
    assert re.search(r"all +[1-9] kills: 0 damaged, 0 half export, 0 not resumable", said)
    assert re.search(r"all +[1-9] kills: 0 lost, 0 different, 0 hang, 0 runner failed", said)


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
