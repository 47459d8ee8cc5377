"""``rankscope compress``: one command from a model and a size to a folder that transformers opens."""

from __future__ import annotations

import pytest
from safetensors import safe_open

from engine.errors import InvalidSpecError
from engine.operations import Compress
from tests.support.terminal import Terminal


@pytest.fixture(scope="module")
def terminal(tmp_path_factory):
    return Terminal(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def words(model_folder, text_file):
    return (model_folder("llama-gqa"), "--text", text_file, "--n-sequences", 6, "--length", 32, "--held-out", 4)


def stored_params(folder):
    with safe_open(f"{folder}/model.safetensors", "pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118


@pytest.fixture(scope="module")
def in_one_step(terminal, words, tmp_path_factory):
    model, *settings = words
    folder = tmp_path_factory.mktemp("one") / "small"
    return terminal.json("compress", model, folder, "--keep", 0.8, *settings)


def test_a_large_size_is_reached_in_one_step(terminal, words, in_one_step):
    model, *settings = words
    assert in_one_step["analyses"] == [terminal.json("analyse", model, *settings[:6])["analysis"]]
    assert 0.75 < in_one_step["kept_fraction"] <= 0.8
    (found,) = in_one_step["perplexities"]
    assert found["narrowed_perplexity"] is None
    exported = in_one_step["exported"]
    # Beside what is counted lie column orders and the correction's intercepts.
    assert 1 <= stored_params(exported["folder"]) / exported["model_params"] < 1.02


def test_a_small_size_of_the_original_is_reached_in_two_steps(terminal, words, in_one_step, tmp_path):
    model, *settings = words
    mb = 2 * in_one_step["exported"]["dense_params"] / 1e6 * 0.65
    asked = ("compress", model, tmp_path / "small", "--mb", mb, *settings)
    made = terminal.json(*asked)
    assert made["analyses"][0] == in_one_step["analyses"][0]
    assert len(made["analyses"]) == 2
    size = 2 * made["exported"]["model_params"] / 1e6
    assert 0.95 * mb < size <= mb
    dense = in_one_step["exported"]["dense_params"]
    compressible = (dense - made["exported"]["model_params"]) / (1 - made["kept_fraction"])
    assert compressible == pytest.approx(
        (dense - in_one_step["exported"]["model_params"]) / (1 - in_one_step["kept_fraction"])
    )
    (found,), (before,) = made["perplexities"], in_one_step["perplexities"]
    assert found["dense_perplexity"] == before["dense_perplexity"]
    assert len({found["dense_perplexity"], found["narrowed_perplexity"], found["perplexity"]}) == 3
    assert {**terminal.json(*asked), "seconds": 0} == {**made, "seconds": 0}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "Neither of keep and mb"),
        ({"keep": 0.5, "mb": 3}, "Both of keep and mb"),
        ({"keep": 0.8, "narrow_to": 0.7}, "narrowed to 70.0 % on its way to 80.0 %"),
    ],
)
def test_a_size_that_cannot_be_meant_is_a_sentence(given, sentence, tmp_path, model_folder, text_file):
    operation = Compress(
        model=str(model_folder("llama-gqa")), text=str(text_file), folder=str(tmp_path / "new"), **given
    )
    with pytest.raises(InvalidSpecError, match=sentence):
        operation.check()


def test_a_folder_with_something_in_it_is_left_alone(terminal, words, tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    model, *settings = words
    refused = terminal("compress", model, tmp_path, "--keep", 0.5, *settings, code=1)
    assert "is not empty" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
