"""What a real host process answers is what the engine generates."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from engine.cli import command
from engine.decoding.schedules import RankSchedule
from engine.errors import InvalidSpecError
from engine.playground import AnswerStatus, ProgressiveChoice, Question
from tests.engine.playground.conftest import finished, until


def test_both_models_answer_as_the_engine_does(playground, question, session, rank_map):
    asked = question()
    answer = finished(playground, playground.ask(asked))
    assert answer.status is AnswerStatus.DONE
    prompt = session.encode(asked.prompt, asked.spec, chat=False)
    assert answer.n_prompt_tokens == len(prompt)
    assert not answer.uses_chat_template
    for side, variant in ((answer.dense, session.dense()), (answer.compressed, session.compressed(rank_map))):
        expected = session.complete(variant, prompt, asked.spec)
        assert side.text == expected.text
        assert side.active_params == expected.active_params
        assert side.is_complete
        assert side.prefill_s > 0
    assert answer.compressible_params == session.analysis.inventory.compressible_params


def test_the_dense_answer_is_that_of_the_command(playground, question, toy_home, monkeypatch):
    monkeypatch.setenv("RANKSCOPE_HOME", str(toy_home))
    asked = question("Rivers run to the sea", 20, temperature=0.8, seed=3, chat=None)
    arguments = ["--temperature", "0.8", "--seed", "3", "--max-new-tokens", "20", "--json"]
    said = CliRunner().invoke(command, ["generate", asked.analysis, "--prompt", asked.prompt, *arguments])
    answer = finished(playground, playground.ask(asked))
    assert answer.dense.text == json.loads(said.stdout)["text"]
    assert answer.uses_chat_template


def test_the_seed_decides_the_draws_of_both(playground, question):
    def drawn(seed):
        answer = finished(playground, playground.ask(question(n_tokens=30, temperature=1.0, seed=seed)))
        return answer.dense.text, answer.compressed.text

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize(
    "schedule", [RankSchedule.staged(0.9, 0.5, 4, 5), RankSchedule.linear(0.8, 0.4, 20)], ids=["staged", "linear"]
)
def test_the_active_parameters_go_down_as_the_engine_says(playground, question, session, schedule):
    asked = question(n_tokens=20, compressed=ProgressiveChoice(schedule))
    answer = finished(playground, playground.ask(asked))
    variant = session.progressive(schedule)
    expected = session.complete(variant, session.encode(asked.prompt, asked.spec, chat=False), asked.spec)
    assert answer.compressed.active_params == expected.active_params
    assert answer.compressed.text == expected.text
    assert set(answer.dense.active_params) == {answer.compressible_params}


def test_two_questions_wait_in_line_and_do_not_mix(playground, question):
    prompts = ("The rank of a matrix", "Rivers run")
    alone = [finished(playground, playground.ask(question(p, 60))) for p in prompts]
    ids = [playground.ask(question(p, 60)) for p in prompts]
    second = playground.answer(ids[1])
    assert (second.status, second.ahead) == (AnswerStatus.WAITING, 1)
    # Both pages look at their answers all the time.
    until(lambda: sum(playground.answer(i).status.is_final for i in ids) == len(ids))
    for before, answer_id in zip(alone, ids, strict=True):
        after = playground.answer(answer_id)
        assert after.dense.text == before.dense.text
        assert after.compressed.text == before.compressed.text


def test_what_cannot_be_answered_is_one_sentence(playground, question):
    with pytest.raises(InvalidSpecError, match="prompt is empty"):
        question(" \n")
    too_long = finished(playground, playground.ask(question("river " * 2000)))
    assert too_long.status is AnswerStatus.FAILED
    assert "2,048 positions" in too_long.note
    assert not too_long.dense.active_params


def test_questions_go_through_json(question):
    for asked in (question(), question(compressed=ProgressiveChoice(RankSchedule.linear(0.9, 0.5, 7), "svd-llm"))):
        assert Question.from_json(json.loads(json.dumps(asked.to_json()))) == asked
