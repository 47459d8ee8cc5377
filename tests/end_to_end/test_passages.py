"""What single tokens of a text pay for a cut: kept with every measurement, on the Results page and in the report."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from engine.errors import InvalidRankMapError
from engine.evaluation.token_pieces import token_pieces
from engine.methods.allocate import allocate_rank_map
from engine.methods.editing import block_alone
from engine.operations import Passages
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.reading.analyses import curves_by_metric
from engine.pipeline.reading.passages import block_passages, losses_key, passages
from engine.pipeline.reading.results import results
from engine.pipeline.report import report_content
from engine.progress import ignore_progress
from engine.report import render_report
from engine.results.passages import Passage, Token, most_damaged_first
from engine.settings import Home
from engine.specs import CorpusSpec, EvaluationSpec
from engine.types import BlockRank, Budget, Format

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

    from engine.rank_map.document import RankMap
    from engine.results.rows import PerplexityResult
    from tests.support.measured_toy import MeasuredToy


@pytest.fixture(scope="module")
def result(measured_toy: MeasuredToy) -> PerplexityResult:
    return results(measured_toy.store, measured_toy.analysis.id)[2].perplexities[0]


def test_the_tokens_add_up_to_the_measured_losses(measured_toy: MeasuredToy, result: PerplexityResult) -> None:
    found = passages(measured_toy.store, result)
    assert found is not None
    assert len(found) == result.n_sequences
    assert [one.damage for one in found] == sorted((one.damage for one in found), reverse=True)
    assert sorted(one.place for one in found) == [1, 2, 3, 4]
    scored = [token for one in found for token in one.tokens[1:]]
    assert len(scored) == result.n_tokens
    for name, perplexity in (("dense", result.dense_perplexity), ("compressed", result.perplexity)):
        assert np.exp(np.mean([getattr(token, name) for token in scored])) == pytest.approx(perplexity, rel=1e-5)
    assert np.mean([one.damage for one in found]) == pytest.approx(result.increase, rel=1e-4)
    assert all(one.tokens[0].dense is None for one in found)


def test_pieces_are_the_text(toy_tokenizer: PreTrainedTokenizerFast) -> None:
    text = "the river runs to the sea and the sea is not full"
    tokens = toy_tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = token_pieces(toy_tokenizer, tokens)
    assert len(pieces) == len(tokens)
    assert "".join(pieces) == toy_tokenizer.decode(tokens, clean_up_tokenization_spaces=False)


def test_the_worst_stretch_of_a_passage_is_the_one_that_pays_most() -> None:
    dense = np.zeros((1, 6), np.float32)
    compressed = np.array([[0, 5, -9, 2, 4, 0]], np.float32)
    (passage,) = most_damaged_first([list("abcdefg")], dense, compressed)
    assert passage.damage == pytest.approx(2 / 6)
    assert passage.worst == Token("c", 0.0, 5.0)
    assert [token.piece for token in passage.around_worst(2).tokens] == ["e", "f"]
    assert passage.around_worst(99).tokens == passage.tokens
    assert Passage(1, passage.tokens[:1]).damage == 0


def test_the_report_shows_the_two_passages_that_pay_most(measured_toy: MeasuredToy) -> None:
    content = report_content(measured_toy.store, measured_toy.analysis.id, measured_toy.maps[1])
    assert len(content.passages) == 2
    assert content.passages[0].damage >= 0
    document = render_report(content)
    assert "Which text pays" in document
    assert document.count('<p class="tokens">') == 2


def test_losses_that_were_not_kept_are_no_error(
    measured_toy: MeasuredToy, result: PerplexityResult, tmp_path: Path
) -> None:
    shutil.copytree(measured_toy.home / "artifacts", tmp_path / "artifacts")
    store = type(measured_toy.store)(tmp_path / "artifacts")
    for key in store.keys("evaluation"):
        store.delete(losses_key(key))
    assert passages(store, result) is None
    assert "Which text pays" not in render_report(report_content(store, measured_toy.analysis.id, measured_toy.maps[1]))


def cuts_of_each_kind(measured_toy: MeasuredToy) -> tuple[RankMap, RankMap]:
    """Return a map with factored blocks and one whose MLPs are narrowed."""
    analysis = measured_toy.analysis
    budget = Budget.of_kept_fraction(0.6, analysis.inventory.compressible_params)
    return measured_toy.maps[1], allocate_rank_map(analysis, curves_by_metric(analysis), "width", budget)


@pytest.mark.parametrize("kind", [0, 1], ids=["factored", "width"])
def test_the_passages_of_one_projection_are_those_of_a_map_that_cuts_its_block_alone(
    measured_toy: MeasuredToy, tmp_path: Path, kind: int
) -> None:
    shutil.copytree(measured_toy.home / "artifacts", tmp_path / "artifacts")
    home, analysis = Home(tmp_path), measured_toy.analysis
    rank_map = cuts_of_each_kind(measured_toy)[kind]
    block = next(b for b in rank_map.blocks if b.rank is not None)
    assert (block.format is Format.WIDTH) == bool(kind)
    alone = block_alone(rank_map, block.members[-1])
    assert alone.blocks == (BlockRank(block.members, block.format, block.rank),)
    before = results(home.store, analysis.id)
    assert block_passages(home.store, analysis.id, alone) is None
    text = str(measured_toy.home / "corpus.txt")
    asked = Passages(
        analysis=analysis.id,
        rank_map=rank_map.to_json(),
        projection=block.members[-1],
        text=text,
        n_sequences=3,
        length=32,
        device="cpu",
    )
    asked.check()
    measured = asked.run(home, ignore_progress)
    found = block_passages(home.store, analysis.id, alone)
    assert found is not None
    assert found[0] == measured
    assert measured.block == block.name
    assert results(home.store, analysis.id) == before

    spec = EvaluationSpec(CorpusSpec.parse(text, part="evaluation", n_sequences=3, length=32))
    ordinary = EvaluationSession(home, analysis.id, spec, ignore_progress, device="cpu").measure(alone, ignore_progress)
    assert found[1] == passages(home.store, ordinary)
    assert measured.nll_increase == pytest.approx(ordinary.increase, abs=1e-6)
    assert any(token.increase for passage in found[1] for token in passage.tokens)
    assert len(home.store.keys("block-losses")) == 1


def test_a_projection_that_the_map_leaves_dense_has_no_passages(measured_toy: MeasuredToy) -> None:
    with pytest.raises(InvalidRankMapError, match="leaves another projection dense, so that"):
        block_alone(measured_toy.maps[0], "another projection")
