"""From a rank map to a folder: whole and verified, or a sentence and nothing."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from cache import DirectoryStore
from engine.errors import ExportError, InvalidRankMapError, InvalidSpecError, RankScopeError, ResourceError
from engine.export.new_folder import appearing, require_space
from engine.export.record import finished_export
from engine.export.specs import ExportFormat, ExportSpec
from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.cost import cost_of
from engine.operations import Export
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.export import export
from engine.pipeline.opened import open_analysis
from engine.pipeline.reading.analyses import curves_by_metric
from engine.pipeline.refine import refine
from engine.progress import ignore_progress
from engine.rank_map.document import RankMap
from engine.results.rows import PerplexityResult
from engine.settings import Home
from engine.specs import RefinementSpec
from engine.types import RANK_FORMATS, BlockRank, Budget, Format, Metric
from tests.end_to_end.test_chain import evaluation_spec, run
from tests.engine.export.test_onnx import needs_onnx
from tests.support import toys
from tests.support.terminal import Terminal

pytestmark = pytest.mark.usefixtures("warm_starts")


@pytest.fixture(scope="module")
def home(tmp_path_factory, model_folder, text_file):
    """A store with an analysis, a map of it that was measured, and refined factors of that map."""
    root = tmp_path_factory.mktemp("exporting")
    model = shutil.copytree(model_folder("llama-gqa"), root / "model")
    (model / "README.md").write_text("---\nlicense: mit\n---\n# Toy\n")
    (model / "LICENSE").write_text("Do what you like.\n")
    (model / "LICENSES").mkdir()
    (root / "secret").write_text("A key of somebody's.")
    (model / "LICENSE.key").symlink_to(root / "secret")
    store = DirectoryStore(root / "artifacts")
    analysis = run(Home(root), model, text_file)
    budget = Budget.of_kept_fraction(0.6, analysis.inventory.compressible_params)
    rank_map = allocate_rank_map(analysis, curves_by_metric(analysis), "water-filling", budget)
    session = EvaluationSession(Home(root), analysis.id, evaluation_spec(text_file), ignore_progress, device="cpu")
    measured = session.measure(rank_map, ignore_progress)
    refinement = refine(
        Home(root), analysis.id, rank_map, RefinementSpec(compute_dtype="float32"), ignore_progress, device="cpu"
    )
    refined = session.measure(rank_map, ignore_progress, refinement)
    return root, store, analysis, rank_map, measured, refinement, refined


def rows(card: str) -> list[list[str]]:
    """Return the cells of the card's table of measurements."""
    lines = card.split("## Measured")[1].split("##", maxsplit=1)[0].strip().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:] if line.startswith("|")]


def assert_card_states(card: str, found: PerplexityResult) -> None:
    (cells,) = rows(card)
    numbers = (found.perplexity, found.dense_perplexity, found.divergence, found.agreement)
    assert cells == [found.text_title, f"{found.n_tokens:,}", found.provenance.dtype, *(f"{n:.4f}" for n in numbers)]


@pytest.fixture(scope="module")
def exported(home, tmp_path_factory):
    """The map as it is exported without further wishes; not to be written to."""
    root, _, analysis, rank_map, *_ = home
    folder = tmp_path_factory.mktemp("exported") / "new" / "small"
    return export(Home(root), analysis.id, rank_map, folder, ExportSpec(), ignore_progress), folder


def test_an_export_is_verified_and_its_card_says_what_was_measured(home, exported):
    _, _, analysis, rank_map, measured, _, _ = home
    (found, folder), cost = exported, cost_of(analysis, rank_map)
    assert found.max_logit_difference <= 1e-4
    assert found.weight_bytes == found.predicted_weight_bytes < found.dense_weight_bytes
    assert (found.kept_fraction, found.model_params) == (cost.kept_fraction, cost.model_params)
    card = (folder / "README.md").read_text()
    assert_card_states(card, measured)
    assert f"{cost.model_params:,}" in card
    assert f"{cost.kept_fraction:.4f}" in card
    assert "license: mit" in card
    assert (folder / "LICENSE").read_text() == "Do what you like.\n"
    assert [path.name for path in folder.glob("LICENSE*")] == ["LICENSE"], "a folder, or what a link leads to"
    assert json.loads((folder / "rank-map.json").read_text()) == json.loads(rank_map.to_json())
    assert list(folder.parent.iterdir()) == [folder]
    assert found.load[-1].endswith("trust_remote_code=True)")
    code = "\n".join(found.load)
    assert code.replace(repr(str(folder)), "'.'") in card


def test_the_same_export_is_found_done_and_another_is_refused(home, exported, tmp_path):
    root, _, analysis, rank_map, *_ = home
    found, source = exported
    folder, moved = shutil.copytree(source, tmp_path / "small"), tmp_path / "moved"

    def attempt(**spec):
        operation = Export(analysis=analysis.id, rank_map=rank_map.to_json(), folder=str(folder), **spec)
        operation.check()
        return operation.run(Home(root), ignore_progress)

    # A process killed between the folder and its job's record is followed by the same request.
    load = tuple(line.replace(str(source), str(folder)) for line in found.load)
    assert attempt() == replace(found, folder=str(folder), load=load)
    assert str(source) not in (folder / "export.json").read_text()
    with pytest.raises(ExportError, match="not empty; choose one"):
        attempt(dtype="float16")
    folder.rename(moved)
    assert finished_export(moved, analysis.id, rank_map.to_json(), ExportSpec()).folder == str(moved)
    moved.rename(folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(ExportError, match="not empty; choose one"):
        attempt()


def test_an_equal_export_that_was_faster_is_what_both_give(home, tmp_path):
    root, _, analysis, rank_map, *_ = home
    asked = Export(analysis=analysis.id, rank_map=rank_map.to_json(), folder=str(tmp_path / "small"))
    faster = []

    def told(_stage, _fraction, message):
        if message == "Putting the folder in place":
            faster.append(asked.run(Home(root), ignore_progress))

    assert [asked.run(Home(root), told)] == faster
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_refined_factors_and_dense_weights_are_exported_as_what_they_are(home, tmp_path):
    root, _, analysis, rank_map, measured, refinement, refined = home
    spec = ExportSpec(refinement=refinement.fingerprint[:10])
    found = export(Home(root), analysis.id, rank_map, tmp_path / "refined", spec, ignore_progress)
    assert found.refinement == refinement.fingerprint
    card = (tmp_path / "refined" / "README.md").read_text()
    assert "corrected in closed form" in card
    assert_card_states(card, refined)
    (tmp_path / "dense").mkdir()  # an empty folder will do
    spec = ExportSpec(ExportFormat.DENSE, "bfloat16")
    found = export(Home(root), analysis.id, rank_map, tmp_path / "dense", spec, ignore_progress)
    assert found.saves_memory is False
    assert found.weight_bytes == found.dense_weight_bytes == found.predicted_weight_bytes
    card = (tmp_path / "dense" / "README.md").read_text()
    assert "saves nothing" in card
    assert "trust_remote_code" not in card
    assert_card_states(card, measured)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "dense").dtype is torch.bfloat16


def test_an_export_with_narrow_mlps_is_analysed_and_exported_in_turn(home, tmp_path, text_file):
    """Widths first, then statistics of the narrowed model, then the ranks of what is left."""
    root, _, analysis, *_ = home
    budget = Budget.of_kept_fraction(0.8, analysis.inventory.compressible_params)
    narrow = allocate_rank_map(analysis, curves_by_metric(analysis), "width", budget)
    first = export(Home(root), analysis.id, narrow, tmp_path / "narrow", ExportSpec(), ignore_progress)
    again = run(Home(root), tmp_path / "narrow", text_file, trust_remote_code=True)
    kept = f"{100 * first.kept_fraction:.1f}"
    assert again.about["model"] == f"narrow ({kept} % of {analysis.about['model']})"
    budget = Budget.of_kept_fraction(0.7, again.inventory.compressible_params)
    ranks = allocate_rank_map(again, curves_by_metric(again), "water-filling", budget)
    found = export(Home(root), again.id, ranks, tmp_path / "both", ExportSpec(), ignore_progress)
    assert found.weight_bytes == found.predicted_weight_bytes < first.weight_bytes
    assert (found.architecture, found.dtype) == (first.architecture, first.dtype)
    config = json.loads((tmp_path / "both" / "config.json").read_text())
    assert config["factored_blocks"]
    assert config["narrowed_linears"]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "both", trust_remote_code=True)
    assert model.num_parameters() == found.model_params
    with pytest.raises(ExportError, match="is an export with narrowed MLPs"):
        export(Home(root), again.id, ranks, tmp_path / "no", ExportSpec(ExportFormat.DENSE), ignore_progress)


@needs_onnx
def test_a_graph_is_exported_with_card_and_record(tmp_path, toy_tokenizer, text_file):
    module = toys.build("llama-gqa", num_hidden_layers=1)  # tracing takes seconds for each layer
    module.save_pretrained(tmp_path / "model")
    toy_tokenizer.save_pretrained(tmp_path / "model")
    home = Home(tmp_path)
    analysis = run(home, tmp_path / "model", text_file)
    budget = Budget.of_kept_fraction(0.6, analysis.inventory.compressible_params)
    rank_map = allocate_rank_map(analysis, curves_by_metric(analysis), "water-filling", budget)
    session = EvaluationSession(home, analysis.id, evaluation_spec(text_file), ignore_progress, device="cpu")
    measured = session.measure(rank_map, ignore_progress)
    spec = ExportSpec(ExportFormat.ONNX, "int8")
    found = export(home, analysis.id, rank_map, tmp_path / "graph", spec, ignore_progress)
    assert (found.format, found.dtype, found.saves_memory) == (ExportFormat.ONNX, "int8", True)
    assert found.weight_bytes == sum(file.stat().st_size for file in (tmp_path / "graph").glob("model.onnx*"))
    assert found.same_top > 0.5
    assert "onnxruntime.InferenceSession" in found.load[-1]
    card = (tmp_path / "graph" / "README.md").read_text()
    assert_card_states(card, measured)
    assert "library_name: onnx" in card
    assert "before the weights were rounded to int8" in card
    assert finished_export(tmp_path / "graph", analysis.id, rank_map.to_json(), spec) == found


def test_a_file_for_llama_cpp_is_exported_with_card_and_record(home, tmp_path):
    root, _, analysis, *_ = home
    budget = Budget.of_kept_fraction(0.6, analysis.inventory.compressible_params)
    rank_map = allocate_rank_map(analysis, curves_by_metric(analysis), "svd-llm", budget)  # no widths
    spec = ExportSpec(ExportFormat.GGUF)
    found = export(Home(root), analysis.id, rank_map, tmp_path / "file", spec, ignore_progress)
    assert (found.format, found.dtype, found.saves_memory) == (ExportFormat.GGUF, "float16", False)
    assert found.weight_bytes == (tmp_path / "file" / "model.gguf").stat().st_size
    assert "model.gguf" in found.load[-1]
    card = (tmp_path / "file" / "README.md").read_text()
    assert "library_name: gguf" in card
    assert "saves nothing" in card
    assert finished_export(tmp_path / "file", analysis.id, rank_map.to_json(), spec) == found


def test_a_map_of_widths_is_smaller_in_llama_cpp_from_the_command_line(home, tmp_path):
    root, _, analysis, *_ = home
    terminal = Terminal(root)
    path, folder = tmp_path / "narrow.json", tmp_path / "small"
    terminal.json("allocate", analysis.id, "--method", "width", "--keep", 0.7, "--out", path)
    assert {block["format"] for block in json.loads(path.read_text())["blocks"]} == {"width", "dense"}
    found = terminal.json("export", analysis.id, path, folder, "--format", "gguf")
    assert found["saves_memory"]
    assert found["weight_bytes"] == (folder / "model.gguf").stat().st_size
    assert found["model_params"] < found["dense_params"]
    assert found["max_logit_difference"] < 5e-3 * found["largest_logit"]


def test_the_rank_of_every_module_is_in_configuration_and_card(home, exported):
    _, _, _, rank_map, *_ = home
    _, folder = exported
    ranks = {n: block.rank for block in rank_map.blocks if block.format in RANK_FORMATS for n in block.members}
    assert ranks
    assert json.loads((folder / "config.json").read_text())["rank_pattern"] == ranks
    folded = (folder / "README.md").read_text().split("<details>")[1].split("```")[1]
    assert json.loads(folded.removeprefix("json")) == ranks


def with_bits(rank_map, analysis):
    """Return a map whose blocks, the dense ones named too, take 4, 8 and 16 bits in turns; skip formats 16."""
    named = {name for block in rank_map.blocks for name in block.members}
    rest = [BlockRank((name,), Format.DENSE, None) for name in analysis.projections if name not in named]
    turns = itertools.cycle((4, 8, 16))
    blocks = (replace(b, bits=16 if b.format.skips else next(turns)) for b in (*rank_map.blocks, *rest))
    return replace(rank_map, blocks=tuple(blocks))


@pytest.mark.parametrize("formats", [{Format.LOW_RANK, Format.CAT}, {Format.WIDTH, Format.SKIP}])
def test_blocks_of_few_bits_are_stored_as_integers_in_the_promised_size(home, tmp_path, formats):
    root, _, analysis, *_ = home
    budget = Budget.of_kept_fraction(0.6, analysis.inventory.compressible_params)
    request = Request(formats=frozenset(formats))
    ranks = allocate_rank_map(analysis, curves_by_metric(analysis), "water-filling", budget, request)
    rank_map = with_bits(ranks, analysis)
    folder = tmp_path / "small"
    found = export(Home(root), analysis.id, rank_map, folder, ExportSpec(dtype="float32"), ignore_progress)
    assert found.weight_bytes == found.predicted_weight_bytes
    assert (
        found.weight_bytes
        < export(
            Home(root), analysis.id, ranks, tmp_path / "large", ExportSpec(dtype="float32"), ignore_progress
        ).weight_bytes
    )
    assert "stored as integers" in (folder / "README.md").read_text()
    opened = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", trust_remote_code=True).eval()
    session = open_analysis(Home(root), analysis, ignore_progress, dtype="float32", device="cpu")
    tokens = torch.arange(3, 19)[None]
    with torch.no_grad():
        expected = session.compress(rank_map)(input_ids=tokens, use_cache=False).logits
        assert (opened(input_ids=tokens, use_cache=False).logits - expected).abs().max() < 1e-4
    with pytest.raises(ExportError, match="does not store"):
        export(Home(root), analysis.id, rank_map, tmp_path / "no", ExportSpec(ExportFormat.DENSE), ignore_progress)


def test_experts_of_few_bits_are_stored_as_integers_in_the_promised_size(tmp_path, model_folder, text_file):
    home, folder = Home(tmp_path), tmp_path / "small"
    analysis = run(home, model_folder("mixtral"), text_file)
    experts = [name for name, p in analysis.projections.items() if p.experts is not None]
    dense, *ranks = zip(experts, itertools.cycle((4, 8)), strict=False)
    blocks = [BlockRank((name,), Format.LOW_RANK, 12, bits) for name, bits in ranks]
    blocks.insert(0, BlockRank(dense[:1], Format.DENSE, None, 4))
    about = analysis.about
    rank_map = RankMap(about["model"], about["model_fingerprint"], analysis.id, "hand", Metric.LOSS, None, (*blocks,))
    found = export(home, analysis.id, rank_map, folder, ExportSpec(dtype="float32"), ignore_progress)
    assert found.weight_bytes == found.predicted_weight_bytes
    stored = json.loads((folder / "config.json").read_text())["rounded_stacks"]
    assert [stack["bits"] for stack in stored].count(4) == 1 + 2 * 2
    opened = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", trust_remote_code=True).eval()
    session = open_analysis(home, analysis, ignore_progress, dtype="float32", device="cpu")
    tokens = torch.arange(3, 19)[None]
    with torch.no_grad():
        expected = session.compress(rank_map)(input_ids=tokens, use_cache=False).logits
        assert (opened(input_ids=tokens, use_cache=False).logits - expected).abs().max() < 1e-4


def test_what_cannot_be_exported_is_one_sentence(home, tmp_path):
    root, _, analysis, rank_map, *_ = home
    target = tmp_path / "there"

    def attempt(a_map=rank_map, spec=None, folder=target):
        export(Home(root), analysis.id, a_map, folder, spec or ExportSpec(), ignore_progress)

    with pytest.raises(InvalidSpecError, match=r"No refinement of this rank map starts with 'abc'; there are: \w{12}"):
        attempt(spec=ExportSpec(refinement="abc"))
    with pytest.raises(InvalidRankMapError, match="is for the model"):
        attempt(replace(rank_map, model_fingerprint="0" * 64))
    with pytest.raises(InvalidSpecError, match="float64"):
        ExportSpec(dtype="float64")
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="is a file"):
        attempt(folder=tmp_path / "file")
    with pytest.raises(ExportError, match="cannot be"):
        attempt(folder=tmp_path / "file" / "below")
    with pytest.raises(ResourceError, match="make room"):
        require_space(target, 10**18)
    assert not target.exists()


def test_a_failure_while_writing_leaves_nothing(tmp_path):
    def fail():
        with appearing(tmp_path / "out") as partial:
            (partial / "half").write_text("x")
            raise ZeroDivisionError

    def be_overtaken():
        with appearing(tmp_path / "out"):
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "theirs").touch()

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())
    with pytest.raises(ExportError, match="not empty"):
        be_overtaken()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "theirs"]


def export_as_child(home, folder, way):
    """Export, and be killed or run out of room meanwhile; runs in a process of its own."""
    root, _, analysis, rank_map, *_ = home

    def report(stage, fraction, message):
        if way == "kill" and message.startswith("Opening the folder in"):
            os.kill(os.getpid(), signal.SIGKILL)
        if way == "limit" and message.startswith("Writing"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    try:
        export(Home(root), analysis.id, rank_map, folder, ExportSpec(), report)
    except RankScopeError as error:
        (folder.parents[1] / "said").write_text(str(error))
        sys.exit(1)


def child(home, folder, way):
    """Return how the child ended; it is forked, so that it imports nothing anew."""
    process = multiprocessing.get_context("fork").Process(target=export_as_child, args=(home, folder, way))
    process.start()
    process.join(240)
    return process.exitcode


def test_a_killed_export_leaves_no_folder_and_the_next_one_cleans_up(home, tmp_path):
    folder = tmp_path / "exports" / "small"
    assert child(home, folder, "kill") == -signal.SIGKILL
    (left,) = folder.parent.iterdir()
    assert left.name != "small"
    root, _, analysis, rank_map, *_ = home
    export(Home(root), analysis.id, rank_map, folder, ExportSpec(), ignore_progress)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_file_that_cannot_grow_is_a_full_disk(home, tmp_path):
    assert child(home, tmp_path / "exports" / "small", "limit") == 1
    assert "became full while the model was written, and nothing was left there" in (tmp_path / "said").read_text()
    assert not list((tmp_path / "exports").iterdir())


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 2 MB, where mounting is allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_or_becomes_full_is_one_sentence(home, tiny_disk, monkeypatch):
    root, _, analysis, rank_map, *_ = home
    (tiny_disk / "ballast").write_bytes(bytes(1_950_000))
    with pytest.raises(ResourceError, match=r"needs [\d.]+ MB and the disk of"):
        export(Home(root), analysis.id, rank_map, tiny_disk / "small", ExportSpec(), ignore_progress)
    # Room that somebody else takes while the model is written.
    monkeypatch.setattr("engine.pipeline.written.require_space", lambda *_: None)
    with pytest.raises(ResourceError, match="became full"):
        export(Home(root), analysis.id, rank_map, tiny_disk / "small", ExportSpec(), ignore_progress)
    assert [path.name for path in tiny_disk.iterdir()] == ["ballast"]


def test_the_command_exports_and_lm_eval_measures_what_it_wrote(home, tmp_path):
    root, _, analysis, rank_map, *_ = home
    terminal = Terminal(root)
    (tmp_path / "map.json").write_text(rank_map.to_json())
    found = terminal.json("export", analysis.id[:10], tmp_path / "map.json", tmp_path / "small")
    assert found["folder"] == str(tmp_path / "small")
    assert "not empty" in terminal("export", analysis.id[:10], tmp_path / "map.json", tmp_path, code=1).stderr
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    lines = [{"question": f"The rank {i}", "choices": [" is low", " is high"], "answer": i % 2} for i in range(4)]
    (tasks / "toy.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tasks / "toy.yaml").write_text(
        textwrap.dedent(f"""
        task: toy
        dataset_path: json
        dataset_kwargs:
          data_files:
            test: {tasks / "toy.jsonl"}
        output_type: multiple_choice
        test_split: test
        doc_to_text: "{{{{question}}}}"
        doc_to_choice: "{{{{choices}}}}"
        doc_to_target: "{{{{answer}}}}"
        metric_list:
          - metric: acc
        """)
    )
    # The command itself first reads the 14,000 tasks that come with it, which takes minutes.
    code = textwrap.dedent("""
        import json, sys
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager

        tasks = TaskManager(include_path=sys.argv[2], include_defaults=False)
        found = simple_evaluate(
            "hf", sys.argv[1], ["toy"], task_manager=tasks, device="cpu", batch_size=2, bootstrap_iters=0
        )
        print(json.dumps(found["results"]["toy"]))
    """)
    arguments = f"pretrained={found['folder']},trust_remote_code=True,dtype=float32"
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(tmp_path / "data"),
        "HF_MODULES_CACHE": str(tmp_path / "modules"),
    }
    command = [sys.executable, "-c", code, arguments, str(tasks)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert 0 <= json.loads(done.stdout.splitlines()[-1])["acc,none"] <= 1
