"""Statistics of long texts, taken in runs: by one job or several, now or later, with the same result to the bit."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from cache import Key
from engine.errors import InvalidSpecError
from engine.operations import Analyse, AnalyseShard
from engine.operations.analyse_shard import ShardResult
from engine.pipeline.analyse import analyse
from engine.pipeline.factorize import read_statistics
from engine.pipeline.runs import RUN_LENGTH, runs_of
from engine.progress import ignore_progress
from engine.settings import Home
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cache import DirectoryStore

N_SEQUENCES = 2 * RUN_LENGTH + 7
Asked = "Callable[..., Analyse]"


class Stopped(Exception):
    """The job was killed."""


@pytest.fixture(scope="module")
def asked(model_folder, text_file) -> Asked:
    def of(**changes: object) -> Analyse:
        text = {"text": str(text_file), "n_sequences": N_SEQUENCES, "length": 16, "device": "cpu"}
        rest = {"compute_dtype": "float32", "batch_size": 8, "metrics": ["loss"]}
        return Analyse(**{"model": str(model_folder("llama-gqa")), **text, **rest, **changes})

    return of


@pytest.fixture(scope="module")
def whole(asked: Asked, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., DirectoryStore]:
    """Return a function that analyses in one job, once for the same arguments."""
    made: dict[str, DirectoryStore] = {}

    def of(**changes: object) -> DirectoryStore:
        if str(changes) not in made:
            home = Home(tmp_path_factory.mktemp("whole"))
            asked(**changes).run(home, ignore_progress)
            made[str(changes)] = home.store
        return made[str(changes)]

    return of


def shards(analysis: Analyse, n: int) -> list[AnalyseShard]:
    return [AnalyseShard(**analysis.arguments(), shard=shard, n_shards=n) for shard in range(n)]


def contents(store: DirectoryStore) -> dict[Key, object]:
    return {key: store.read(key).manifest.members for key in store.keys()}  # noqa: SIM118 (no mapping)


def test_longer_texts_begin_with_the_runs_of_shorter_ones() -> None:
    assert runs_of(7) == ((0, 7),)
    assert runs_of(RUN_LENGTH) == ((0, RUN_LENGTH),)
    assert runs_of(2 * RUN_LENGTH + 1)[:2] == runs_of(2 * RUN_LENGTH)


@pytest.mark.parametrize("fisher", ["empirical", "sampled"])
def test_the_last_of_shards_in_any_order_goes_on_to_what_one_job_brings(
    asked: Asked, whole: Callable[..., DirectoryStore], tmp_path: Path, fisher: str
) -> None:
    analysis, home = asked(fisher=fisher), Home(tmp_path)
    *others, last = (shards(analysis, 3)[i] for i in (2, 0, 1))
    for shard in others:
        result = shard.run(home, ignore_progress)
        assert (result, shard.following(home.store, result)) == (ShardResult(complete=False), None)
    opened = []
    result = last.run(home, lambda *report: opened.append(report[2].startswith("Opening")))
    (known,) = whole(fisher=fisher).keys("analysis")
    assert (result, last.following(home.store, result)) == (ShardResult(True, known.fingerprint), None)
    assert sum(opened) == 1
    assert contents(home.store) == contents(whole(fisher=fisher))


def test_shards_that_find_all_they_were_to_take_leave_the_analysis_to_one_job(
    asked: Asked, whole: Callable[..., DirectoryStore], tmp_path: Path
) -> None:
    analysis, home = asked(metrics=["feature"]), Home(tmp_path)
    taken_over = whole()
    shutil.copytree(taken_over.root / "statistics", home.store.root / "statistics")
    for shard in shards(analysis, 2):
        result = shard.run(home, ignore_progress)
        following = shard.following(home.store, result)
        assert result == ShardResult(complete=True)
        assert (following.name, following.arguments()) == ("analyse", analysis.arguments())
    made = following.run(home, ignore_progress)["analysis"]
    afterwards = shards(analysis, 2)[0].run(home, ignore_progress)
    assert afterwards == ShardResult(complete=True, analysis=made)


def test_what_is_measured_after_an_analysis_is_measured_after_its_last_shard(
    asked: Asked, whole: Callable[..., DirectoryStore], tmp_path: Path
) -> None:
    (known,) = whole().keys("analysis")
    measured = shards(asked(measure=True), 3)[0].following(whole(), ShardResult(True, known.fingerprint))
    assert (measured.name, measured.analysis) == ("evaluate", known.fingerprint)


def test_a_longer_analysis_takes_over_the_statistics_of_a_shorter_one(
    asked: Asked, whole: Callable[..., DirectoryStore], tmp_path: Path
) -> None:
    home = Home(tmp_path)
    asked(n_sequences=RUN_LENGTH).run(home, ignore_progress)
    first = contents(home.store)
    asked().run(home, ignore_progress)
    both = contents(home.store)
    assert first.items() <= both.items()
    alone = contents(whole())
    assert alone.items() <= both.items()
    assert {key for key in first if key.stage == "statistics"} <= alone.keys()


def test_reading_layer_by_layer_changes_no_statistics(
    asked: Asked, whole: Callable[..., DirectoryStore], tmp_path: Path
) -> None:
    home = Home(tmp_path)
    asked(stream=True).run(home, ignore_progress)
    of_stage = [{k: v for k, v in contents(s).items() if k.stage == "statistics"} for s in (home.store, whole())]
    assert of_stage[0] == of_stage[1]


def test_a_killed_shard_costs_its_unfinished_run(
    asked: Asked, whole: Callable[..., DirectoryStore], tmp_path: Path
) -> None:
    home, seen = Home(tmp_path), []

    def stop(stage: str, fraction: float | None, message: str) -> None:
        seen.append(message)
        if message.startswith("Calibration: 8 of 64") and seen.count(message) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        analyse(home, asked().spec(), stop, device="cpu")
    stored = contents(home.store)
    assert {key.stage for key in stored} == {"statistics"}
    assert stored.items() <= contents(whole()).items()
    asked().run(home, ignore_progress)
    assert contents(home.store) == contents(whole())


@pytest.mark.parametrize(
    ("changes", "n", "said"),
    [
        ({}, 4, "135 sequences are 3 runs of 64"),
        ({"n_sequences": 64}, 2, "64 sequences are 1 run of 64"),
        ({"compute_dtype": "auto"}, 2, "give --compute-dtype float32 or bfloat16"),
        ({"around_keep": 0.8}, 2, "leave --around-keep out, or --shards"),
    ],
)
def test_shares_that_cannot_be_are_a_sentence(asked: Asked, changes: dict[str, object], n: int, said: str) -> None:
    with pytest.raises(InvalidSpecError, match=said):
        shards(asked(**changes), n)[-1].check()


def test_the_command_shares_an_analysis_out(asked: Asked, whole: Callable[..., DirectoryStore], tmp_path: Path) -> None:
    terminal, analysis = Terminal(tmp_path), asked()
    words = [w for name, value in analysis.arguments().items() if name != "model" for w in _option(name, value)]
    (known,) = whole().keys("analysis")
    assert terminal.json("analyse", analysis.model, *words, "--shards", 3) == {"analysis": known.fingerprint}
    assert contents(Home(tmp_path).store) == contents(whole())
    titles = [job["title"].rpartition(": ")[2] for job in terminal.json("jobs")["jobs"]]
    assert titles == ["shard 3 of 3", "shard 2 of 3", "shard 1 of 3"]
    refused = terminal.error("analyse", analysis.model, *words, "--shards", 4, "--seed", 1)
    assert "so ask for at most as many shards" in refused


def _option(name: str, value: object) -> tuple[str, str]:
    return f"--{name.replace('_', '-')}", ",".join(value) if isinstance(value, list) else str(value)


@pytest.mark.parametrize(("fisher", "are_equal"), [("empirical", True), ("ggn", False), ("sampled", False)])
def test_every_run_draws_signs_and_tokens_of_its_own(asked, toy_tokenizer, tmp_path, fisher, are_equal):
    text, word = tmp_path / "same.txt", " river"
    text.write_text(word * (2 * RUN_LENGTH * 8), encoding="utf-8")
    of_word = len(toy_tokenizer(word * 9)["input_ids"]) - len(toy_tokenizer(word * 8)["input_ids"])
    home = Home(tmp_path / "home")
    asked(text=str(text), n_sequences=2 * RUN_LENGTH, fisher=fisher, length=4 * of_word).run(home, ignore_progress)
    artifacts = [home.store.read(key) for key in home.store.keys("statistics")]
    of_layer = [one for one in artifacts if one.manifest.about["layer"] == 0]
    first, second = (read_statistics(one, 0, torch.device("cpu")) for one in of_layer)
    equal = [torch.equal(first.gradients[name], second.gradients[name]) for name in first.gradients]
    assert equal == [are_equal] * len(equal)
