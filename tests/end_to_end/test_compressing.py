"""``rankscope compress``: one command from an analysis and a size to a folder that transformers opens."""

from __future__ import annotations

import shutil

import pytest
from safetensors import safe_open

from cache import DirectoryStore, Key
from engine import machine
from engine.errors import InvalidSpecError, ResourceError
from engine.operations import Compress
from engine.pipeline.reading.analyses import analysis_headings, load_analysis
from engine.progress import ignore_progress
from engine.settings import Home
from tests.support import toys
from tests.support.terminal import Terminal

pytestmark = pytest.mark.usefixtures("warm_starts")


@pytest.fixture(scope="module")
def terminal(tmp_path_factory):
    return Terminal(tmp_path_factory.mktemp("home"))


TEXT = ("--n-sequences", 6, "--length", 32)


@pytest.fixture(scope="module")
def analysis(terminal, model_folder, text_file):
    return terminal.json("analyse", model_folder("llama-gqa"), "--text", text_file, *TEXT)["analysis"]


def stored_params(folder):
    with safe_open(f"{folder}/model.safetensors", "pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118


@pytest.fixture(scope="module")
def in_one_step(terminal, analysis, text_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "small"
    return terminal.json("compress", analysis, folder, "--keep", 0.8, "--text", text_file, *TEXT)


def test_a_large_size_is_reached_in_one_step(in_one_step, analysis):
    assert in_one_step["analyses"] == [analysis]
    assert 0.75 < in_one_step["kept_fraction"] <= 0.8
    (found,) = in_one_step["perplexities"]
    assert found["narrowed_perplexity"] is None
    exported = in_one_step["exported"]
    # Beside what is counted lie the column orders of skip formats.
    assert 1 <= stored_params(exported["folder"]) / exported["model_params"] < 1.02


@pytest.fixture(scope="module")
def asked_for_little(analysis, text_file, in_one_step, tmp_path_factory):
    mb = 2 * in_one_step["exported"]["dense_params"] / 1e6 * 0.65
    return "compress", analysis, tmp_path_factory.mktemp("two") / "small", "--mb", mb, "--text", text_file, *TEXT


@pytest.fixture(scope="module")
def in_two_steps(terminal, asked_for_little):
    return terminal.json(*asked_for_little)


def test_a_small_size_of_the_original_is_reached_in_two_steps(analysis, in_one_step, in_two_steps, asked_for_little):
    dense, made, mb = in_one_step["exported"]["dense_params"], in_two_steps, asked_for_little[4]
    assert made["analyses"][0] == analysis
    assert len(made["analyses"]) == 2
    assert 0.95 * mb < 2 * made["exported"]["model_params"] / 1e6 <= mb
    # Both fractions are of the same parameters, those of the original.
    saved, before = (
        (dense - one["exported"]["model_params"]) / (1 - one["kept_fraction"]) for one in (made, in_one_step)
    )
    assert saved == pytest.approx(before)
    (found,), (in_one,) = made["perplexities"], in_one_step["perplexities"]
    assert found["dense_perplexity"] == in_one["dense_perplexity"]
    assert len({found["dense_perplexity"], found["narrowed_perplexity"], found["perplexity"]}) == 3


def test_the_analysis_on_the_way_comes_after_that_of_the_original(terminal, in_two_steps):
    original, narrowed = in_two_steps["analyses"]
    first, *others = analysis_headings(DirectoryStore(terminal.home / "artifacts"))
    assert first.id == original
    (other,) = (heading for heading in others if heading.id == narrowed)
    assert other.created > first.created
    assert other.about["model"].startswith(f"{in_two_steps['model']} narrowed to ")


def test_what_is_done_is_not_done_again_even_if_the_first_step_was_deleted(terminal, asked_for_little, in_two_steps):
    assert {**terminal.json(*asked_for_little), "seconds": 0} == {**in_two_steps, "seconds": 0}
    for narrowed in (terminal.home / "exports").glob("narrowed-*"):
        shutil.rmtree(narrowed)
    assert {**terminal.json(*asked_for_little), "seconds": 0} == {**in_two_steps, "seconds": 0}


def test_what_is_done_is_found_done_in_a_home_under_another_name(terminal, asked_for_little, in_two_steps, tmp_path):
    (tmp_path / "link").symlink_to(terminal.home, target_is_directory=True)
    again = Terminal(tmp_path / "link").json(*asked_for_little)
    assert again["exported"]["folder"] == in_two_steps["exported"]["folder"]
    assert again["perplexities"] == in_two_steps["perplexities"]


def test_minutes_of_training_make_another_model_and_say_so(terminal, asked_for_little, in_two_steps, tmp_path):
    command, analysis, _, *asked = asked_for_little
    assert "is not empty" in terminal.error(*asked_for_little, "--train-minutes", 0.02)
    store = DirectoryStore(terminal.home / "artifacts")
    assert "trained" not in {store.read(key).json("refinement.json")["kind"] for key in store.keys("refinement")}
    made = terminal.json(command, analysis, tmp_path / "small", *asked, "--train-minutes", 0.02)
    assert made["trained"]
    assert "trained" not in in_two_steps
    trained = Key("refinement", made["exported"]["refinement"])
    assert store.read(trained).json("refinement.json")["kind"] == "trained"
    (found,), (before,) = made["perplexities"], in_two_steps["perplexities"]
    assert found["narrowed_perplexity"] == before["narrowed_perplexity"]
    assert found["perplexity"] != before["perplexity"]


@pytest.mark.usefixtures("in_two_steps")
def test_a_first_step_to_another_size_with_the_same_widths_is_a_model_of_its_own(
    terminal, analysis, text_file, tmp_path
):
    asked = ("--keep", 0.801, "--narrow-to", 0.801, "--no-correct", "--text", text_file, *TEXT)
    made = terminal.json("compress", analysis, tmp_path / "narrow", *asked)
    assert 0.78 < made["kept_fraction"] < 0.8  # by no width between the two
    (found,) = made["perplexities"]
    assert found["perplexity"] == pytest.approx(found["narrowed_perplexity"])


def test_an_export_of_another_size_is_seen_before_anything_is_computed(terminal, analysis, text_file, in_one_step):
    stored = DirectoryStore(terminal.home / "artifacts").keys()
    for size in ((0.75, "--narrow-to", 1), (0.5,)):
        asked = ("compress", analysis, in_one_step["exported"]["folder"], "--keep", *size, "--text", text_file, *TEXT)
        assert "is not empty" in terminal.error(*asked)
    assert DirectoryStore(terminal.home / "artifacts").keys() == stored


def test_a_model_made_of_other_widths_is_seen_before_they_are_analysed(terminal, asked_for_little, in_two_steps):
    store = DirectoryStore(terminal.home / "artifacts")
    analyses = store.keys("analysis")
    assert in_two_steps["analyses"][1] in {key.fingerprint for key in analyses}
    assert "is not empty" in terminal.error(*asked_for_little, "--narrow-to", 0.9)
    assert store.keys("analysis") == analyses


def test_a_text_that_is_too_short_is_seen_before_anything_is_computed(terminal, analysis, text_file, tmp_path):
    stored = DirectoryStore(terminal.home / "artifacts").keys()
    asked = ("--keep", 0.5, "--text", text_file, "--n-sequences", 5000, "--length", 64)
    assert "ask for at most" in terminal.error("compress", analysis, tmp_path / "small", *asked)
    assert DirectoryStore(terminal.home / "artifacts").keys() == stored
    assert not (tmp_path / "small").exists()


def test_narrowing_that_leaves_nothing_to_train_is_seen_before_anything_is_computed(
    terminal, analysis, text_file, tmp_path
):
    stored = DirectoryStore(terminal.home / "artifacts").keys()
    asked = ("--keep", 0.8, "--narrow-to", 0.8, "--train-minutes", 1, "--text", text_file, *TEXT)
    assert "so there is nothing left to train" in terminal.error("compress", analysis, tmp_path / "small", *asked)
    assert DirectoryStore(terminal.home / "artifacts").keys() == stored


@pytest.mark.parametrize("narrow_to", [1.0, 0.8])
def test_training_that_memory_is_too_short_for_is_seen_before_anything_is_computed(
    narrow_to, terminal, analysis, text_file, tmp_path, monkeypatch
):
    home = Home(terminal.home)
    total = load_analysis(home.store, analysis).inventory.total_params
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: 8 * total)
    stored = home.store.keys()
    asked = Compress(
        analysis=analysis, folder=str(tmp_path / "small"), keep=0.5, narrow_to=narrow_to, train_minutes=1,
        text=str(text_file), n_sequences=6, length=32,
    )  # fmt: skip
    with pytest.raises(ResourceError, match=r"^Training on .* needs about .*, or leave training out\.$"):
        asked.run(home, ignore_progress)
    assert home.store.keys() == stored


def test_factors_multiplied_out_keep_what_was_asked_for(terminal, analysis, text_file, tmp_path):
    asked = ("--keep", 0.8, "--no-correct", "--format", "dense", "--text", text_file, *TEXT)
    made = terminal.json("compress", analysis, tmp_path / "dense", *asked)
    assert 0.75 < made["kept_fraction"] <= 0.8
    assert made["exported"]["model_params"] == made["exported"]["dense_params"]


def test_many_experts_beside_a_small_mlp_take_one_step(terminal, toy_tokenizer, text_file, tmp_path):
    model = tmp_path / "model"
    toys.build("qwen2-moe", shared_expert_intermediate_size=24, num_experts=16).save_pretrained(model)
    toy_tokenizer.save_pretrained(model)
    analysis = terminal.json("analyse", model, "--text", text_file, *TEXT, "--metrics", "loss")["analysis"]
    asked = ("--keep", 0.5, "--no-correct", "--text", text_file, *TEXT)
    assert terminal.json("compress", analysis, tmp_path / "small", *asked)["analyses"] == [analysis]
    assert "smallest allocation" in terminal.error("compress", analysis, tmp_path / "two", *asked, "--narrow-to", 0.6)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "Neither of keep and mb"),
        ({"keep": 0.5, "mb": 3}, "Both of keep and mb"),
        ({"keep": 0.8, "narrow_to": 0.7}, "narrowed to 70.0 % on its way to 80.0 %"),
    ],
)
def test_a_size_that_cannot_be_meant_is_a_sentence(given, sentence, tmp_path):
    with pytest.raises(InvalidSpecError, match=sentence):
        Compress(analysis="3f2a", folder=str(tmp_path / "new"), **given).check()


def test_a_folder_with_something_in_it_is_left_alone(terminal, analysis, tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    assert "is not empty" in terminal.error("compress", analysis, tmp_path, "--keep", 0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
