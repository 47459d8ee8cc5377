"""Architectures of transformers at toy size, each from a folder to a measured and exported rank map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.errors import ExportError
from engine.methods.allocate import allocate_rank_map
from engine.operations import Analyse, Evaluate, Export
from engine.operations.sensitivity import Sensitivity
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.progress import ignore_progress
from engine.settings import Home
from engine.types import Budget
from tests.support import architectures

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WITHOUT_SPEED = ("falcon_mamba", "mamba", "mamba2", "openai-gpt", "recurrent_gemma", "rwkv")
WITHOUT_EXPORT = ("rwkv",)
FAMILIES = ("deepseek_v3", "gemma3n_text", "qwen3_next", "rwkv")
"""One of each kind that differs: latent attention, layers that share keys, a hybrid, a recurrent network."""

README = Path(__file__).parents[2] / "README.md"


def measured(name: str, home: Home, text: Path, tokenizer: PreTrainedTokenizerFast) -> tuple[str, str]:
    """Analyse, allocate, evaluate and measure sensitivities; return the id of the analysis and the rank map."""
    folder = home.root / name
    module = architectures.build(name)
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    on_text = {"text": str(text), "length": 32, "device": "cpu"}
    asked = Analyse(model=str(folder), n_sequences=4, compute_dtype="float32", **on_text)
    analysis = load_analysis(home.store, asked.run(home, ignore_progress)["analysis"])
    inventory = analysis.inventory
    listed = inventory.compressible_params + sum(weight.params for weight in inventory.skipped)
    assert listed == sum(p.numel() for p in module.parameters())
    budget = Budget.of_kept_fraction(0.6, inventory.compressible_params)
    rank_map = allocate_rank_map(analysis, curves_by_metric(analysis), "water-filling", budget).to_json()
    quick = {"level": "quick", "tasks": (), "speed_batches": (1,), "prompt_tokens": 8, "new_tokens": 2}
    few = {"n_sequences": 2, "repetitions": 1, "dtype": "float32"}
    found = Evaluate(analysis=analysis.id, rank_maps=(rank_map,), **quick, **few, **on_text).run(home, ignore_progress)
    (row,) = found.maps
    assert row.perplexities[0].perplexity > 1
    assert bool(row.costs) is (name not in WITHOUT_SPEED)
    sensitivity = Sensitivity(analysis=analysis.id, n_sequences=2, **on_text).run(home, ignore_progress)
    assert sensitivity.nll_increase.keys() == inventory.by_name.keys()
    return analysis.id, rank_map


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_analysed_allocated_and_evaluated(name, tmp_path, text_file, toy_tokenizer):
    measured(name, Home(tmp_path), text_file, toy_tokenizer)


@pytest.mark.long
@pytest.mark.usefixtures("warm_starts")
@pytest.mark.parametrize("name", architectures.SETTINGS)
def test_an_architecture_goes_the_whole_way(name, tmp_path, text_file, toy_tokenizer):
    home = Home(tmp_path)
    analysis, rank_map = measured(name, home, text_file, toy_tokenizer)
    exporting = Export(analysis=analysis, rank_map=rank_map, folder=str(tmp_path / "exported"))
    if name in WITHOUT_EXPORT:
        with pytest.raises(ExportError, match="does not open in a process without RankScope"):
            exporting.run(home, ignore_progress)
    else:
        assert exporting.run(home, ignore_progress).max_logit_difference < 1e-2


def test_the_readme_names_the_architectures_that_are_tested():
    said = " ".join(README.read_text().split())
    assert ", ".join(f"`{name}`" for name in architectures.SETTINGS) in said
    assert f"{len(architectures.SETTINGS)} architectures" in said
    assert f"The speed of {', '.join(f'`{name}`' for name in WITHOUT_SPEED)} is not measured" in said
    assert f"The factors of {', '.join(f'`{name}`' for name in WITHOUT_EXPORT)} are not exported" in said
