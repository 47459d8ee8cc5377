"""Models that are read layer by layer: the same artifacts, the same results, and what happens where it cannot be."""

from __future__ import annotations

import itertools
import re
import shutil
import weakref
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from engine.calibration.sides import statistics_bytes
from engine.errors import ResourceError, UnstreamableError
from engine.export.dense import export_dense, multiplied_out
from engine.export.factored import export_factored
from engine.export.rounded import unrounded, with_integers
from engine.export.specs import ExportFormat, ExportSpec
from engine.export.weights import stored_bytes
from engine.jobs import JobQueue
from engine.methods.allocate import Request, allocate_rank_map
from engine.model.headers import read_header
from engine.model.module import decoder_layers
from engine.model.opening import open_model
from engine.operations import Analyse, submit
from engine.pipeline import factorize, factors, opened, plan
from engine.pipeline.analyse import analyse
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.export import export
from engine.pipeline.guessed_groups import guess_groups
from engine.pipeline.opened import open_analysis
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.pipeline.refine import refine
from engine.pipeline.rounding import predict_rounding
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import CorpusSpec, EvaluationSpec, RefinementSpec, TrainingSpec
from engine.types import BlockRank, Budget, Format, Metric
from tests.support import architectures, toys

pytestmark = pytest.mark.usefixtures("warm_starts")

EXPORTED = (
    pytest.param("llama-gqa", "skipcat", "", id="llama-gqa"),
    pytest.param("llama", "water-filling", "refined", id="refined", marks=pytest.mark.long),
    pytest.param("gpt2", "width", "rounded", id="rounded", marks=pytest.mark.long),
    pytest.param("mixtral", "water-filling", "rounded", id="mixtral", marks=pytest.mark.long),
)


class Stopped(Exception):
    """The job was killed."""


@pytest.fixture
def asked(model_folder, text_file):
    """Return a function from an architecture's name to its analysis."""

    def of(name: str, **changes: object) -> Analyse:
        text = {"text": str(text_file), "n_sequences": 6, "length": 32, "device": "cpu"}
        return Analyse(model=str(model_folder(name)), **text, **changes)

    return of


@pytest.fixture
def cannot_stream(tmp_path, model_folder, asked):
    """Return the analysis of a model whose layers read earlier ones."""
    folder = tmp_path / "gemma3n"
    weights = ("config.json", "generation_config.json", "model.safetensors")
    shutil.copytree(model_folder("llama"), folder, ignore=lambda *_: weights)
    architectures.build("gemma3n_text").save_pretrained(folder)
    return asked("llama").changed(model=str(folder))


@pytest.mark.parametrize("name", ["llama-gqa", "mixtral"])
def test_the_analysis_is_the_same(name, tmp_path, asked):
    whole, by_layer = (Home(tmp_path / name) for name in ("whole", "by-layer"))
    analysis = asked(name).run(whole, ignore_progress)
    assert asked(name, stream=True).run(by_layer, ignore_progress) == analysis
    assert by_layer.store.keys() == whole.store.keys()
    for key in whole.store.keys("statistics"):
        first, second = (home.store.read(key).manifest.members for home in (whole, by_layer))
        assert first == second
    first, second = (load_analysis(home.store, analysis["analysis"]) for home in (whole, by_layer))
    assert first.inventory == second.inventory
    assert first.calibration_nll == second.calibration_nll
    for metric, energies in first.energies.items():
        for members, values in energies.items():
            np.testing.assert_allclose(second.energies[metric][members], values, rtol=1e-9, atol=1e-9 * values[0])
    assert not list((by_layer.artifacts / ".partial").iterdir())


@pytest.mark.parametrize("layer", [1, 2])
def test_an_interrupted_analysis_goes_on_after_the_last_stored_layer(layer, tmp_path, asked):
    analysis = asked("llama", stream=True)
    home = Home(tmp_path)

    def stop(stage, fraction, message):
        if message == f"Calibration: backward through layer {layer}":
            raise Stopped

    with pytest.raises(Stopped):
        analyse(home, analysis.spec(), stop, device="cpu", stream=True)
    stored = home.store.keys("statistics")
    assert len(stored) == 3 - layer
    made = {key: home.store.read(key).manifest.created for key in stored}
    key = analysis.run(home, ignore_progress)["analysis"]
    assert {key: home.store.read(key).manifest.created for key in stored} == made
    assert key == asked("llama").run(Home(tmp_path / "whole"), ignore_progress)["analysis"]


def test_a_model_that_does_not_fit_is_read_layer_by_layer(tmp_path, asked, monkeypatch):
    monkeypatch.setattr(plan, "free_memory_bytes", lambda: 10**6)
    said = []
    asked("llama").run(Home(tmp_path), lambda *report: said.append(report[2]))
    assert any("Plan: layer by layer over 192 tokens" in message for message in said)


def test_what_cannot_be_is_opened_as_a_whole_unless_it_must_not(tmp_path, cannot_stream, monkeypatch):
    with pytest.raises(UnstreamableError, match="Gemma3nForCausalLM cannot be run layer by layer"):
        cannot_stream.changed(stream=True).run(Home(tmp_path), ignore_progress)
    monkeypatch.setattr(plan, "free_memory_bytes", lambda: 10**6)
    said = []
    cannot_stream.run(Home(tmp_path), lambda *report: said.append(report[2]))
    assert any("The model is opened as a whole: Gemma3nForCausalLM" in message for message in said)


@pytest.mark.parametrize(
    ("name", "within"), [("llama-gqa", 0.05), ("phi3", 0.05), ("qwen3", 0.05), ("qwen2-moe", 0.05), ("opt", 0.2)]
)
def test_the_plan_tells_what_is_stored(name, within, tmp_path, asked):
    planned = asked(name).plan()
    store = Home(tmp_path).store
    asked(name).run(Home(tmp_path), ignore_progress)
    found = dict.fromkeys(planned.disk_bytes, 0)
    for stage in ("statistics", "factors"):
        for artifact in map(store.read, store.keys(stage)):
            what = artifact.manifest.about.get("metric", stage)
            found[what] += artifact.manifest.members[f"{stage}.safetensors"].size_bytes
    assert dict(planned.disk_bytes) == pytest.approx(found, rel=within)


@pytest.fixture
def in_one_tensor(tmp_path, model_folder, asked):
    """Return the analysis of a mixture whose files have the experts of a layer in two tensors."""
    folder, weights = tmp_path / "in-one-tensor", ("config.json", "generation_config.json", "model.safetensors")
    shutil.copytree(model_folder("qwen2-moe"), folder, ignore=lambda *_: weights)
    toys.build("qwen2-moe").save_pretrained(folder, save_original_format=False)
    assert len(read_header(folder).stacks) == 2 * 3
    return asked("qwen2-moe").changed(model=str(folder))


@pytest.mark.parametrize("stream", [False, True])
def test_experts_are_planned_however_they_are_stored(stream, asked, in_one_tensor):
    one_by_one, together = (op.changed(stream=stream).plan() for op in (asked("qwen2-moe"), in_one_tensor))
    assert together.disk_bytes == one_by_one.disk_bytes
    assert together.work == one_by_one.work
    assert together.memory_bytes == pytest.approx(one_by_one.memory_bytes, rel=1e-3)


GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "lm_head": "output",
    "model.layers.": "blk.",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate.": "ffn_gate_inp.",
    "mlp.experts.down_proj": "ffn_down_exps.weight",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
}


def test_experts_of_a_gguf_file_are_planned_as_those_of_a_folder(tmp_path, asked):
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "experts.gguf", "qwen2moe")
    writer.add_expert_count(4)
    writer.add_expert_used_count(2)
    for own, tensor in toys.build("qwen2-moe").state_dict().items():
        name = reduce(lambda known, names: known.replace(*names), GGUF_NAMES.items(), own)
        both = "mlp.experts.gate_up_proj"  # which such a file has apart
        halves = tensor.chunk(2, 1) if both in name else [tensor]
        for kind, part in zip(("gate", "up"), halves, strict=False):
            writer.add_tensor(name.replace(both, f"ffn_{kind}_exps.weight"), part.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    operation = asked("qwen2-moe")
    headers = read_header(Path(operation.model)), read_header(tmp_path / "experts.gguf")
    of_folder, of_file = (plan.plan_analysis(header, operation.spec(), 10**9) for header in headers)
    assert of_file.disk_bytes == of_folder.disk_bytes
    assert of_file.work == of_folder.work


def test_work_is_planned_of_the_experts_that_a_token_is_given_to(asked):
    operation = asked("qwen2-moe").changed(metrics=["input"])
    header = read_header(Path(operation.model))
    assert header.experts_per_token == 2
    two, four = (plan.plan_analysis(replace(header, experts_per_token=n), operation.spec(), 10**9).work for n in (2, 4))
    of_two_experts = 3 * 2 * 3 * 48 * 16
    assert four.pass_flops - two.pass_flops == pytest.approx(plan._PASS_OVERHEAD * 2 * 6 * 32 * 3 * of_two_experts)
    assert four.single_flops > two.single_flops
    assert four.eigen_cubes == two.eigen_cubes


def test_any_number_of_sequences_is_planned_at_once(asked):
    few, many = (asked("llama").changed(n_sequences=64 * n).plan() for n in (1, 2**13))
    assert many.disk_bytes["statistics"] == 2**13 * few.disk_bytes["statistics"] > 0


def test_the_plan_is_said_before_the_model_is_opened(tmp_path, asked):
    said = []
    asked("llama").run(Home(tmp_path), lambda *report: said.append(report[2]))
    (first,) = [message for message in said if message.startswith("Plan: about ")]
    assert re.match(r"Plan: about \d+ s if nothing is stored yet; the whole model in memory; memory up to", first)
    assert said.index(first) < next(i for i, message in enumerate(said) if message.startswith("Opening"))


def test_states_are_planned_where_they_will_be(asked, monkeypatch):
    operation = asked("llama", stream=True)
    in_memory = operation.plan()
    monkeypatch.setattr(plan, "free_memory_bytes", lambda: 0)
    on_disk = operation.plan()
    states = 4 * 192 * 48 * 4  # three layers and the embeddings, float32
    assert (in_memory.scratch_bytes, on_disk.scratch_bytes) == (0, pytest.approx(states, rel=0.02))
    assert in_memory.memory_bytes - on_disk.memory_bytes == on_disk.scratch_bytes


def test_the_width_is_that_of_the_layers_also_beside_a_larger_embedding_for_every_layer(tmp_path):
    module = architectures.build("gemma3n_text")
    module.save_pretrained(tmp_path)
    header = read_header(tmp_path)
    assert (header.vocabulary, header.width) == tuple(module.get_input_embeddings().weight.shape)


def test_no_more_than_two_layers_of_factors_are_open(tmp_path, asked, monkeypatch):
    home, alive = Home(tmp_path), weakref.WeakSet()
    analysis = load_analysis(home.store, asked("llama").run(home, ignore_progress)["analysis"])
    real = factors._LayerFile

    def opening(*args):
        file = real(*args)
        alive.add(file)
        return file

    monkeypatch.setattr(factors, "_LayerFile", opening)
    read = factors.factors_reader(analysis, home.store, Metric.LOSS)
    for name in analysis.projections:
        read((name,))
    assert len(alive) == 2


def test_twice_the_text_is_twice_the_work_of_passes_and_reading_by_layer_more(asked):
    unweighed = asked("llama").changed(metrics=["input"])
    once, twice = unweighed.plan().work, unweighed.changed(n_sequences=12).plan().work
    assert (twice.pass_flops, twice.eigen_cubes) == (2 * once.pass_flops, once.eigen_cubes)
    assert unweighed.changed(stream=True).plan().work.pass_flops > once.pass_flops


def test_singular_values_are_planned_in_metrics_whose_factors_are_not_stored(asked):
    unweighed = asked("llama")
    one, two = (unweighed.changed(metrics=list(m)).plan().work.eigen_cubes for m in (["input"], ["input", "feature"]))
    assert one < two < 1.5 * one


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_weighing_is_planned_once_whatever_the_text_and_only_with_the_loss(name, asked):
    operation = asked(name)
    header = read_header(Path(operation.model))
    # The dense model, and one of three layers compressed to 0.7 at a time with those after it: by ranks, and by widths.
    products = (1 + 2 * 1.7) * header.n_matrix_params + 7 * header.vocabulary * header.width
    for n_sequences, stream in itertools.product((6, 12), (False, True)):
        weighed, unweighed = (
            operation.changed(n_sequences=n_sequences, metrics=metrics, stream=stream).plan().work
            for metrics in (["input", "loss"], ["input"])
        )
        of_weighing = plan._FORWARD_OVERHEAD * 2 * 4 * 32 * products
        assert weighed.pass_flops - unweighed.pass_flops == pytest.approx(of_weighing)
        assert weighed.single_flops == unweighed.single_flops


def test_weighing_is_planned_for_the_bands_that_a_model_of_few_layers_has(asked):
    spec = asked("llama").spec()
    unweighed = replace(spec, metrics=(Metric.INPUT,))
    weighed = replace(spec, metrics=(Metric.INPUT, Metric.LOSS))
    header = replace(read_header(Path(spec.model.location)), n_layers=9)
    passes, without = (plan.plan_analysis(header, one, 10**9).work.pass_flops for one in (weighed, unweighed))
    # Five bands, of which the last is one layer; they begin with layers 0, 2, 4, 6 and 8.
    products = (1 + 2 * (5 - 20 / 9 - 0.3)) * header.n_matrix_params + 11 * header.vocabulary * header.width
    assert passes - without == pytest.approx(plan._FORWARD_OVERHEAD * 2 * 4 * 32 * products)


def test_a_compressed_copy_beside_the_model_is_planned(asked, monkeypatch):
    operations = asked("llama"), asked("llama", stream=True)
    whole, by_layer = (operation.plan().memory_bytes for operation in operations)
    monkeypatch.setattr(plan, "_SAVED", -3e3)
    assert operations[0].plan().memory_bytes > whole + 1e8
    assert operations[1].plan().memory_bytes == by_layer


class LiveBytes(TorchDispatchMode):
    """Notes the most bytes that tensors made meanwhile have together."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._made = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self._made += [weakref.ref(t) for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        self._made = [made for made in self._made if made() is not None]
        storages = {t.untyped_storage() for made in self._made if (t := made()) is not None}
        self.most = max(self.most, sum({s.data_ptr(): s.nbytes() for s in storages}.values()))
        return result


@pytest.mark.parametrize("metrics", [["input"], ["feature", "loss"]])
@pytest.mark.parametrize("name", ["llama", "phi3", "mixtral"])
def test_the_memory_of_decompositions_is_planned(name, metrics, tmp_path, asked, monkeypatch):
    operation, found = asked(name, stream=True).changed(metrics=metrics), []
    real = factorize._write_factors

    def watched(*args, **keywords):
        with LiveBytes() as live:
            real(*args, **keywords)
        found.append(live.most)

    monkeypatch.setattr(factorize, "_write_factors", watched)
    operation.run(Home(tmp_path), ignore_progress)
    groups, downs = guess_groups(read_header(Path(operation.model)))
    of_layer = [group for group in groups if group.layer == 0]
    planned = plan._decomposing_bytes(of_layer, [Metric(m) for m in metrics], downs)
    assert max(found) == pytest.approx(planned + statistics_bytes(of_layer, 6, downs), rel=0.15)


def test_what_the_disk_has_no_room_for_is_refused_before_it_begins(tmp_path, asked, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    with pytest.raises(ResourceError, match=r"takes about 1\.\d+ MB of disk, and 0\.01 MB are free at .*loss"):
        asked("llama").run(Home(tmp_path / "home"), ignore_progress)
    assert not Home(tmp_path / "home").store.keys()


def test_a_job_is_queued_with_the_memory_it_needs(tmp_path, asked, monkeypatch):
    monkeypatch.setattr("engine.jobs.queue.start_detached", lambda *_: None)
    queue = JobQueue(tmp_path, entrypoint="tests.engine.jobs.operations:run")
    job = submit(asked("llama"), queue, Home(tmp_path).store)
    assert job.estimate == {"memory_bytes": asked("llama").plan().memory_bytes}


@pytest.mark.parametrize("method", ["water-filling", "width"])
def test_a_correction_layer_by_layer_is_the_same(method, tmp_path, asked, text_file, monkeypatch):
    homes = [Home(tmp_path / name) for name in ("whole", "by-layer")]
    key = asked("llama-gqa").run(homes[0], ignore_progress)["analysis"]
    shutil.copytree(homes[0].root, homes[1].root)
    analysis = load_analysis(homes[0].store, key)
    budget = Budget.of_kept_fraction(0.6, analysis.inventory.compressible_params)
    rank_map = allocate_rank_map(analysis, curves_by_metric(analysis), method, budget)
    spec = RefinementSpec(compute_dtype="float32", batch_size=4)
    corrected = refine(homes[0], key, rank_map, spec, ignore_progress, device="cpu")
    monkeypatch.setattr(plan, "free_memory_bytes", lambda: 10**6)
    in_memory = counted_layers(monkeypatch)
    assert refine(homes[1], key, rank_map, spec, ignore_progress, device="cpu") == corrected
    assert max(in_memory) == 2  # the one before stays until its compressed form has run
    layers = homes[0].store.keys("refined-layer")
    assert len(layers) == analysis.inventory.n_layers
    for layer in layers:
        first, second = (home.store.read(layer).manifest.members for home in homes)
        assert first == second
    with pytest.raises(ResourceError, match="corrected in closed form"):
        refine(homes[1], key, rank_map, replace(spec, training=TrainingSpec()), ignore_progress, device="cpu")


def test_statistics_around_a_compressed_model_are_the_same(tmp_path, asked):
    whole, by_layer = (Home(tmp_path / name) for name in ("whole", "by-layer"))
    weights = Path(asked("llama-gqa").model) / "model.safetensors"
    as_they_were = weights.read_bytes()
    analysis = asked("llama-gqa", around_keep=0.6).run(whole, ignore_progress)
    assert asked("llama-gqa", around_keep=0.6, stream=True).run(by_layer, ignore_progress) == analysis
    assert by_layer.store.keys() == whole.store.keys()
    assert len(whole.store.keys("statistics")) == 6
    assert weights.read_bytes() == as_they_were
    for key in whole.store.keys("statistics"):
        first, second = (home.store.read(key).manifest.members for home in (whole, by_layer))
        assert first == second


@pytest.mark.parametrize("method", ["water-filling", "skipcat"])
def test_a_map_measured_layer_by_layer_has_the_same_losses(method, tmp_path, asked, text_file, monkeypatch):
    home = Home(tmp_path)
    analysis = load_analysis(home.store, asked("llama").run(home, ignore_progress)["analysis"])
    budget = Budget.of_kept_fraction(0.6, analysis.inventory.compressible_params)
    rank_map = allocate_rank_map(analysis, curves_by_metric(analysis), method, budget)
    spec = EvaluationSpec(CorpusSpec.parse(str(text_file), part="evaluation", n_sequences=3, length=32), batch_size=2)

    def measured():
        session = EvaluationSession(home, analysis.id, spec, ignore_progress, device="cpu")
        module = session.opened.runnable(rank_map)
        return session, session.run(module, ignore_progress)

    _, whole = measured()
    for key in home.store.keys("reference"):
        home.store.delete(key)
    monkeypatch.setattr(plan, "free_memory_bytes", lambda: 10**6)
    session, by_layer = measured()
    assert session.opened.dense.weights is not None
    assert by_layer == whole
    assert torch.equal(by_layer.token_nll, whole.token_nll)
    assert session.measure(rank_map, ignore_progress).perplexity == whole.perplexity
    with pytest.raises(ResourceError, match="does not fit into memory, so its maps can be measured by perplexity"):
        session.opened.compress(rank_map)
    rounded = replace(rank_map, blocks=(BlockRank(("model.layers.0.mlp.up_proj",), Format.DENSE, None, 8),))
    with pytest.raises(ResourceError, match="unrounded"):
        session.opened.runnable(rounded)
    with pytest.raises(ResourceError, match="unrounded"):
        predict_rounding(home, analysis.id, ignore_progress)


def counted_layers(monkeypatch):
    """Return a list to which every run of a norm adds how many decoder layers have weights in memory."""
    counts = []

    def opening(*args, **settings):
        model = open_model(*args, **settings)
        layers = decoder_layers(model.module)

        def count(*_):
            counts.append(sum(any(not p.is_meta for p in layer.parameters()) for layer in layers))

        for part in layers.modules():
            if "norm" in type(part).__name__.lower():
                part.register_forward_pre_hook(count)
        return model

    monkeypatch.setattr(opened, "open_model", opening)
    return counts


@pytest.mark.parametrize(("name", "method", "changed"), EXPORTED)
def test_an_export_written_layer_by_layer_is_the_same_to_the_last_byte(
    name, method, changed, tmp_path, asked, monkeypatch
):
    home = Home(tmp_path)
    analysis = load_analysis(home.store, asked(name).run(home, ignore_progress)["analysis"])
    budget = Budget.of_kept_fraction(0.6, analysis.inventory.compressible_params)
    rank_map = allocate_rank_map(analysis, curves_by_metric(analysis), method, budget)
    refinement = None
    if changed == "rounded":
        of_bits = (replace(block, bits=16 if block.format.skips else 4) for block in rank_map.blocks)
        rank_map = replace(rank_map, blocks=tuple(of_bits))
    if changed == "refined":
        wanted = RefinementSpec(compute_dtype="float32")
        refinement = refine(home, analysis.id, rank_map, wanted, ignore_progress, device="cpu")
    whole = open_analysis(home, analysis, ignore_progress, dtype="float32", device="cpu")
    module = with_integers(whole.compress(unrounded(rank_map), refinement), rank_map.blocks)
    (tmp_path / "whole").mkdir()
    export_factored(module, whole.dense.tokenizer, tmp_path / "whole", one_file_bytes=0)
    monkeypatch.setattr(plan, "free_memory_bytes", lambda: 10**6)
    in_memory = counted_layers(monkeypatch)
    spec = ExportSpec(dtype="float32", refinement=refinement and refinement.fingerprint)
    found = export(home, analysis.id, rank_map, tmp_path / "by-layer", spec, ignore_progress)
    assert set(in_memory) == {1}
    assert found.weight_bytes == stored_bytes(module)
    assert found.model_params == sum(p.numel() for p in whole.compress(unrounded(rank_map)).parameters())
    files = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert len([file for file in files if file.endswith(".safetensors")]) == 4
    for file in files:
        assert (tmp_path / "by-layer" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
    graph = replace(spec, format=ExportFormat.ONNX, refinement=None)
    with pytest.raises(ResourceError, match="exported with the formats factored and dense alone"):
        export(home, analysis.id, unrounded(rank_map), tmp_path / "no", graph, ignore_progress)


def stored(folder):
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.mark.parametrize(
    ("name", "method", "formats"),
    [
        ("mixtral", "water-filling", {Format.LOW_RANK, Format.SKIP_CAT}),
        pytest.param("gpt2", "width", None, marks=pytest.mark.long, id="narrow"),
        pytest.param("llama-gqa", "water-filling", {Format.WIDTH, Format.SKIP}, marks=pytest.mark.long, id="filled-up"),
    ],
)
def test_products_written_layer_by_layer_are_the_same_to_the_last_bit(
    name, method, formats, tmp_path, asked, monkeypatch
):
    home = Home(tmp_path)
    analysis = load_analysis(home.store, asked(name).run(home, ignore_progress)["analysis"])
    budget = Budget.of_kept_fraction(0.6, analysis.inventory.compressible_params)
    request = Request(formats=formats and frozenset(formats))
    rank_map = allocate_rank_map(analysis, curves_by_metric(analysis), method, budget, request)
    whole = open_analysis(home, analysis, ignore_progress, dtype="float32", device="cpu")
    module = multiplied_out(whole.dense.module, whole.compress(rank_map), analysis.inventory.mlps)
    export_dense(module, whole.dense.tokenizer, tmp_path / "whole")
    monkeypatch.setattr(plan, "free_memory_bytes", lambda: 10**6)
    in_memory = counted_layers(monkeypatch)
    spec = ExportSpec(ExportFormat.DENSE, "float32")
    found = export(home, analysis.id, rank_map, tmp_path / "by-layer", spec, ignore_progress)
    assert set(in_memory) == {1}
    assert found.weight_bytes == stored_bytes(module)
    assert found.model_params == sum(p.numel() for p in module.parameters())
    first, second = (stored(tmp_path / folder) for folder in ("whole", "by-layer"))
    assert first.keys() == second.keys()
    assert all(torch.equal(second[tensor], numbers) for tensor, numbers in first.items())
    for file in tmp_path.glob("whole/*.json"):
        assert (tmp_path / "by-layer" / file.name).read_bytes() == file.read_bytes(), file


def test_what_cannot_be_written_layer_by_layer_is_written_as_a_whole_where_it_fits(
    tmp_path, cannot_stream, monkeypatch
):
    home = Home(tmp_path / "home")
    analysis = load_analysis(home.store, cannot_stream.run(home, ignore_progress)["analysis"])
    budget = Budget.of_kept_fraction(0.8, analysis.inventory.compressible_params)
    rank_map = allocate_rank_map(analysis, curves_by_metric(analysis), "water-filling", budget)
    once = plan._PROGRAM_BYTES + 4 * read_header(Path(cannot_stream.model)).n_params
    spec = ExportSpec(ExportFormat.DENSE, "float32")
    monkeypatch.setattr(plan, "free_memory_bytes", lambda: once - 1)
    with pytest.raises(UnstreamableError):
        export(home, analysis.id, rank_map, tmp_path / "no", spec, ignore_progress)
    monkeypatch.setattr(plan, "free_memory_bytes", lambda: once)
    found = export(home, analysis.id, rank_map, tmp_path / "products", spec, ignore_progress)
    assert found.weight_bytes == sum(tensor.nbytes for tensor in stored(tmp_path / "products").values())
