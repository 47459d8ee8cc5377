"""Graphs of every storage format, run by onnxruntime in a process that cannot import RankScope."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch

from engine.errors import ExportError, InvalidSpecError
from engine.export.onnx.needed import PACKAGES, require_onnx
from engine.export.specs import ExportFormat, ExportSpec
from engine.export.verification import take_greedy_logits
from engine.progress import ignore_progress
from tests.engine.compression.test_apply import Toy
from tests.engine.export.test_folder import mixed
from tests.support import architectures

pytestmark = pytest.mark.usefixtures("warm_starts")

PYTHON = sys.executable

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES), reason="the extra onnx is not installed"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, toy_tokenizer):
    """A model in which every format and dense groups occur, as a graph, and the same rounded to int8."""
    from engine.export.onnx.quantized import quantize_graph
    from engine.export.onnx.verification import verify_graph
    from engine.export.onnx.writer import export_onnx

    toy = Toy("llama-gqa", num_hidden_layers=2)  # eight groups; tracing takes seconds for each layer
    module = toy.compressed(mixed(toy))
    folder = tmp_path_factory.mktemp("onnx") / "graph"
    folder.mkdir()
    found = export_onnx(module, toy_tokenizer, folder, ignore_progress, is_rounded=False)
    float_files = {file.name: file.read_bytes() for file in folder.iterdir()}
    quantize_graph(folder)
    rounded = verify_graph(folder, take_greedy_logits(module), is_rounded=True)
    rounded_files = {file.name: file.stat().st_size for file in folder.iterdir()}
    for name, content in float_files.items():
        (folder / name).write_bytes(content)
    return toy, module, folder, found, rounded, rounded_files


@needs_onnx
def test_a_graph_of_every_format_answers_and_chooses_as_the_model_in_memory(exported):
    _, _, folder, found, *_ = exported
    assert found.max_logit_difference <= 1e-4
    assert found.same_top == 1.0
    names = {"config.json", "generation_config.json", "generate.py", "model.onnx", "model.onnx.data"}
    assert names | {"tokenizer.json", "chat_template.jinja"} <= {file.name for file in folder.iterdir()}


@needs_onnx
def test_rounding_to_int8_keeps_most_choices_and_takes_less_room(exported):
    _, _, folder, _, rounded, files = exported
    assert 0 < rounded.max_logit_difference < 1
    assert rounded.same_top > 0.8
    assert files["model.onnx.data"] < 0.6 * (folder / "model.onnx.data").stat().st_size


@needs_onnx
def test_inputs_and_outputs_have_the_usual_names_and_free_sizes(exported):
    import onnx

    toy, _, folder, *_ = exported
    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    layers = range(toy.inventory.n_layers)

    def cached(prefix: str) -> list[str]:
        return [f"{prefix}.{layer}.{part}" for layer in layers for part in ("key", "value")]

    def sizes(value) -> list[str | int]:
        return [one.dim_param or one.dim_value for one in value.type.tensor_type.shape.dim]

    inputs = {one.name: sizes(one) for one in graph.input}
    assert list(inputs) == ["input_ids", "attention_mask", "position_ids", *cached("past_key_values")]
    assert [one.name for one in graph.output] == ["logits", *cached("present")]
    assert inputs["attention_mask"] == ["batch", "total"]
    assert inputs["past_key_values.0.key"][::2] == ["batch", "past"]


@needs_onnx
@torch.no_grad()
def test_padding_and_a_second_text_are_read_as_torch_reads_them(exported):
    import onnxruntime

    _, module, folder, *_ = exported
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    tokens, mask = torch.arange(21).view(3, 7) + 5, torch.ones(3, 7, dtype=torch.long)
    mask[0, :4] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    given = {"input_ids": tokens, "attention_mask": mask, "position_ids": positions}
    past = {
        one.name: np.zeros((3, one.shape[1], 0, one.shape[3]), np.float32)
        for one in session.get_inputs()
        if one.name not in given
    }
    logits = session.run(["logits"], {name: value.numpy() for name, value in given.items()} | past)[0]
    expected = module(**given).logits
    assert np.abs(logits - expected.numpy())[mask.bool().numpy()].max() <= 1e-4


@needs_onnx
def test_the_program_in_the_folder_generates(exported):
    _, _, folder, *_ = exported
    command = [PYTHON, str(folder / "generate.py"), "The rank", "--tokens", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip()


@needs_onnx
def test_the_graph_of_another_model_is_found(exported):
    from engine.export.onnx.verification import verify_graph

    toy, _, folder, *_ = exported
    with pytest.raises(ExportError, match="logits differ by up to"):
        verify_graph(folder, take_greedy_logits(toy.module))


@needs_onnx
@pytest.mark.parametrize("model_type", ["mamba", "rwkv", "jamba"])
def test_a_model_with_another_state_is_refused_in_one_sentence(model_type, tmp_path):
    from engine.export.onnx.graph import write_graph

    with pytest.raises(ExportError, match=r"cannot be written as an ONNX graph \(it keeps more than keys and values"):
        write_graph(architectures.build(model_type), tmp_path)
    assert not list(tmp_path.iterdir())


def test_types_that_a_format_cannot_have_are_one_sentence():
    with pytest.raises(
        InvalidSpecError, match="'int8' was given for the format factored; expected one of auto, float32"
    ):
        ExportSpec(dtype="int8")
    with pytest.raises(
        InvalidSpecError, match="'bfloat16' was given for the format onnx; expected one of auto, float32"
    ):
        ExportSpec(ExportFormat.ONNX, "bfloat16")
    assert ExportSpec(ExportFormat.ONNX, "int8").dtype == "int8"


def test_a_missing_extra_is_one_sentence(monkeypatch):
    monkeypatch.setattr("engine.export.onnx.needed.PACKAGES", ("json", "no_such_package"))
    with pytest.raises(ExportError, match=r"not installed \(no_such_package\); run: pip install 'rankscope\[onnx\]'"):
        require_onnx()
