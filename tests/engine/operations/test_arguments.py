"""Every argument of every operation, right and wrong: in the model, on the command line, on a page, in a job."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from streamlit.testing.v1 import AppTest

from engine.errors import InvalidSpecError
from engine.jobs import JobQueue, JobStatus
from engine.jobs.job import job_fingerprint
from engine.jobs.run import run as run_job
from engine.operations import Evaluate, Operation, Refine, operations
from engine.operations.evaluate import LEVELS
from engine.rank_map.document import RankMap
from engine.types import Metric
from tests.app.conftest import toy_analysis, toy_home  # noqa: F401 -- fixtures
from tests.support.terminal import Terminal
from tests.support.tiers import sweep_unless

if TYPE_CHECKING:
    from pathlib import Path

    from engine.analysis.value import Analysis

MAP = RankMap("toy", "a" * 64, None, "by hand", Metric.LOSS, None, ())
REQUIRED = {
    "analysis": "a" * 64,
    "rank_map": "{}",
    "rank_maps": ["{}"],
    "folder": "somewhere",
    "shard": 0,
    "n_shards": 1,
    "worker": 1,
    "projection": "q",
}
HIDDEN = ("analyse-shard", "passages", "predict-rounding", "search-worker")
"""Parts of analyse, allocate with bits, and search; and what only a page shows."""
COMMANDS = tuple(name for name in operations.names() if name not in HIDDEN)
OPTIONS = {
    ("search", "divergence_weight"): "--lambda",
    ("sensitivity", "kept_fraction"): "--keep",
    ("compare", "kept_fractions"): "--keep",
}


class Wrong(NamedTuple):
    """A value that an operation refuses, and what the refusal names."""

    operation: str
    name: str
    value: Any
    expected: str


def every_wrong_value() -> list[Wrong]:
    found = []
    for operation in operations.names():
        found.append(Wrong(operation, "nonsense", 1, "does not exist"))
        for name, setting in operations.get(operation).settings().items():
            found.append(Wrong(operation, name, {"not": "a value"}, setting.expected))
            if setting.choices or setting.kind in {int, float}:
                value = "nothing" if setting.choices else "many"
                found.append(Wrong(operation, name, [value] if setting.is_list else value, setting.expected))
            for value in out_of_range(setting):
                found.append(Wrong(operation, name, [value] if setting.is_list else value, setting.expected))
            if setting.is_filled:
                found.append(Wrong(operation, name, [], setting.expected))
    return found


def out_of_range(setting: Any) -> list[float]:
    below = [setting.ge - 1] if setting.ge is not None else [setting.gt] if setting.gt is not None else []
    above = [setting.le + 1] if setting.le is not None else [setting.lt] if setting.lt is not None else []
    return below + above


def required(operation: type[Operation]) -> dict[str, Any]:
    return {name: REQUIRED[name] for name, setting in operation.settings().items() if setting.is_required}


WRONG = every_wrong_value()


def wrong_for(operation: str) -> list[Wrong]:
    return [wrong for wrong in WRONG if wrong.operation == operation]


def asked(wrong: Wrong) -> dict[str, Any]:
    return {**required(operations.get(wrong.operation)), wrong.name: wrong.value}


@pytest.mark.parametrize("operation", operations.names())
def test_a_wrong_argument_is_refused_in_one_sentence(operation: str) -> None:
    for wrong in wrong_for(operation):
        with pytest.raises(InvalidSpecError) as refused:
            operations.get(operation)(**asked(wrong))
        said = str(refused.value)
        assert operation in said, wrong
        assert wrong.name in said, wrong
        assert wrong.expected in said, wrong
        assert "\n" not in said, wrong


@pytest.mark.parametrize("part", sweep_unless([slice(2), slice(2, None)], [slice(2)]), ids=["first", "others"])
@pytest.mark.parametrize("operation", operations.names())
def test_the_record_of_a_job_says_so(
    operation: str, part: slice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.jobs.queue.start_detached", lambda *_: None)
    monkeypatch.setenv("RANKSCOPE_HOME", str(tmp_path))
    queue = JobQueue(tmp_path)
    for wrong in wrong_for(operation)[part]:
        job = queue.submit(operation, asked(wrong), title="Wrong")
        assert run_job(tmp_path, job.id, queue.entrypoint) == 1
        ended = queue.get(job.id)
        assert ended.status is JobStatus.FAILED, wrong
        assert ended.error is not None, wrong
        assert wrong.expected in ended.error, wrong
        assert "bug" not in ended.error, wrong


def show(operation: str, attempts: list[dict]) -> None:  # the script of a page, which imports what it uses
    from app.services import jobs
    from app.widgets.errors import errors_shown
    from engine.operations import operations

    for arguments in attempts:
        with errors_shown():
            jobs.submit(operations.get(operation)(**arguments))


@pytest.mark.parametrize("operation", operations.names())
def test_a_page_says_so(operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKSCOPE_HOME", str(tmp_path))
    attempts = wrong_for(operation)
    page = AppTest.from_function(show, args=(operation, [asked(wrong) for wrong in attempts]), default_timeout=60).run()
    assert not page.exception
    for wrong, error in zip(attempts, page.error, strict=True):
        assert wrong.expected in error.value.replace("\\", ""), wrong


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory, toy_home: Path) -> Terminal:  # noqa: F811
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(toy_home / "artifacts", home / "artifacts")
    return Terminal(home)


@pytest.fixture(scope="module")
def subjects(terminal: Terminal, toy_analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:  # noqa: F811
    """Return what a command takes in the place of a required argument."""
    folder = tmp_path_factory.mktemp("map")
    terminal("allocate", toy_analysis.id, "--keep", 0.8, "--out", folder / "map.json")
    rank_map = str(folder / "map.json")
    return {"analysis": toy_analysis.id, "rank_map": rank_map, "rank_maps": rank_map, "folder": str(folder / "new")}


@pytest.mark.parametrize("values", sweep_unless(["one of each", "others"], {"one of each"}))
@pytest.mark.parametrize("operation", COMMANDS)
def test_the_command_line_says_so(operation: str, values: str, terminal: Terminal, subjects: dict[str, str]) -> None:
    settings = operations.get(operation).settings()
    words = [operation, *(subjects[name] for name in required(operations.get(operation)))]
    words += ["demo"] if operation == "analyse" else []
    assert "No such option: --nonsense" in terminal(*words, "--nonsense", 1, code=2).stderr
    every = [wrong for wrong in wrong_for(operation) if wrong.name in settings and is_wrong_in_words(wrong)]
    each = {wrong.name: wrong for wrong in every}.values()
    for wrong in each if values == "one of each" else (wrong for wrong in every if wrong not in each):
        value = ",".join(map(str, wrong.value)) if isinstance(wrong.value, list) else wrong.value
        option = OPTIONS.get((operation, wrong.name), f"--{wrong.name.replace('_', '-')}")
        assert wrong.expected in terminal.error(*words, f"{option}={value}")


def is_wrong_in_words(wrong: Wrong) -> bool:
    """Return whether a value is wrong on the command line, too, where any text is one."""
    setting = operations.get(wrong.operation).settings()[wrong.name]
    is_text = setting.kind in {str, bool} and not setting.choices
    return not (setting.is_required or is_text or isinstance(wrong.value, dict))


def test_perplexities_of_all_levels_compare() -> None:
    levels = [Evaluate(analysis="a", rank_maps=("m",)).changed(level=level) for level in LEVELS]
    assert len({(one.text, one.n_sequences, one.length, one.dtype) for one in levels}) == 1


@pytest.mark.parametrize("operation", COMMANDS)
def test_every_option_is_shown_with_its_help_and_default(operation: str, terminal: Terminal) -> None:
    shown = " ".join(terminal(operation, "--help").stdout.replace("│", " ").split())
    for name, setting in operations.get(operation).settings().items():
        if setting.is_required or (operation, name) == ("analyse", "model"):
            continue
        assert OPTIONS.get((operation, name), f"--{name.replace('_', '-')}") in shown
        assert setting.help.split(".")[0] in shown
        assert f"Default: {operations.get(operation).default_text(name)}" in shown or setting.default in {None, "", ()}


def test_equal_requests_are_one_job_with_the_id_of_earlier_versions() -> None:
    plain = {"analysis": "a", "rank_maps": ["m"]}
    usual = Evaluate(analysis="a", rank_maps=("m",), n_sequences=20, dtype="float32")
    quick = Evaluate(analysis="a", rank_maps=("m",)).changed(level="quick", limit=0)
    assert usual.arguments() == plain
    assert quick.arguments() == {**plain, "level": "quick", "limit": 0}
    assert job_fingerprint("evaluate", usual.arguments()) == job_fingerprint("evaluate", plain)
    assert Refine(analysis="a", rank_map="m", minutes=30, train=True).arguments() == {
        "analysis": "a",
        "rank_map": "m",
        "train": True,
    }


@pytest.mark.parametrize("operation", operations.names())
def test_arguments_survive_the_record_of_jobs(operation: str) -> None:
    asked_for = operations.get(operation)(**required(operations.get(operation)))
    stored = json.loads(json.dumps(asked_for.arguments()))
    assert set(stored) == set(required(operations.get(operation)))
    assert operations.get(operation)(**stored) == asked_for


def test_neither_the_operations_nor_the_command_line_load_torch() -> None:
    script = (
        "import sys, engine.cli, engine.operations;"
        "heavy = {'torch', 'transformers', 'datasets', 'optuna', 'scipy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("level", LEVELS)
def test_levels_measure_no_speed_and_no_memory_of_rounded_weights(level: str) -> None:
    rounded = Evaluate(analysis="a", rank_maps=(MAP.to_json(),), level=level, bits="4")
    assert (rounded.repetitions, rounded.memory) == (0, False)
    assert rounded.changed(limit=7).repetitions == 0
    rounded.check()


def test_speed_of_rounded_weights_is_refused_in_one_sentence() -> None:
    with pytest.raises(InvalidSpecError, match="at 8 bits was asked for"):
        Evaluate(analysis="a", rank_maps=(MAP.to_json(),), bits="8", repetitions=2).check()
    with pytest.raises(InvalidSpecError, match="'2'; expected one of 16, 8, 4"):
        Evaluate(analysis="a", rank_maps=(MAP.to_json(),), bits="2")
