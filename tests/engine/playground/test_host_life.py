"""The host process starts, stops in the middle, dies and gives its memory back as its visitors need."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from engine.errors import ResourceError
from engine.playground import AnswerStatus, Playground
from tests.engine.playground.conftest import finished, hosts, until

pytestmark = pytest.mark.usefixtures("warm_starts")

PYTHON = sys.executable
PARENT = """
import json, sys, time
from pathlib import Path
from engine.playground import Playground, Question

playground = Playground(Path(sys.argv[1]))
answer_id = playground.ask(Question.from_json(json.loads(sys.argv[2])))
while not playground.answer(answer_id).status.is_final:
    time.sleep(0.02)
    if playground.answer(answer_id).dense.active_params:
        print("writing", flush=True)
time.sleep(600)
"""


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_stopping_ends_both_models_within_a_token(playground, question):
    long, short = question(n_tokens=1500), question(n_tokens=4)
    finished(playground, playground.ask(short))
    answer_id = playground.ask(long)
    until(lambda: len(playground.answer(answer_id).dense.active_params) > 5)
    playground.stop(answer_id)
    stopped = finished(playground, answer_id)
    assert stopped.status is AnswerStatus.STOPPED
    assert stopped.dense.is_complete
    assert len(stopped.dense.active_params) < 1000
    assert stopped.dense.text
    # The next one does not wait for the rest, and nothing is added to what was stopped.
    finished(playground, playground.ask(short))
    assert playground.answer(answer_id) == stopped


def test_a_question_that_is_stopped_while_it_waits_is_never_answered(playground, question):
    first, second = (playground.ask(question(n_tokens=100)) for _ in range(2))
    playground.stop(second)
    assert finished(playground, first).status is AnswerStatus.DONE
    assert not playground.answer(second).dense.active_params


def test_an_answer_nobody_looks_at_is_stopped(toy_home, question):
    playground = Playground(toy_home, lease_s=0.5)
    answer_id = playground.ask(question(n_tokens=1500))
    # The host needs seconds to start, so that the page is long gone when it could write.
    time.sleep(2)
    found = playground.answer(answer_id)
    assert found.status is AnswerStatus.STOPPED
    assert "page was closed" in found.note
    playground.close()


def test_an_answer_whose_page_is_gone_is_stopped_at_once(playground, question):
    answer_id = playground.ask(question(n_tokens=1900))
    until(lambda: playground.answer(answer_id, lambda: False).dense.active_params)
    # Looking would keep it alive.
    until(lambda: playground._answers[answer_id].status.is_final)
    found = playground.answer(answer_id)
    assert found.status is AnswerStatus.STOPPED
    assert len(found.dense.active_params) < 1900


def test_a_killed_host_is_one_sentence_and_the_next_question_starts_another(toy_home, question):
    others = hosts(toy_home)
    playground = Playground(toy_home)
    answer_id = playground.ask(question(n_tokens=1500))
    until(lambda: playground.answer(answer_id).dense.active_params)
    (first,) = hosts(toy_home) - others
    os.kill(first, signal.SIGKILL)
    failed = finished(playground, answer_id)
    assert failed.status is AnswerStatus.FAILED
    assert failed.note.startswith("The process that runs the models was killed")
    assert failed.dense.active_params
    assert finished(playground, playground.ask(question())).status is AnswerStatus.DONE
    (second,) = hosts(toy_home) - others
    playground.close()
    until(lambda: not lives(second))


def test_the_host_ends_when_its_parent_is_killed(toy_home, question):
    asked = json.dumps(question(n_tokens=1500).to_json())
    parent = subprocess.Popen([PYTHON, "-c", PARENT, str(toy_home), asked], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "writing\n"
    (host,) = hosts(toy_home, parent.pid)
    parent.kill()
    parent.wait()
    until(lambda: not lives(host), 20)


def test_an_idle_host_gives_its_memory_back(toy_home, question):
    others = hosts(toy_home)
    playground = Playground(toy_home, idle_s=0.3)
    finished(playground, playground.ask(question()))
    until(lambda: not hosts(toy_home) - others, 20)
    assert finished(playground, playground.ask(question())).status is AnswerStatus.DONE
    playground.close()


def test_a_model_that_does_not_fit_the_memory_is_refused(toy_home, question):
    playground = Playground(toy_home, spared_bytes=2**60)
    refused = finished(playground, playground.ask(question()))
    assert refused.status is AnswerStatus.FAILED
    assert refused.note.startswith("The model needs about 0.0 GiB of memory and 0.0 GiB are free: close other programs")
    playground.close()


def test_a_log_that_cannot_be_written_is_a_sentence(tmp_path, question):
    (tmp_path / "playground.log").mkdir()
    playground = Playground(tmp_path)
    with pytest.raises(ResourceError, match=r"playground.log cannot be written \(Is a directory\)"):
        playground.ask(question())
    playground.close()
