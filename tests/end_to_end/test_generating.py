"""From a folder to text on every architecture: dense, under a rank map, and progressively."""

from __future__ import annotations

import pytest

from engine.decoding.generation import encode_prompt, generate_tokens
from engine.decoding.schedules import RankSchedule
from engine.errors import InvalidRankMapError, InvalidSpecError, NumericalError, RankScopeError
from engine.methods.allocate import Request, allocate_rank_map
from engine.operations import Analyse
from engine.pipeline.analyse import analyse
from engine.pipeline.generate import GenerationSession
from engine.pipeline.reading.analyses import curves_by_metric
from engine.progress import ignore_progress
from engine.rank_map.document import RankMap
from engine.settings import Home
from engine.specs import GenerationSpec
from engine.types import Budget, Format, Metric
from tests.support.tiers import every_architecture_at_length

PROMPT = "The river rose in the night"
SPEC = GenerationSpec(12)


def opened(name, tmp_path, model_folder, text_file):
    arguments = {"model": str(model_folder(name)), "text": str(text_file), "n_sequences": 4, "length": 32}
    key = analyse(Home(tmp_path), Analyse(**arguments).spec(), ignore_progress, device="cpu")
    session = GenerationSession(Home(tmp_path), key.fingerprint[:12], ignore_progress, dtype="float32", device="cpu")
    # Random weights would end the text at any moment.
    session.model.module.generation_config.eos_token_id = None
    return session


@pytest.fixture(scope="module")
def session(tmp_path_factory, model_folder, text_file):
    return opened("llama-gqa", tmp_path_factory.mktemp("home"), model_folder, text_file)


def flrc(session, fraction, storage=Format.LOW_RANK):
    analysis = session.analysis
    budget = Budget.of_kept_fraction(fraction, analysis.inventory.compressible_params)
    return allocate_rank_map(
        analysis, curves_by_metric(analysis), "flrc", budget, Request(formats=frozenset({storage}))
    )


@every_architecture_at_length
def test_every_architecture_writes_dense_compressed_and_progressively(name, tmp_path, model_folder, text_file):
    session = opened(name, tmp_path, model_folder, text_file)
    total = session.analysis.inventory.compressible_params
    prompt = session.encode(PROMPT, SPEC)
    dense = session.complete(session.dense(), prompt, SPEC)
    assert dense.mean_kept_fraction == 1.0
    assert len(dense.tokens) == 12
    static = session.complete(session.compressed(flrc(session, 0.6)), prompt, SPEC)
    for storage in (Format.LOW_RANK, Format.CAT):
        variant = session.progressive(RankSchedule.staged(0.8, 0.5, 3, 4), storage=storage)
        found = session.complete(variant, prompt, SPEC)
        assert list(found.active_params) == sorted(found.active_params, reverse=True)
        assert found.active_params[0] == variant.params <= 0.8 * total
        assert found.active_params[-1] <= 0.5 * total
        assert found.mean_active_params == sum(found.active_params) / 12
        assert variant.resident_params >= variant.params
        constant = session.progressive(RankSchedule.linear(0.6, 0.6, 5), storage=storage)
        expected = session.complete(session.compressed(flrc(session, 0.6, storage)), prompt, SPEC)
        assert session.complete(constant, prompt, SPEC).tokens == expected.tokens
    assert static.mean_kept_fraction <= 0.6


def test_the_text_arrives_in_pieces_and_is_the_text_of_the_tokens(session):
    pieces = []
    prompt = session.encode(PROMPT, SPEC)
    found = session.complete(session.dense(), prompt, SPEC, pieces.append)
    assert "".join(pieces) == found.text == session.model.tokenizer.decode(found.tokens, skip_special_tokens=True)
    assert found.n_prompt_tokens == len(prompt)
    assert found.prefill_s > 0
    assert found.decode_s > 0
    assert found.tokens_per_s == pytest.approx(11 / found.decode_s)
    one = session.complete(session.dense(), prompt, GenerationSpec(1))
    assert one.tokens_per_s is None
    assert one.tokens == found.tokens[:1]


def test_text_ends_after_the_end_of_text_token_of_each_row(session):
    module = session.model.module
    prompts = [session.encode(text, SPEC) for text in (PROMPT, "Snow")]
    free = generate_tokens(module, prompts, SPEC)
    module.generation_config.eos_token_id = [free[0][4]]
    try:
        stopped = generate_tokens(module, prompts, SPEC)
        longer = generate_tokens(module, prompts, GenerationSpec(12, min_new_tokens=9))
    finally:
        module.generation_config.eos_token_id = None
    assert all(9 <= len(row) <= 12 and free[0][4] not in row[:9] for row in longer)
    for row, whole in zip(stopped, free, strict=True):
        assert row == (whole[: whole.index(free[0][4]) + 1] if free[0][4] in whole else whole)


def test_draws_depend_on_the_seed_alone_and_leave_the_global_state(session):
    import torch

    prompt = session.encode(PROMPT, SPEC)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    specs = [GenerationSpec(12, 1.0, seed) for seed in (1, 1, 2)]
    first, again, other = (session.complete(session.dense(), prompt, spec).tokens for spec in specs)
    assert first == again != other
    assert torch.equal(torch.random.get_rng_state(), before)


def test_sampling_settings_that_come_with_a_model_are_not_used(session):
    config = session.model.module.generation_config
    prompt = session.encode(PROMPT, SPEC)
    expected = session.complete(session.dense(), prompt, GenerationSpec(12, 1.0, 3)).tokens
    config.top_k, config.temperature, config.do_sample = 1, 0.1, True
    config.repetition_penalty, config.num_beams = 3.0, 2
    try:
        assert session.complete(session.dense(), prompt, GenerationSpec(12, 1.0, 3)).tokens == expected
        greedy = session.complete(session.dense(), prompt, SPEC).tokens
    finally:
        config.top_k = config.temperature = config.do_sample = None
        config.repetition_penalty = config.num_beams = None
    assert greedy == session.complete(session.dense(), prompt, SPEC).tokens


def test_draws_follow_the_models_probabilities_at_the_temperature(session):
    import torch

    prompt = session.encode(PROMPT, SPEC)
    temperature, n = 1.5, 1500
    with torch.no_grad():
        logits = session.model.module(input_ids=torch.tensor([prompt])).logits[0, -1]
    expected = (logits / temperature).softmax(-1)
    rows = generate_tokens(session.model.module, [prompt] * n, GenerationSpec(1, temperature, 11))
    counts = torch.bincount(torch.tensor(rows)[:, 0], minlength=len(expected)) / n
    spread = (expected * (1 - expected) / n).sqrt()
    assert ((counts - expected).abs() <= 5 * spread + 1 / n).all()


def test_a_chat_template_that_refuses_a_question_is_one_sentence(toy_tokenizer):
    import copy

    picky = copy.deepcopy(toy_tokenizer)
    picky.chat_template = "{{ raise_exception('A system message is needed') }}"
    with pytest.raises(InvalidSpecError, match=r"A system message is needed.*--no-chat"):
        encode_prompt(picky, "Hello", chat=None)


def test_the_chat_template_is_used_when_there_is_one_unless_it_is_refused(toy_tokenizer):
    plain = toy_tokenizer("Hello")["input_ids"]
    assert encode_prompt(toy_tokenizer, "Hello", chat=False) == plain
    wrapped = encode_prompt(toy_tokenizer, "Hello", chat=None)
    assert toy_tokenizer.decode(wrapped) == "<user>Hello<eos>\n"
    assert encode_prompt(toy_tokenizer, "Hello", chat=True) == wrapped


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda s: s.encode(" \n", SPEC), "prompt is empty"),
        (lambda s: s.encode("river " * 80, SPEC), "128 positions"),
        (lambda s: s.encode(PROMPT, GenerationSpec(1000)), "128 positions"),
        (lambda s: GenerationSpec(0), "at least 1"),
        (lambda s: GenerationSpec(5, -1.0), "temperature"),
        (lambda s: GenerationSpec(5, min_new_tokens=6), "from 0 to the maximum"),
        (lambda s: GenerationSpec(5, float("nan")), "temperature"),
        (lambda s: s.progressive(RankSchedule.linear(0.8, 0.5, 4), storage=Format.SKIP), "cannot be sliced"),
        (lambda s: s.progressive(RankSchedule.linear(0.8, 0.5, 4), "flcr"), "did you mean 'flrc'"),
        (lambda s: s.progressive(RankSchedule.linear(0.8, 0.001, 4)), "budget"),
    ],
)
def test_what_cannot_be_generated_is_one_sentence(session, ask, words):
    with pytest.raises(RankScopeError, match=words):
        ask(session)


def test_a_map_of_another_model_is_refused(session):
    with pytest.raises(InvalidRankMapError, match="is for the model"):
        session.compressed(RankMap("m", "0" * 64, None, "x", Metric.LOSS, None, ()))


def test_a_model_without_a_chat_template_says_so(toy_tokenizer):
    import copy

    plain = copy.deepcopy(toy_tokenizer)
    plain.chat_template = None
    assert encode_prompt(plain, "Hello", chat=None) == toy_tokenizer("Hello")["input_ids"]
    with pytest.raises(InvalidSpecError, match="no chat template"):
        encode_prompt(plain, "Hello", chat=True)


def test_numbers_that_are_not_finite_cannot_be_drawn_from(tmp_path, model_folder, text_file):
    session = opened("llama", tmp_path, model_folder, text_file)
    session.model.module.lm_head.weight.data[0, 0] = float("nan")
    with pytest.raises(NumericalError, match="not finite"):
        session.complete(session.dense(), session.encode(PROMPT, SPEC), SPEC)
