"""ROUGE of summaries, their intervals, and the text pairs they are measured on."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.decoding.generation import generate_tokens
from engine.errors import CorpusError, InvalidSpecError
from engine.evaluation.bootstrap import bootstrap_difference, bootstrap_mean
from engine.evaluation.specs import SummarySpec
from engine.evaluation.summaries import build_prompts, score_summaries, write_summaries
from engine.model.inventory import take_inventory
from engine.model.opening import OpenModel
from engine.specs import CorpusSource, CorpusSpec, GenerationSpec
from engine.text.pairs import TextPair, load_pairs
from tests.support import toys
from tests.support.examples import examples


def rouge(text, reference):
    """ROUGE-1 and ROUGE-L from their definitions, on words that have no other stem."""
    a, b = text.split(), reference.split()
    common = sum(min(a.count(w), b.count(w)) for w in set(a))
    longest = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, j in itertools.product(range(len(a)), range(len(b))):
        longest[i + 1, j + 1] = longest[i, j] + 1 if a[i] == b[j] else max(longest[i, j + 1], longest[i + 1, j])
    return [2 * n / (len(a) + len(b)) if a or b else 0.0 for n in (common, longest[-1, -1])]


words = st.lists(st.sampled_from(["cat", "dog", "rank", "sun", "map"]), min_size=1, max_size=8).map(" ".join)


@given(words, words)
def test_scores_are_rouges_definition(text, reference):
    found = score_summaries([text], [reference])
    expected = rouge(text, reference)
    assert [found["rouge1"][0], found["rougeL"][0]] == pytest.approx(expected)
    assert 0 <= found["rouge2"][0] <= 1


def test_equal_texts_score_one_and_strangers_nothing():
    found = score_summaries(["The river rose.", "Snow fell", ""], ["the rivers rose", "a matrix", "anything"])
    for values in found.values():
        assert values.tolist() == [1.0, 0.0, 0.0]


@examples(50)
@given(hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(0, 1)), st.integers(0, 5))
def test_an_interval_holds_its_mean_and_lies_within_the_values(values, seed):
    found = bootstrap_mean(values, n_resamples=300, seed=seed)
    assert found == bootstrap_mean(values, n_resamples=300, seed=seed)
    assert found.low <= found.mean + 0.3 * np.ptp(values) + 1e-12
    assert found.high >= found.mean - 0.3 * np.ptp(values) - 1e-12
    assert values.min() - 1e-12 <= found.low <= found.high <= values.max() + 1e-12
    narrower = bootstrap_mean(values, n_resamples=300, seed=seed, level=0.5)
    assert found.low <= narrower.low <= narrower.high <= found.high


def test_intervals_agree_with_the_normal_ones_and_cover_as_promised():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        values = rng.normal(3.0, 2.0, 100)
        found = bootstrap_mean(values, n_resamples=500, seed=trial)
        covered += found.low <= 3.0 <= found.high
        half = 1.96 * values.std() / 10
        assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.25)
    assert 180 <= covered <= 199


def test_the_paired_interval_sees_a_small_steady_difference():
    rng = np.random.default_rng(1)
    hard = rng.uniform(0, 1, 100)
    better = hard + 0.02 + rng.normal(0, 0.01, 100)
    found = bootstrap_difference(better, hard)
    assert found.low > 0
    assert found.mean == pytest.approx(0.02, abs=0.005)
    assert bootstrap_mean(better).low < hard.mean()
    assert bootstrap_difference(hard, hard).low <= 0


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: bootstrap_mean(np.ones(1)), "at least 2"),
        (lambda: bootstrap_mean(np.ones(5), level=1.0), "level"),
        (lambda: bootstrap_mean(np.ones(5), n_resamples=0), "resample"),
        (lambda: bootstrap_difference(np.ones(3), np.ones(4)), "every text"),
        (lambda: spec(template="Summarize."), "exactly once"),
        (lambda: spec(batch_size=0), "at least 1"),
        (lambda: spec(max_new_tokens=0), "at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_one_sentence(ask, said):
    with pytest.raises(InvalidSpecError, match=said):
        ask()


def spec(n=3, length=12, location="pairs.jsonl", field="article", **changes):
    corpus = CorpusSpec(CorpusSource.FILE, str(location), text_field=field, n_sequences=n, length=length)
    return SummarySpec(corpus, **{"template": "{article} Short:", **changes})


@pytest.fixture(scope="module")
def model(toy_tokenizer):
    module = toys.build("llama")
    module.generation_config.eos_token_id = None
    return OpenModel(module, toy_tokenizer, take_inventory(module))


PAIRS = [
    TextPair("The river rose in the night and the bridge was closed.", "Bridge closed."),
    TextPair("Snow.", "It snowed in April."),
    TextPair("A matrix of low rank is the product of two thin ones, as every student knows.", "Matrices."),
]


def test_articles_are_cut_and_put_into_the_template(model):
    tokenizer = model.tokenizer
    prompts = build_prompts(model, PAIRS, spec(length=8, chat=False))
    shown = [tokenizer.decode(p) for p in prompts]
    cut = [tokenizer.decode(tokenizer(p.text)["input_ids"][:8]) for p in PAIRS]
    assert shown == [f"{text} Short:" for text in cut]
    chat = build_prompts(model, PAIRS, spec(length=8))
    assert tokenizer.decode(chat[1]) == "<user>Snow. Short:<eos>\n"
    with pytest.raises(InvalidSpecError, match="128 positions"):
        build_prompts(model, PAIRS, spec(max_new_tokens=500))


def test_batches_change_neither_order_nor_summaries(model):
    references = [p.reference for p in PAIRS]
    prompts = build_prompts(model, PAIRS, spec())
    found = []
    for batch_size in (1, 2, 3):
        told = []
        settings = spec(batch_size=batch_size, max_new_tokens=6)
        summaries = write_summaries(
            model.module, model.tokenizer, prompts, references, settings, lambda *report, told=told: told.append(report)
        )
        assert told[-1] == ("summaries", 1.0, "Summaries: 3 of 3 articles")
        found.append(summaries)
    single = [generate_tokens(model.module, [p], GenerationSpec(6))[0] for p in prompts]
    expected = tuple(model.tokenizer.decode(t, skip_special_tokens=True).strip() for t in single)
    for summaries in found:
        assert summaries.texts == expected
        assert summaries.n_tokens.tolist() == [6, 6, 6]
        assert summaries.scores["rougeL"].tolist() == found[0].scores["rougeL"].tolist()
        assert summaries.seconds > 0
    assert found[0].interval("rouge1", spec()).mean == found[0].scores["rouge1"].mean()
    assert found[0].difference(found[1], "rougeL", spec()).mean == 0.0


def lines(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_pairs_come_from_two_columns_of_a_file_in_order(tmp_path):
    rows = [{"id": i, "article": f" Text {i}\n", "short": "" if i == 1 else f"S{i}"} for i in range(5)]
    path = lines(tmp_path / "pairs.jsonl", rows)
    found = load_pairs(spec(3, location=path).corpus, "short")
    assert found == [TextPair("Text 0", "S0"), TextPair("Text 2", "S2"), TextPair("Text 3", "S3")]
    with pytest.raises(CorpusError, match="4 pairs with two filled sides, and 5 are needed"):
        load_pairs(spec(5, location=path).corpus, "short")


def test_the_demos_pairs_are_articles_and_summaries(tmp_path):
    lines(tmp_path / "xsum.jsonl", [{"id": "1", "document": "Long.", "summary": "Short."}])
    corpus = CorpusSpec.parse("demo:news", part="evaluation", n_sequences=1, length=300)
    assert load_pairs(corpus, "summary", tmp_path) == [TextPair("Long.", "Short.")]
    wikipedia = CorpusSpec.parse("demo", part="evaluation", n_sequences=1, length=300)
    with pytest.raises(CorpusError, match="use demo:news"):
        load_pairs(wikipedia, "summary", tmp_path)


@pytest.mark.demo
def test_the_demo_holds_a_thousand_pairs_less_one_that_is_empty(demo_assets):
    corpus = CorpusSpec.parse("demo:news", part="evaluation", n_sequences=999, length=300)
    found = load_pairs(corpus, "summary", demo_assets.texts)
    assert len(found) == len({pair.text for pair in found}) == 999


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.jsonl", '{"article": "a"}', "no field 'short'"),
        ("p.jsonl", '{"article": "a", "short": 3}', "has 3 in 'short'"),
        ("p.jsonl", '{"article": "a", "short": null}', "has null in 'short'"),
        ("p.jsonl", "nonsense", "not JSON"),
        ("p.jsonl", "", "is empty"),
        ("p.txt", "words", "no second column"),
    ],
)
def test_files_without_pairs_are_one_sentence(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(CorpusError, match=said):
        load_pairs(spec(1, location=tmp_path / name).corpus, "short")
