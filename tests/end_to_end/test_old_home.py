"""A home that RankScope 0.1.0 wrote opens as it was: nothing is computed twice, and every number is the same."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.pages import PAGES
from cache import DirectoryStore
from engine import cli
from engine.jobs import JobQueue, JobStatus
from engine.jobs.record import JobRecord
from engine.jobs.run import run
from engine.pipeline.reading.analyses import load_analysis
from engine.pipeline.reading.results import results
from engine.rank_map.drafts import Draft, Drafts
from engine.types import Metric
from tests.app.conftest import _empty_caches, no_worker, open_page  # noqa: F401 -- fixtures
from tests.support.tiers import sweep_unless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamlit.testing.v1 import AppTest

HOMES = Path(__file__).parents[1] / "support" / "homes"
KNOWN, *ANSWERS = map(json.loads, (HOMES / "0.1.0.jsonl").read_text(encoding="utf-8").splitlines())
JOBS = ANSWERS.pop()["answer"]["jobs"]
ENTRYPOINT = "engine.operations:run"
CHANGING = {"seconds", "search_s", "storage", "out", "bytes"}
"""What depends on the moment and the place: how long an allocation takes, where a file lies, how long its path is."""

DEFINED_ANEW = ("effective_rank", "low", "high", "predicted_perplexity_ratio")
"""Of every answer: 0.1.0 took the effective rank of energies, left what a text is uncertain by out of intervals, and
expected predictions to be nearer the truth."""

PREDICTED = ("predicted_nll", "predicted_perplexity", "prediction_")
"""Of ``allocate`` only: 0.1.0 predicted for the text measured last, now it is the one with the most measured maps."""


def unpacked(folder: Path) -> Path:
    with tarfile.open(HOMES / "0.1.0.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "home"


@pytest.fixture(scope="module")
def asked_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home, shared by the tests that find everything in it; the job that is queued there would add something."""
    home = unpacked(tmp_path_factory.mktemp("old"))
    (queued,) = JobRecord(home).unfinished()
    JobRecord(home).cancel(queued.id, 0.0)
    return home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home, for one test."""
    monkeypatch.setenv("RANKSCOPE_HOME", str(tmp_path / "home"))
    return unpacked(tmp_path)


@pytest.fixture
def rankscope(asked_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command and its job in this process, which loads torch once for all of them; return the command's JSON."""
    monkeypatch.chdir(tmp_path)
    return commands(asked_home, monkeypatch)


def commands(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return what runs commands in a home."""
    monkeypatch.setenv("RANKSCOPE_HOME", str(home))
    monkeypatch.setattr("engine.jobs.queue.start_detached", lambda *_: attempt(home))

    def answer(*words: str) -> Any:
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            cli.command([*words, "--json"], standalone_mode=False)
        return json.loads(shown.getvalue())

    return answer


def attempt(home: Path) -> None:
    """Run the job that was submitted last, with its output where it belongs."""
    record = JobRecord(home)
    job = record.unfinished()[-1]
    with record.folder(job.id).log.open("a") as log, contextlib.redirect_stdout(log):
        run(home, job.id, ENTRYPOINT)


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Yield what of an old answer is missing or another in a new one, which may say more."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in (name for name in old.keys() - CHANGING if not name.endswith(DEFINED_ANEW)):
            yield from differences(old[name], new.get(name, "nothing"), f"{where}.{name}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{where}[{index}]")
    elif old != (pytest.approx(new, rel=1e-9) if isinstance(new, float) else new):
        yield f"{where}: {old} was, {new} is"


def measurements(answer: Any) -> set[tuple[float, float, int]]:
    """Return the perplexities anywhere in an answer: perplexity, the dense model's, over how many tokens."""
    parts = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list) else ()
    found = {measurement for part in parts for measurement in measurements(part)}
    if isinstance(answer, dict) and {"perplexity", "dense_perplexity", "n_tokens"} <= answer.keys():
        found.add((answer["perplexity"], answer["dense_perplexity"], answer["n_tokens"]))
    return found


@pytest.mark.parametrize(
    "asked",
    [a for a in ANSWERS if a["words"][0] not in {"compare", "analyse"} and "--train" not in a["words"]],
    ids=lambda asked: " ".join(asked["words"]),
)
def test_every_command_answers_as_it_did_and_computes_nothing(
    asked_home: Path, rankscope: Callable[..., Any], asked: dict[str, Any]
) -> None:
    stored = DirectoryStore(asked_home / "artifacts").keys()
    words = {*asked["words"]}
    # These levels of 0.1.0 measured in the checkpoint's own type.
    added = ("--dtype", "auto") if {"quick", "full"} & words and "--dtype" not in words else ()
    answer = rankscope(*asked["words"], *added)
    assert DirectoryStore(asked_home / "artifacts").keys() == stored
    if asked["words"][0] in {"evaluate", "refine"}:
        assert measurements(answer) >= measurements(asked["answer"]) != set()
    elif asked["words"][0] == "allocate":
        old = {name: value for name, value in asked["answer"].items() if not name.startswith(PREDICTED)}
        if "--perplexity-ratio" in asked["words"]:
            old = {"method": old["method"]}  # the map follows from the predictions
        assert list(differences(old, answer)) == []
        assert answer["prediction_text"] == "Wikipedia passages (evaluation)"
    else:
        assert list(differences(asked["answer"], answer)) == []


def test_training_is_done_by_its_present_rule_and_what_was_trained_before_stays(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (asked,) = (a for a in ANSWERS if "--train" in a["words"])
    store = DirectoryStore(home / "artifacts")
    before = set(store.keys())
    monkeypatch.chdir(tmp_path)
    answer = commands(home, monkeypatch)(*asked["words"])
    assert before < set(store.keys())
    old, new = (a["refinement"] for a in (asked["answer"], answer))
    assert {old, new} <= {row.refinement_id for row in results(store, asked["words"][1])}
    assert {row.refinement for row in results(store, asked["words"][1]) if row.refinement_id == old} == {"trained"}


@pytest.mark.parametrize(
    "asked", [a for a in ANSWERS if a["words"][0] == "analyse"], ids=lambda asked: " ".join(asked["words"])
)
def test_an_analysis_is_made_anew_with_widths_and_the_old_one_stays(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    store = DirectoryStore(home / "artifacts")
    before = set(store.keys())
    monkeypatch.chdir(tmp_path)
    # Analyses of 0.1.0 stored the factors of these metrics unless they were asked for others.
    added = () if "--metrics" in asked["words"] else ("--metrics", "input,loss")
    found = commands(home, monkeypatch)(*asked["words"], *added)["analysis"]
    assert before < set(store.keys())
    old, new = load_analysis(store, asked["answer"]["analysis"]), load_analysis(store, found)
    assert (len(old.inventory.mlps), len(new.inventory.mlps)) == (0, new.inventory.n_layers)
    widths = {mlp.name for mlp in new.inventory.mlps}
    assert new.nats[Metric.LOSS].keys() - old.nats[Metric.LOSS].keys() == widths
    if "--around-keep" in asked["words"]:
        return  # around another map: a moment that was measured follows from another one now
    for name, nats in old.nats[Metric.LOSS].items():
        assert new.nats[Metric.LOSS][name] == pytest.approx(nats, rel=0.05, abs=0.005 * nats.max()), name


def test_a_comparison_keeps_its_rows_and_predicts_the_one_that_had_no_map(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (queued,) = JobRecord(home).unfinished()
    JobRecord(home).cancel(queued.id, 0.0)
    (asked,) = (a for a in ANSWERS if a["words"][0] == "compare")
    answer = commands(home, monkeypatch)(*asked["words"])
    measured = ("method", "target_kept_fraction", "params", "perplexity", "other_perplexity")
    kept, new = (
        {tuple(row[name] for name in measured): row for row in rows}
        for rows in (asked["answer"]["rows"], answer["rows"])
    )
    assert [new.pop(row).get("search") for row in kept] == [None, None, "measured", None, None]
    ((method, target, *_), (added,)) = next(iter(new)), new.values()
    assert (method, target, added["search"]) == ("bolaco", 0.6, "predicted")
    assert asked["answer"]["impossible"]
    assert answer["impossible"] == []


@pytest.mark.usefixtures("no_worker")  # which a page would start for the job that is queued there
@pytest.mark.parametrize("kind", sweep_unless(["newest", "around", "held", "map", "other maps"], {"held", "map"}))
@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens(home: Path, open_page: Callable[..., AppTest], name: str, kind: str) -> None:  # noqa: F811
    analysis = {"analysis": KNOWN["analysis"][:12]}
    maps = [analysis | {"map": path.stem} for path in sorted(home.glob("maps/*/*.json"))]
    queries = {
        "newest": [{}],
        "around": [{"analysis": KNOWN["around"][:12]}],
        "held": [analysis | {"held": KNOWN["draft"], "keep": "0.7", "method": "flrc"}],
        "map": maps[:1],
        "other maps": maps[1:],
    }
    for query in queries[kind]:
        page = open_page(name, **query)
        assert not page.exception
        said = [error.value for error in page.error]
        assert len(said) == (name == "jobs"), said  # the failed job says why
        assert all(page.query_params[key] == query[key] for key in query.keys() & {"map", "held"})


def test_what_refinements_and_exports_brought_is_said(home: Path, open_page: Callable[..., AppTest]) -> None:  # noqa: F811
    (queued,) = JobRecord(home).unfinished()  # a page would follow it in place of the one in its address
    JobRecord(home).cancel(queued.id, 0.0)
    for operation, said in (("refine", "Perplexity over dense: "), ("export", "The export is no longer in ")):
        job = next(job["job"] for job in JOBS if job["operation"] == operation and job["status"] == "done")
        page = open_page("allocation", analysis=KNOWN["analysis"][:12], job=job)
        assert any(said in caption.value for caption in page.caption)


def test_held_ranks_are_recalled(home: Path) -> None:
    analysis = load_analysis(DirectoryStore(home / "artifacts"), KNOWN["analysis"])
    assert Drafts(home / "drafts", analysis.id).recall(KNOWN["draft"], analysis.projections) == Draft(KNOWN["held"])


def test_jobs_are_listed_as_they_ended_and_those_that_are_left_can_be_done(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.jobs.queue.start_detached", lambda *_: None)
    queue, kept = JobQueue(home), ("operation", "title", "status", "error", "result")
    listed = {job.id: {name: getattr(job, name) for name in kept} for job in queue.jobs()}
    (exported,) = (job for job in queue.jobs() if job.operation == "export")
    lay = Path(str(exported.arguments["folder"])).parents[1]
    as_written = json.loads(json.dumps(listed).replace(str(lay), "{home}"))
    assert as_written == {job["job"]: {name: job[name] for name in kept} for job in JOBS}
    (queued,) = (job for job in JOBS if job["status"] == "queued")
    (failed,) = (job for job in JOBS if job["status"] == "failed")
    (interrupted,) = (job for job in JOBS if job["status"] == "interrupted")
    attempt(home)
    assert queue.get(queued["job"]).status is JobStatus.DONE
    queue.resume(interrupted["job"])
    attempt(home)
    assert queue.get(interrupted["job"]).status is JobStatus.DONE
    queue.resume(failed["job"])
    attempt(home)
    assert queue.get(failed["job"]).error == failed["error"]
