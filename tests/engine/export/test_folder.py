"""Exports of every architecture and format, opened by transformers in a process that cannot import RankScope."""

from __future__ import annotations

import copy
import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from engine.errors import ExportError, ModelError
from engine.export.dense import export_dense, multiplied_out
from engine.export.factored import export_factored, factored_blocks, original_classes
from engine.export.verification import take_logits, verify
from engine.export.weights import stored_bytes
from engine.types import RANK_FORMATS, BlockRank, Format, Metric
from tests.engine.compression.test_apply import Toy
from tests.support import toys
from tests.support.tiers import FEW

if TYPE_CHECKING:
    from collections.abc import Collection

pytestmark = pytest.mark.usefixtures("warm_starts")

TOKENS = toys.tokens(3, 14, seed=5)
OTHERS = tuple(name for name in toys.ARCHITECTURES if name not in FEW)
_CHILD = Path(__file__).parents[2] / "support" / "export_child.py"


def mixed(toy: Toy) -> list[BlockRank]:
    """Every format in turn, and dense groups between them."""
    by_format = {storage: toy.blocks(storage, 0.5) for storage in RANK_FORMATS}
    chosen = []
    for group, storage in zip(toy.inventory.groups, itertools.cycle([*sorted(RANK_FORMATS), None])):
        names = {p.name for p in group.members}
        chosen += [b for b in by_format.get(storage, []) if names.issuperset(b.members)]
    return chosen


def in_bfloat16(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy with other weights; buffers keep their type, as when transformers opens a model."""
    result = copy.deepcopy(module)
    for parameter in result.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    return result


@dataclass
class Case:
    label: str
    toy: Toy
    module: torch.nn.Module
    is_factored: bool = True
    one_file_bytes: int = 5 * 10**9


def cases(names: Collection[str]) -> list[Case]:
    found = []
    for name in names:
        toy = Toy(name)
        module = toy.compressed(mixed(toy))
        found.append(Case(name, toy, module))
        mlps = toy.inventory.mlps
        found.append(Case(f"{name}-dense", toy, multiplied_out(toy.module, module, mlps), is_factored=False))
        if mlps:
            even = toy.compressed(toy.blocks(Format.WIDTH, 0.6))
            uneven = toy.compressed([*toy.blocks(Format.WIDTH, 0.6)[:1], *toy.blocks(Format.WIDTH, 0.4)[1:]])
            found.append(Case(f"{name}-width", toy, uneven))
            found.append(Case(f"{name}-narrow", toy, multiplied_out(toy.module, even, mlps), is_factored=False))
            found.append(Case(f"{name}-filled-up", toy, multiplied_out(toy.module, uneven, mlps), is_factored=False))
        if name in {"llama-gqa", "gpt2"}:
            for storage in sorted(RANK_FORMATS):
                label = f"{name}-{storage.replace('+', '-')}"
                found.append(Case(label, toy, toy.compressed(toy.blocks(storage, 0.5)), one_file_bytes=20_000))
            found.append(Case(f"{name}-bfloat16", toy, in_bfloat16(module)))
    centred = Toy("llama", Metric.FEATURE)  # gives biases to modules that had none
    found.append(Case("feature", centred, centred.compressed(centred.blocks(Format.SKIP_CAT, 0.5))))
    return found


@dataclass
class Opened:
    case: Case
    folder: Path
    tensors: dict[str, torch.Tensor]
    facts: dict[str, object]


@pytest.fixture(scope="module", params=[FEW, pytest.param(OTHERS, marks=pytest.mark.sweep)], ids=["few", "others"])
def opened(request, tmp_path_factory, toy_tokenizer) -> dict[str, Opened]:
    """Write all exports and open all of them in one child process."""
    root = tmp_path_factory.mktemp("exports")
    save_file({"tokens": TOKENS}, root / "inputs.safetensors")
    jobs, made = [], cases(request.param)
    for case in made:
        folder = root / case.label
        folder.mkdir()
        if case.is_factored:
            export_factored(case.module, toy_tokenizer, folder, one_file_bytes=case.one_file_bytes)
        else:
            export_dense(case.module, toy_tokenizer, folder)
        out = str(root / f"{case.label}.safetensors")
        jobs.append(
            {"folder": str(folder), "inputs": str(root / "inputs.safetensors"), "out": out, "trust": case.is_factored}
        )
    (root / "jobs.json").write_text(json.dumps(jobs))
    environment = {**os.environ, "HF_MODULES_CACHE": str(root / "modules"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-I", str(_CHILD), str(root / "jobs.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr[-4000:]
    result = {}
    for case, job in zip(made, jobs, strict=True):
        with safe_open(job["out"], framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
        result[case.label] = Opened(case, Path(job["folder"]), load_file(job["out"]), facts)
    return result


def close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-4) -> bool:
    return (actual - expected).abs().max().item() <= tolerance * max(1.0, expected.abs().max().item())


@torch.no_grad()
def test_every_export_answers_as_the_model_in_memory(opened):
    for label, found in opened.items():
        module = found.case.module
        expected = module(input_ids=TOKENS, use_cache=False).logits.float()
        assert (found.tensors["logits"] - expected).abs().max() <= 1e-4, label
        hidden = module.base_model(input_ids=TOKENS, use_cache=False).last_hidden_state.float()
        assert close(found.tensors["hidden"], hidden), label
        settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
        mask = torch.ones(2, 6, dtype=torch.long)
        generated = module.generate(TOKENS[:2, :6], attention_mask=mask, **settings)
        assert torch.equal(found.tensors["generated"], generated), label


def test_copies_placements_and_round_trips_change_nothing(opened):
    for label, found in opened.items():
        for way in ("placed", "automatic", "copied", "again"):
            # Where memory lies differs, and with it the last bits of a product on some processors.
            assert close(found.tensors[way], found.tensors["logits"], 1e-6), (label, way)
        assert found.facts["half_dtypes"] == ["torch.bfloat16"], label
        tolerance = 5e-2 if found.case.module.dtype is torch.bfloat16 else 1e-3
        assert close(found.tensors["padded"], found.tensors["alone"], tolerance), label
        assert close(found.tensors["checkpointed"], found.tensors["gradient"], tolerance), label
        error = (found.tensors["half"] - found.tensors["logits"]).norm() / found.tensors["logits"].norm()
        assert error < 0.2, label


def test_exports_keep_ties_types_tokenizer_and_shared_work(opened):
    for label, found in opened.items():
        config = found.case.module.config
        assert found.facts["tied"] == bool(config.tie_word_embeddings), label
        assert found.facts["dtype"] == str(found.case.module.dtype), label
        assert found.facts["tokens"], label
        kind = type(found.case.module.base_model)
        assert found.facts["attention_backend"] == kind._supports_attention_backend, label
        if found.case.is_factored:
            assert found.facts["inner_calls"] == ([] if label.endswith("-width") else [1]), label
            assert found.facts["model_type"] == f"factored-{config.model_type}", label
            assert found.facts["opens_without_its_code"] is False, label
            assert found.facts["tp_plan"] is False, label
        else:
            assert found.facts["inner_calls"] == [], label
            assert found.facts["model_type"] == config.model_type, label
            assert not list(found.folder.glob("*.py")), label


def test_folders_hold_every_tensor_once_in_the_type_and_format_asked_for(opened):
    for label, found in opened.items():
        files = sorted(found.folder.glob("*.safetensors"))
        stored = {n: t for f in files for n, t in load_file(f).items()}
        assert sum(t.nbytes for t in stored.values()) == stored_bytes(found.case.module), label
        assert {t.dtype for t in stored.values()} <= {found.case.module.dtype, torch.int32}, label
        assert (len(files) > 1) == (found.case.one_file_bytes < 10**9), label
        for name in ("config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja"):
            assert (found.folder / name).is_file(), (label, name)
    biased = {name for name in load_file(opened["feature"].folder / "model.safetensors") if name.endswith("bias")}
    assert len(biased) == 3 * 7
    llama = opened.get("llama-gqa") or opened["llama"]
    listed = json.loads((llama.folder / "config.json").read_text())["factored_blocks"]
    assert listed == factored_blocks(llama.case.module)
    assert {block["format"] for block in listed} == {str(f) for f in RANK_FORMATS}


@torch.no_grad()
def test_products_are_the_factors_multiplied(opened):
    for name in toys.ARCHITECTURES.keys() & opened:
        factored, plain = opened[name].tensors["logits"], opened[f"{name}-dense"].tensors["logits"]
        assert close(plain, factored, 1e-4), name


@torch.no_grad()
def test_even_widths_become_a_smaller_model_of_the_same_class_and_uneven_ones_are_filled_up(opened):
    for name in toys.ARCHITECTURES.keys() & opened:
        if f"{name}-narrow" not in opened:
            assert name in {"mixtral", "qwen3-moe"}
            continue
        narrow, filled = opened[f"{name}-narrow"], opened[f"{name}-filled-up"]
        whole = stored_bytes(narrow.case.toy.module)
        smaller = sum(m.params_per_neuron * (m.neurons - int(0.6 * m.neurons)) for m in narrow.case.toy.inventory.mlps)
        biases = sum(
            len(m.up) * (m.neurons - int(0.6 * m.neurons))
            for m in narrow.case.toy.inventory.mlps
            if getattr(narrow.case.toy.module.get_submodule(m.up[0].name), "bias", None) is not None
        )
        assert stored_bytes(narrow.case.module) == whole - 4 * (smaller + biases), name
        assert stored_bytes(filled.case.module) == whole, name
        assert close(filled.tensors["logits"], opened[f"{name}-width"].tensors["logits"], 1e-4), name


def test_even_widths_stay_narrow_where_other_projections_are_factored():
    toy = Toy("llama-gqa")
    factored = [block for block in toy.blocks(Format.LOW_RANK, 0.5) if "attn" in block.name]
    module = toy.compressed([*toy.blocks(Format.WIDTH, 0.6), *factored])
    plain = multiplied_out(toy.module, module, toy.inventory.mlps)
    assert plain.config.intermediate_size == int(0.6 * toy.inventory.mlps[0].neurons)
    with torch.no_grad():
        assert close(plain(input_ids=TOKENS).logits, module(input_ids=TOKENS).logits)


def test_a_bias_that_the_original_has_no_place_for_is_not_multiplied_out(opened):
    case = opened["feature"].case
    with pytest.raises(ExportError, match="no place"):
        multiplied_out(case.toy.module, case.module, ())


def test_classes_of_another_origin_are_refused():
    class LlamaForCausalLM(type(toys.build("llama"))):
        pass

    with pytest.raises(ModelError, match="not one of transformers' own"):
        original_classes(LlamaForCausalLM(toys.build("llama").config))


def test_verification_finds_a_changed_weight_and_a_missing_file(opened):
    found = opened["feature"]
    reference = take_logits(found.case.module)
    weights = found.folder / "model.safetensors"
    original = load_file(weights)
    save_file({**original, "model.norm.weight": original["model.norm.weight"] * 1.5}, weights, {"format": "pt"})
    with pytest.raises(ExportError, match="logits differ"):
        verify(found.folder, reference, runs_own_code=True)
    save_file({n: t for n, t in original.items() if n != "model.norm.weight"}, weights, {"format": "pt"})
    with pytest.raises(ExportError, match=r"do not match, for example model\.norm\.weight"):
        verify(found.folder, reference, runs_own_code=True)
    (found.folder / "factored_layers.py").write_text("import engine.compression.layers\n")
    with pytest.raises(ExportError, match="must not import engine"):
        verify(found.folder, reference, runs_own_code=True)
