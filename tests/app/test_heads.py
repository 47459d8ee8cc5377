"""Attention heads on Spectra."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from app.services import heads
from engine.pipeline.analyse import analyse
from engine.pipeline.reading.heads import head_layout
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import AnalysisSpec, CorpusSpec, ModelSpec
from engine.types import Metric
from tests.support.analysed_toy import save_toy_model, write_corpus

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

    from engine.analysis.value import Analysis

Open = "Callable[..., AppTest]"


def test_query_heads_share_keys_and_lose_what_the_map_cuts(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis
) -> None:
    page = open_page("spectra", lines="Attention heads", keep="0.6", method="svd-llm")
    assert not page.exception
    assert any("4 query heads share 2 key and value heads, 2 each." in caption.value for caption in page.caption)
    table = next(frame.value for frame in page.dataframe if "reads" in frame.value)
    n_layers = toy_analysis.inventory.n_layers
    assert list(table["reads"]) == ["k0", "k0", "k1", "k1"] * n_layers
    assert table["share"].sum() == pytest.approx(100 * n_layers)
    assert page.query_params["lines"] == "Attention heads"

    keys = open_page("spectra", lines="Attention heads", heads="k", **{"head-value": "Share of the energy"})
    assert not keys.exception
    assert set(next(f.value for f in keys.dataframe if "reads" in f.value)["block"]) >= {"L0 k0", "L0 k1"}


def test_a_weighting_without_factors_says_which_have_them(open_page: Open, analysed_home: Path) -> None:
    page = open_page("spectra", lines="Attention heads", weighting="None")
    assert not page.exception
    assert any("Heads need stored factors" in info.value for info in page.info)


def test_heads_are_those_of_all_projections_that_they_divide(analysed_home: Path, toy_analysis: Analysis) -> None:
    divided = {p.name for p in toy_analysis.inventory.projections if p.kind in {"q", "k", "v"}}
    assert set(heads.heads(toy_analysis.id, Metric.LOSS)) == divided


def test_o_has_heads_where_they_divide_fewer_inputs_than_it_has_outputs(
    open_page: Open, home: Path, tmp_path: Path, toy_tokenizer: PreTrainedTokenizerFast
) -> None:
    model = save_toy_model(tmp_path / "model", toy_tokenizer, head_size=8)
    text = CorpusSpec.parse(str(write_corpus(tmp_path / "text.txt")), part="calibration", n_sequences=4, length=64)
    key = analyse(Home(home), AnalysisSpec(ModelSpec.parse(str(model)), text), ignore_progress)
    page = open_page("spectra", lines="Attention heads", heads="o", keep="0.6", method="svd-llm")
    assert not page.exception
    blocks = next(frame.value for frame in page.dataframe if "reads" in frame.value)["block"]
    assert list(blocks[:4]) == ["L0 o0", "L0 o1", "L0 o2", "L0 o3"]
    found = {name.rsplit(".", 1)[-1] for name in heads.heads(key.fingerprint, Metric.LOSS)}
    assert found == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_a_model_that_is_not_here_any_more_has_no_heads(toy_home: Path, toy_analysis: Analysis, tmp_path: Path) -> None:
    spec = toy_analysis.about["spec"]
    gone = {**toy_analysis.about, "spec": {**spec, "model": {**spec["model"], "location": str(tmp_path)}}}
    assert head_layout(Home(toy_home).store, replace(toy_analysis, about=gone)) is None
