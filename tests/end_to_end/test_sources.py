"""Models from a hub (a loopback server speaking its protocol), a folder and a GGUF file."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading

import pytest

from cache import DirectoryStore
from engine.decoding.schedules import RankSchedule
from engine.errors import ModelError
from engine.methods.allocate import Request, allocate_rank_map, rule_of
from engine.methods.cost import cost_of
from engine.methods.presets import PRESETS
from engine.model.opening import load_module
from engine.model.sources import known_model_fingerprint, resolve_model
from engine.operations import Analyse
from engine.pipeline.analyse import analyse
from engine.pipeline.compare import ComparisonSpec, compare
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.generate import GenerationSession
from engine.pipeline.opened import reopen_folder
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.pipeline.refine import refine
from engine.pipeline.search import search
from engine.progress import ignore_progress
from engine.rank_map.document import RankMap
from engine.search.goals import Goal
from engine.search.space import SpaceSpec
from engine.search.specs import ObjectiveSpec, SearchSpec
from engine.settings import Home
from engine.specs import (
    AnalysisSpec,
    CorpusSpec,
    EvaluationSpec,
    GenerationSpec,
    ModelSpec,
    RefinementSpec,
    TrainingSpec,
)
from engine.types import RANK_FORMATS, Budget, Metric
from tests.engine.model.test_demo import write_tiny_gguf

COMMIT = "c" * 40
READER = """
import json, sys
from pathlib import Path

from engine.errors import ModelError
from engine.model.opening import open_model
from engine.model.sources import resolve_model
from engine.settings import Home
from engine.specs import ModelSpec
answers = {}
for name in json.loads(sys.argv[1]):
    try:
        folder = resolve_model(Home(Path(".")), ModelSpec.parse(name), lambda *_: None)
        found = open_model(folder.path, device="cpu").inventory
        answers[name] = [folder.fingerprint, folder.path.name, len(found.projections), sorted(p.name for p in folder.path.iterdir())]
    except ModelError as error:
        answers[name] = str(error)
print(json.dumps(answers))
"""  # noqa: E501


class Hub(http.server.BaseHTTPRequestHandler):
    """One public model, one gated one, and one saved by pickle."""

    files: dict[str, bytes]

    def do_GET(self):
        path = self.path.partition("?")[0]
        _, _, rest = path.partition("/own/")
        repository = rest.partition("/")[0]
        if repository == "gated":
            self.answer(403, b"{}", **{"X-Error-Code": "GatedRepo"})
        elif repository not in {"toy", "pickled"}:
            self.answer(404, b"{}", **{"X-Error-Code": "RepoNotFound"})
        elif "no-such-branch" in path:
            self.answer(404, b"{}", **{"X-Error-Code": "RevisionNotFound"})
        elif "/tree/" in path:
            oids = {name: hashlib.sha1(content).hexdigest() for name, content in self.held(repository).items()}
            sizes = {name: len(content) for name, content in self.held(repository).items()}
            rows = [{"type": "file", "path": n, "size": sizes[n], "oid": oid} for n, oid in oids.items()]
            self.answer(200, json.dumps(rows).encode())
        elif path.startswith("/api/models/"):
            siblings = [{"rfilename": name} for name in self.held(repository)]
            about = {"id": f"own/{repository}", "sha": COMMIT, "private": False, "gated": False, "tags": []}
            self.answer(200, json.dumps({**about, "siblings": siblings}).encode())
        else:
            content = self.files[path.rpartition("/")[2]]
            self.answer(200, content, **{"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'})

    do_HEAD = do_GET

    def held(self, repository):
        if repository == "toy":
            return self.files
        return {n: c for n, c in self.files.items() if not n.endswith(".safetensors")} | {"pytorch_model.bin": b"x"}

    def answer(self, status, content, **headers):
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def hub_answers(tmp_path_factory, model_folder):
    """Return what a fresh process makes of each hub id."""
    files = {p.name: p.read_bytes() for p in model_folder("llama-gqa").iterdir()} | {"run_me.py": b"raise SystemExit"}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("FilledHub", (Hub,), {"files": files}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {**os.environ, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}

    def read(endpoint, names):
        home = str(tmp_path_factory.mktemp("hub"))
        done = subprocess.run(
            [sys.executable, "-c", READER, json.dumps(names)],
            env={**environment, "HF_ENDPOINT": endpoint, "HF_HOME": home},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    names = ["own/toy", f"own/toy@{COMMIT}", "own/gated", "own/nothing", "own/toy@no-such-branch", "own/pickled"]
    answers = read(f"http://127.0.0.1:{server.server_port}", names)
    server.shutdown()
    server.server_close()
    return answers | {"unreachable": read("http://127.0.0.1:9", ["own/toy"])["own/toy"]}


def test_a_hub_model_is_fetched_at_its_commit_without_its_code(hub_answers):
    fingerprint, folder, projections, names = hub_answers["own/toy"]
    assert folder == COMMIT
    assert projections == 3 * 7
    assert "model.safetensors" in names
    assert "run_me.py" not in names
    assert hub_answers[f"own/toy@{COMMIT}"][0] == fingerprint


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own/gated", "gated: accept its terms"),
        ("own/nothing", "has no model own/nothing that you may read"),
        ("own/toy@no-such-branch", "has no revision no-such-branch"),
        ("unreachable", "hub cannot be reached"),
        ("own/pickled", "no .safetensors file"),
    ],
)
def test_what_a_hub_cannot_give_is_one_sentence(hub_answers, name, words):
    assert words in hub_answers[name]


def test_a_gguf_file_is_converted_once(tmp_path):
    path = tmp_path / "tiny.gguf"
    write_tiny_gguf(path)
    first = resolve_model(Home(tmp_path), ModelSpec.parse(str(path)), ignore_progress)
    said = []
    again = resolve_model(Home(tmp_path), ModelSpec.parse(str(path)), lambda *words: said.append(words))
    assert first == again
    assert not said
    assert first.fingerprint == known_model_fingerprint(first.spec)
    assert load_module(first.path, device="cpu").config.num_hidden_layers == 1


def test_what_an_export_says_of_itself_is_no_part_of_the_model(tmp_path, model_folder, text_file, monkeypatch):
    home, folder = Home(tmp_path / "home"), tmp_path / "export"
    shutil.copytree(model_folder("llama-gqa"), folder)
    (folder / "export.json").write_text('{"seconds": 1}', encoding="utf-8")
    model = ModelSpec.parse(str(folder))
    corpus = CorpusSpec.parse(str(text_file), part="calibration", n_sequences=4, length=32)
    spec = AnalysisSpec(model, corpus, metrics=(Metric.LOSS,))
    with monkeypatch.context() as earlier_version:
        earlier_version.setattr("engine.model.sources._RECORD", "counts")
        key = analyse(home, spec, ignore_progress)
        before = resolve_model(home, model, ignore_progress).fingerprint
    found = resolve_model(home, model, ignore_progress)
    assert found.earlier == before
    assert analyse(home, spec, ignore_progress) == key
    assert reopen_folder(home, load_analysis(home.store, key.fingerprint), ignore_progress).fingerprint == before
    (folder / "export.json").write_text('{"seconds": 2}', encoding="utf-8")
    again = resolve_model(home, model, ignore_progress)
    assert again.fingerprint == found.fingerprint == known_model_fingerprint(model)


@pytest.mark.parametrize("keep", [10, 400, -64])
def test_a_truncated_gguf_is_one_sentence_and_leaves_nothing(tmp_path, keep):
    path = tmp_path / "tiny.gguf"
    write_tiny_gguf(path)
    path.write_bytes(path.read_bytes()[:keep])
    store = DirectoryStore(tmp_path / "artifacts")
    with pytest.raises(ModelError, match=r"tiny\.gguf could not be opened"):
        resolve_model(Home(tmp_path), ModelSpec.parse(str(path)), ignore_progress)
    assert not store.keys("converted-model")


def test_every_method_compresses_and_measures_a_gguf_model(tmp_path):
    path, text = tmp_path / "tiny.gguf", tmp_path / "notes.txt"
    write_tiny_gguf(path)
    text.write_text("\n\n".join(f"{word} cab dab {word[::-1]} abba" * 9 for word in ("river", "snow", "bridge", "low")))
    store = DirectoryStore(tmp_path / "artifacts")
    arguments = {"model": str(path), "text": str(text), "n_sequences": 6, "length": 32}
    key = analyse(Home(tmp_path), Analyse(**arguments).spec(), ignore_progress, device="cpu")
    path.unlink()  # what it was converted to serves from now on
    analysis = load_analysis(store, key.fingerprint)
    corpus = CorpusSpec.parse(str(text), part="calibration", n_sequences=3, length=32)
    session = EvaluationSession(Home(tmp_path), analysis.id, EvaluationSpec(corpus), ignore_progress, device="cpu")
    budget = Budget.of_kept_fraction(0.7, analysis.inventory.compressible_params)
    curves = curves_by_metric(analysis)
    texts = EvaluationSpec(corpus), None
    spec = ComparisonSpec((0.7,), tuple(PRESETS), *texts, search_trials=3)
    found = compare(Home(tmp_path), analysis.id, spec, ignore_progress, device="cpu")
    # Steps of eight ranks are too coarse to measure maps of a model as small as this; predictions answer.
    assert not found.impossible
    assert {row.method: row.search for row in found.rows} == dict.fromkeys(PRESETS) | {"bolaco": "predicted"}
    fine = SearchSpec(ObjectiveSpec(corpus, n_subset=2, n_allocations=2), Goal.at(0.7), SpaceSpec(rank_step=1), 3)
    searched = search(Home(tmp_path), analysis.id, fine, ignore_progress, device="cpu")
    assert searched.best.kept_fraction <= 0.7
    assert all(row.params <= budget.params and row.perplexity > 0 for row in found.rows)
    rank_map = allocate_rank_map(analysis, curves, "water-filling", budget)
    trained = RefinementSpec(TrainingSpec(n_sequences=16, epochs=1), compute_dtype="float32")
    refined = refine(Home(tmp_path), analysis.id, rank_map, trained, ignore_progress, device="cpu")
    assert session.measure(rank_map, ignore_progress, refined).perplexity > 0
    speaker = GenerationSession(Home(tmp_path), analysis.id, ignore_progress, device="cpu")
    progressive = speaker.progressive(RankSchedule.staged(0.8, 0.5, 2, 2))
    said = speaker.complete(progressive, speaker.encode("river", GenerationSpec(4)), GenerationSpec(4))
    assert sorted(said.active_params, reverse=True) == list(said.active_params)
    for storage in sorted(RANK_FORMATS):
        allocation = rule_of("svd-llm", curves, Request(formats=frozenset({storage}))).allocate(budget)
        rank_map = RankMap(
            "m", analysis.about["model_fingerprint"], None, storage, Metric.INPUT, None, allocation.blocks
        )
        assert cost_of(analysis, rank_map).kept_fraction <= 0.7
        assert session.measure(rank_map, ignore_progress).perplexity > 0
