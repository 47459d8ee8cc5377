"""Zero-shot tasks: items read from the demo's files, and scores that follow from the logits."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from engine.compression.apply import compress
from engine.errors import CorpusError, InvalidSpecError, ModelError, NumericalError
from engine.evaluation.demo_tasks import DEMO_TASKS, read_items
from engine.evaluation.tasks import load_tasks, run_task
from engine.progress import ignore_progress
from engine.types import BlockRank, Format
from tests.support import toys

ROWS = [
    {"question": "Where does the river run? ", "options": "A. to the sea\nB. up ", "answer": "A. to the sea"},
    {"question": "A matrix of low rank", "options": "A. is a product\nB. is not\nof two", "answer": "B. is not"},
    {"question": "Snow in April", "options": "A. melts\nB. is what nobody in the village had seen", "answer": "A. m"},
    {"question": "The report", "options": "A. is late\nB. is long", "answer": "B. is long"},
    {"question": "The bridge", "options": "A. was closed in the night\nB. fell", "answer": "A. was closed"},
]


@pytest.fixture
def demo_texts(tmp_path):
    (tmp_path / "piqa.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    boolq = {"question": "is it", "title": "It", "answer": "True", "passage": "It is."}
    (tmp_path / "boolq.jsonl").write_text(json.dumps(boolq) + "\n", encoding="utf-8")
    return tmp_path


def test_options_are_taken_apart_wherever_the_package_put_them(tmp_path):
    path = tmp_path / "items.jsonl"
    split = {"question": "What is it?\nA. new\nB. old", "options": "\nC. wise\nD. open", "answer": "D. open"}
    path.write_text(json.dumps(split), encoding="utf-8")
    assert read_items(path) == [
        {"question": "What is it?", "passage": "", "choices": ["new", "old", "wise", "open"], "answer": 3}
    ]
    path.write_text(json.dumps({**split, "answer": "E. none"}), encoding="utf-8")
    with pytest.raises(CorpusError, match="answer 'E'"):
        read_items(path)


def log_likelihood(module, tokenizer, context, continuation):
    whole = tokenizer(context + continuation)["input_ids"]
    n = len(whole) - len(tokenizer(context)["input_ids"])
    with torch.no_grad():
        log_probs = module(torch.tensor([whole])).logits[0].log_softmax(-1)
    return sum(log_probs[i - 1, whole[i]].item() for i in range(len(whole) - n, len(whole)))


@pytest.mark.parametrize("architecture", ["llama-gqa", "gpt2"])
def test_accuracies_follow_from_the_logits(architecture, demo_texts, toy_tokenizer):
    module = toys.build(architecture)
    (task,) = load_tasks(["demo_piqa"], None, demo_texts)
    found = run_task(module, toy_tokenizer, task, ignore_progress, batch_size=3)
    right, right_norm = [], []
    for item in read_items(demo_texts / "piqa.jsonl"):
        context = f"Question: {item['question']}\nAnswer:"
        sums = [log_likelihood(module, toy_tokenizer, context, f" {choice}") for choice in item["choices"]]
        per_byte = [s / len(choice) for s, choice in zip(sums, item["choices"], strict=True)]
        right.append(float(np.argmax(sums) == item["answer"]))
        right_norm.append(float(np.argmax(per_byte) == item["answer"]))
    np.testing.assert_array_equal(found.items["acc"], right)
    np.testing.assert_array_equal(found.items["acc_norm"], right_norm)
    for name, values in (("acc", right), ("acc_norm", right_norm)):
        mean, stderr = found.metrics[name]
        assert mean == pytest.approx(np.mean(values))
        assert stderr == pytest.approx(np.std(values, ddof=1) / np.sqrt(len(values)))
    assert toy_tokenizer.pad_token is None


def test_a_half_precision_models_answers_are_scored_in_float32(demo_texts, toy_tokenizer):
    (task,) = load_tasks(["demo_piqa"], None, demo_texts)
    run_task(toys.build("llama").to(torch.bfloat16), toy_tokenizer, task, ignore_progress)
    sums = torch.tensor([response[0] for instance in task.task.instances for response in instance.resps])
    assert (sums != sums.bfloat16().float()).any()


def test_scoring_leaves_a_compressed_model_as_it_was(demo_texts, toy_tokenizer):
    module, inventory, factors = toys.factored("llama-gqa", toys.tokens(4, 32))
    blocks = [BlockRank(tuple(p.name for p in group.members), Format.CAT, 6) for group in inventory.groups]
    compressed = compress(module, [b for b in blocks if len(b.members) > 1], factors.__getitem__)
    tokens = toys.tokens(2, 16)
    before = compressed(tokens).logits
    (task,) = load_tasks(["demo_piqa"], None, demo_texts)
    run_task(compressed, toy_tokenizer, task, ignore_progress)
    torch.testing.assert_close(compressed(tokens).logits, before, rtol=0, atol=0)


def test_a_limit_takes_the_first_items_and_changes_what_is_measured(demo_texts, toy_tokenizer):
    whole, part, more = (load_tasks(["demo_piqa"], limit, demo_texts)[0] for limit in (None, 2, 99))
    assert (part.n, part.n_available, whole.n, more.n) == (2, 5, 5, 5)
    assert whole.fingerprint == more.fingerprint != part.fingerprint
    module = toys.build("llama")
    scores = [run_task(module, toy_tokenizer, task, ignore_progress).items["acc"] for task in (whole, part)]
    np.testing.assert_array_equal(scores[0][:2], scores[1])


def test_progress_is_told_while_items_are_scored(demo_texts, toy_tokenizer):
    told = []
    (task,) = load_tasks(["demo_piqa"], None, demo_texts)
    run_task(toys.build("llama"), toy_tokenizer, task, lambda *report: told.append(report), batch_size=2)
    assert [fraction for _, fraction, _ in told] == [0.2, 0.4, 0.6, 0.8, 1.0]


def test_yes_or_no_has_no_acc_norm(demo_texts):
    (task,) = load_tasks(["demo_boolq"], None, demo_texts)
    requests = [instance.arguments for instance in task.task.instances]
    assert requests == [("It is.\nQuestion: is it?\nAnswer:", f" {word}") for word in ("no", "yes")]
    assert DEMO_TASKS["demo_boolq"].metrics == ("acc",)


def test_what_cannot_be_scored_is_one_sentence(demo_texts, toy_tokenizer, monkeypatch):
    with pytest.raises(InvalidSpecError, match="did you mean 'demo_piqa'"):
        load_tasks(["demo_piqua"], None, demo_texts)
    with pytest.raises(InvalidSpecError, match="at least 1"):
        load_tasks(["demo_piqa"], -1, demo_texts)
    (demo_texts / "piqa.jsonl").write_text(json.dumps({**ROWS[0], "question": "sea " * 200}), encoding="utf-8")
    (task,) = load_tasks(["demo_piqa"], None, demo_texts)
    with pytest.raises(InvalidSpecError, match="128 positions"):
        run_task(toys.build("llama"), toy_tokenizer, task, ignore_progress)
    larger = copy.deepcopy(toy_tokenizer)
    larger.add_tokens([*map(str, range(100, 200)), "sea"])
    with pytest.raises(ModelError, match="but the model embeds only"):
        run_task(toys.build("llama"), larger, task, ignore_progress)


def test_one_item_has_no_standard_error_and_numbers_that_are_not_finite_no_score(demo_texts, toy_tokenizer):
    (task,) = load_tasks(["demo_piqa"], 1, demo_texts)
    module = toys.build("llama")
    mean, stderr = run_task(module, toy_tokenizer, task, ignore_progress).metrics["acc"]
    assert mean in {0.0, 1.0}
    assert stderr is None
    module.get_output_embeddings().weight.data[5] = float("nan")
    with pytest.raises(NumericalError, match="item 0 of demo_piqa"):
        run_task(module, toy_tokenizer, task, ignore_progress)


def test_a_stock_task_offline_is_one_sentence(monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InvalidSpecError, match="need no hub: demo_piqa") as raised:
        load_tasks(["piqa"], 3, None)
    assert "\n" not in str(raised.value)
