"""What is said of a model and a text before an analysis begins, and what cannot begin."""

from __future__ import annotations

import json
import shutil
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from app.services import paths, plans
from app.tables.analysis import how_analysed
from cache.processes import this_process
from engine.errors import ModelError
from engine.jobs import JobQueue, JobStatus
from engine.jobs.record import JobRecord
from engine.model.headers import read_header
from engine.operations import Analyse
from engine.pipeline.reading.analyses import DEPTH_WEIGHTS
from tests.app.test_views import button

if TYPE_CHECKING:
    from pathlib import Path

    from engine.analysis.value import Analysis
    from tests.app.test_views import Open


def test_a_folders_headers_say_what_the_analysis_finds(toy_home: Path, toy_analysis: Analysis) -> None:
    header, inventory = read_header(toy_home / "toy-model"), toy_analysis.inventory
    assert (header.architecture, header.n_layers) == (inventory.architecture, inventory.n_layers)
    assert (header.n_params, header.n_matrix_params) == (inventory.total_params, inventory.compressible_params)


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def test_a_gguf_header_is_read_past_its_vocabulary(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    values = [
        string("general.architecture") + struct.pack("<I", 8) + string("llama"),
        string("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + string("a") + string("b"),
        string("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, 2) + struct.pack("<2f", 0.0, 1.0),
        string("llama.block_count") + struct.pack("<II", 4, 1),
    ]
    tensors = [
        string(name) + struct.pack("<I2QIQ", 2, *shape, 0, 0)
        for name, shape in {"token_embd.weight": (8, 4), "blk.0.attn_q.weight": (8, 8)}.items()
    ]
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values)) + b"".join(values + tensors))
    header = read_header(file)
    assert (header.architecture, header.n_layers, header.n_params, header.n_matrix_params) == ("llama", 1, 96, 64)
    for end in (2, 10, 60, file.stat().st_size - 1):
        (tmp_path / "cut.gguf").write_bytes(file.read_bytes()[:end])
        with pytest.raises(ModelError, match="cannot be read"):
            read_header(tmp_path / "cut.gguf")


def analysis_of(toy_home: Path, text: Path, **settings: object) -> Analyse:
    return Analyse(model=str(toy_home / "toy-model"), text=str(text), length=64, **settings)


def test_tokens_are_counted_by_the_models_tokenizer(home: Path, toy_home: Path) -> None:
    plan = plans.text_plan(analysis_of(toy_home, toy_home / "corpus.txt", n_sequences=8))
    assert plan is not None
    assert plan.is_counted
    assert plan.n_tokens > 8 * 64
    assert plan.preview.beginning.startswith("Paragraph 0.")


@pytest.mark.usefixtures("home")
def test_what_cannot_work_is_said_before_it_begins(toy_home: Path, tmp_path: Path) -> None:
    text = tmp_path / "few.txt"
    text.write_text("some words")
    assert "512 are needed" in str(plans.obstacle(analysis_of(toy_home, text, n_sequences=8)))
    assert plans.obstacle(analysis_of(toy_home, toy_home / "corpus.txt", n_sequences=8)) is None
    (tmp_path / "no-model").mkdir()
    empty = Analyse(model=str(tmp_path / "no-model"))
    assert "has no config.json" in str(plans.obstacle(empty))
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"n": 1, "body": "text of a row"}) + "\n")
    assert plans.keys_of(str(rows)) == ("body",)
    assert "choose another key" in str(plans.obstacle(analysis_of(toy_home, rows, n_sequences=1)))


@pytest.mark.usefixtures("no_worker")
def test_a_failed_analysis_leaves_its_form_as_it_was(open_page: Open, home: Path, toy_home: Path) -> None:
    asked = analysis_of(toy_home, toy_home / "corpus.txt", n_sequences=9)
    queue = JobQueue(home)
    job = queue.submit(asked.name, asked.arguments(), title="Analyse it")
    record = JobRecord(home)
    record.claim(job.id, this_process())
    record.finish(job.id, 1, JobStatus.FAILED, "The disk is full.")
    page = open_page("model", job=job.id)
    assert not page.exception
    assert page.text_input(key="model.folder").value == asked.model
    assert page.text_input(key="model.text.path").value == asked.text
    assert page.number_input(key="model.good.n").value == 9
    assert not button(page, "Analyse").disabled
    assert any("Plan: the whole model in memory; memory up to about" in caption.value for caption in page.caption)


@pytest.mark.usefixtures("home")
def test_an_analysis_the_disk_has_no_room_for_cannot_begin(toy_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = analysis_of(toy_home, toy_home / "corpus.txt", n_sequences=8)
    usage = shutil.disk_usage(toy_home)
    monkeypatch.setattr("engine.pipeline.plan.shutil.disk_usage", lambda _: usage._replace(free=0))
    assert "0 MB are free at" in str(plans.obstacle(asked))


def test_the_model_page_says_what_the_home_holds(open_page: Open, analysed_home: Path) -> None:
    (analysed_home / "exports" / "small").mkdir(parents=True)
    (analysed_home / "exports" / "small" / "model.safetensors").write_bytes(bytes(2_000_000))
    page = open_page("model", {"model.storage": True})
    assert not page.exception
    tables = [frame.value for frame in page.dataframe]
    exports, stages = ({frame.columns[0]: frame for frame in tables}[name] for name in ("Export", "What"))
    assert {"Spectra and curves of analyses", "Measured perplexities"} <= set(stages["What"])
    assert list(exports.itertuples(index=False, name=None)) == [("small", "", 2.0)]
    assert len(open_page("model").dataframe) == len(page.dataframe) - 3  # analyses, stages, exports


def test_how_it_was_analysed_is_told_in_words(open_page: Open, analysed_home: Path) -> None:
    page = open_page("model")
    assert not page.exception
    assert not page.json
    (table,) = (frame.value for frame in page.dataframe if "what" in frame.value)
    facts = dict(zip(table["what"], table["value"], strict=True))
    assert facts["Text"] == "corpus.txt"
    assert facts["Amount"] == "8 sequences of 64 tokens"
    assert facts["Taken of"] == "the dense model"
    assert facts["Harm by depth"].startswith("as estimated")
    assert facts["Made"].endswith("UTC")
    assert not any(word in value for value in facts.values() for word in ("None", "null", "{"))


def test_what_measured_depths_count_is_told_also_of_an_older_analysis(toy_analysis: Analysis) -> None:
    def told(**weights: object) -> str:
        about = {name: value for name, value in toy_analysis.about.items() if name != DEPTH_WEIGHTS}
        table = how_analysed(replace(toy_analysis, about={**about, **weights}))
        return dict(zip(table["what"], table["value"], strict=True))["Harm by depth"]

    measured = told(depth_weights={"ranks": [1.5, 0.8], "widths": [1.2, 1.0]})
    assert measured.startswith("of ranks 0.80 to 1.50 × and of widths 1.00 to 1.20 × the estimate")
    assert told(width_weight=0.46).startswith("of widths 0.46 to 0.46 × the estimate")
    assert told().startswith("as estimated")


def test_an_effort_fills_in_the_amounts(open_page: Open) -> None:
    page = open_page("model")
    assert page.number_input(key="model.good.n").value == 64
    page.button_group(key="model.effort").set_value("best").run()
    assert page.number_input(key="model.best.n").value == 256
    page.button_group(key="model.effort").set_value("fast").run()
    assert page.number_input(key="model.fast.n").value == 16


def test_a_typed_path_goes_on_with_what_lies_there(tmp_path: Path) -> None:
    for name in ("models/one", "models/.cache", "Music"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("models/two.gguf", "models/notes.txt", "models/one/config.json"):
        (tmp_path / name).touch()

    def after(typed: str, *suffixes: str) -> list[str]:
        return [path.removeprefix(f"{tmp_path}/") for path in paths.continuations(f"{tmp_path}/{typed}", suffixes)]

    assert after("") == after("m") == ["models/", "Music/"]
    assert after("models") == after("models/") == ["models/one/"]
    assert after("models", ".gguf") == ["models/one/", "models/two.gguf"]
    assert after("models/.") == ["models/.cache/"]
    assert after("models/one") == after("models/two.gguf", ".gguf") == after("nothing/here") == []
    assert paths.continuations("", ()) == paths.continuations("owner/name", ()) == []
    (tmp_path / "models" / "\udcff").mkdir()  # no UTF-8, which no page can show
    assert after("models/") == ["models/one/"]


def test_visitors_are_offered_nothing_outside_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "allowed" / "inside").mkdir(parents=True)
    monkeypatch.setattr("engine.paths._confined_to", [tmp_path / "allowed"])
    assert paths.continuations(str(tmp_path), ()) == []
    assert paths.continuations(f"{tmp_path}/allowed/", ()) == [f"{tmp_path}/allowed/inside/"]


def test_a_continuation_that_is_chosen_becomes_the_path(open_page: Open, tmp_path: Path) -> None:
    (tmp_path / "models" / "one").mkdir(parents=True)
    page = open_page("model", {"model.source": "folder", "model.folder": f"{tmp_path}/mod"})
    page = page.button_group(key=f"model.folder.next.{tmp_path}/mod").set_value(f"{tmp_path}/models/").run()
    assert not page.exception
    assert page.text_input(key="model.folder").value == f"{tmp_path}/models/"
    (choice,) = (group for group in page.button_group if str(group.key).startswith("model.folder.next"))
    assert choice.options == ["one/"]
