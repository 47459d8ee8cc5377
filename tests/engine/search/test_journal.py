"""A journal that was cut or garbled costs a trial, not the search."""

from __future__ import annotations

import json
import random

import pytest
from optuna.trial import TrialState

from engine.search.goals import starting_points
from engine.search.journal import repair_journal
from engine.search.study import evaluated_trials, open_storage, open_study, run_trials
from tests.engine.search.test_search import bowl
from tests.engine.search.worker import GOAL, SPACE, Worker

N_TRIALS = 5


def search(path, n_trials):
    study = open_study(open_storage(str(path)), "shared", GOAL, starting_points(SPACE, GOAL, {0.8: []}, 3, 0), 0)
    before = len(evaluated_trials(study))
    run_trials(study, SPACE, GOAL, lambda point, _: bowl(point), n_trials, lambda: None)
    unowned = study.get_trials(states=(TrialState.RUNNING,))  # taken for lost after a minute
    assert n_trials - len(unowned) <= len(evaluated_trials(study)) <= n_trials
    assert len(unowned) <= 1
    return before


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The journal of a worker that has ended."""
    path = tmp_path_factory.mktemp("study") / "study.journal"
    Worker(str(path), N_TRIALS, 0, 0).lines()
    return path.read_bytes()


@pytest.fixture
def journal(tmp_path, written):
    path = tmp_path / "study.journal"
    path.write_bytes(written)
    return path


def test_a_whole_journal_is_left_alone(journal):
    content = journal.read_bytes()
    assert repair_journal(journal) is None
    assert repair_journal(journal.with_name("missing")) is None
    assert journal.read_bytes() == content


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-20],
        lambda content: content[:-1],
        lambda content: content + b"\0" * 4096,
        lambda content: content + b'{"op_code": 4, "wor',
        lambda content: content[:-20] + b'{"op_code":4,"worker_id":"x","study_id":0}\n',
    ],
    ids=["cut", "no newline", "zeros", "half a line", "appended to a half line"],
)
def test_a_damaged_end_costs_at_most_one_trial(journal, damage, capsys):
    content = journal.read_bytes()
    journal.write_bytes(damage(content))
    assert search(journal, N_TRIALS + 1) >= N_TRIALS - 1
    printed = capsys.readouterr().out
    assert "The search's journal" in printed
    assert "still in the store" in printed
    assert journal.with_name("study.journal.damaged").read_bytes() == damage(content)


@pytest.mark.parametrize("seed", range(6))
def test_a_garbled_line_anywhere_leaves_a_search_that_goes_on(journal, seed):
    chance = random.Random(seed)
    lines = journal.read_bytes().splitlines(keepends=True)
    garbled = chance.randrange(len(lines))
    lines[garbled] = bytes(chance.randrange(256) for _ in lines[garbled]).replace(b"\n", b"x")[:-1] + b"\n"
    journal.write_bytes(b"".join(lines))
    search(journal, N_TRIALS + 1)


def test_a_garbled_line_about_one_trial_costs_that_trial_only(journal):
    lines = journal.read_bytes().splitlines(keepends=True)
    ends = [i for i, line in enumerate(lines) if json.loads(line)["op_code"] == 6]
    lines[ends[1]] = b"\xff" * 10 + b"\n"
    journal.write_bytes(b"".join(lines))
    assert search(journal, N_TRIALS) >= N_TRIALS - 1


def test_a_journal_that_is_something_else_is_put_aside(journal):
    journal.write_bytes(b'{"op_code": 6}\n[1, 2]\nnot json at all\n')
    assert search(journal, 3) == 0
    assert journal.with_name("study.journal.damaged").exists()
