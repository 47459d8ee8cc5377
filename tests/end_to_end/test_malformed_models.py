"""Model folders with something wrong in them: each is analysed, or refused in one sentence, and soon."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from engine.errors import ModelError, RankScopeError
from engine.model.sources import folder_fingerprint
from engine.operations import Analyse
from engine.pipeline.analyse import analyse
from engine.pipeline.generate import GenerationSession
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import GenerationSpec
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cache import Key

WRONG_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 63, 1000, 2**31, 2**63, 10**30, 0.5, -1.5, 1e308, float("nan"), float("inf")),
    *("", "48", "x", "gpt2", "float16", "\0", [], [1], ["x", None], {}, {"x": 1}, {"rope_type": "yarn"}),
)
WRONG_FILES = (b"", b"[]", b"null", b"7", b'"x"', b"{", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"a": {"a": 1}}')
SENTENCE_S = 120
"""Seconds after which something hangs; the slowest case takes two."""


class HangsError(BaseException):
    """No Exception, which an engine that hangs might turn into a sentence."""


@contextlib.contextmanager
def ends_soon() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise HangsError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SENTENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _ends(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let every test end soon but the long ones, which see to it case by case."""
    with contextlib.nullcontext() if request.node.get_closest_marker("long") else ends_soon():
        yield


@pytest.fixture
def folder(tmp_path: Path, model_folder: Callable[[str], Path]) -> Path:
    """A model folder that may be damaged."""
    return shutil.copytree(model_folder("llama-gqa"), tmp_path / "model")


def analysed(folder: Path, text: Path, **settings: object) -> Key:
    arguments = Analyse(model=str(folder), text=str(text), n_sequences=2, length=16, **settings)
    return analyse(Home(folder.parent / "home"), arguments.spec(), ignore_progress, device="cpu")


def require_analysed_or_refused(folder: Path, text: Path) -> None:
    try:
        analysed(folder, text)
    except RankScopeError as refusal:
        said = str(refusal)
        assert said.endswith(".")
        assert "\n" not in said
        assert 40 < len(said) < 800, said


def mutated(document: dict[str, Any], field: str, value: object) -> dict[str, Any]:
    """Return a document with another value of one field, a path into nested objects."""
    name, _, inner = field.partition(".")
    return {**document, name: mutated(document[name], inner, value) if inner else value}


FIELDS = {
    "config.json": (
        *("architectures", "attention_bias", "attention_dropout", "bos_token_id", "dtype", "eos_token_id", "head_dim"),
        *("hidden_act", "hidden_size", "initializer_range", "intermediate_size", "max_position_embeddings", "mlp_bias"),
        *("model_type", "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "pad_token_id"),
        *("pretraining_tp", "rms_norm_eps", "rope_parameters", "rope_parameters.rope_theta"),
        *("rope_parameters.rope_type", "tie_word_embeddings", "transformers_version", "use_cache", "vocab_size"),
        # Fields that a toy's file does not have.
        *("quantization_config", "rope_scaling", "layer_types", "text_config", "auto_map", "torch_dtype", "id2label"),
        *("is_encoder_decoder", "attn_implementation", "base_model_tp_plan", "sliding_window"),
    ),
    "generation_config.json": ("eos_token_id", "bos_token_id", "pad_token_id", "temperature", "do_sample"),
    "tokenizer_config.json": ("tokenizer_class", "eos_token", "model_max_length", "added_tokens_decoder"),
}
MUTATIONS = [(file, field, value) for file, fields in FIELDS.items() for field in fields for value in WRONG_VALUES]


def check_mutations(folder: Path, text: Path, mutations: list[tuple[str, str, object]]) -> None:
    for file, field, value in mutations:
        whole = (folder / file).read_text()
        (folder / file).write_text(json.dumps(mutated(json.loads(whole), field, value)))
        try:
            with ends_soon():
                require_analysed_or_refused(folder, text)
        except BaseException as error:
            error.add_note(f"{file}: {field} = {value!r}")
            raise
        (folder / file).write_text(whole)


def test_every_field_of_the_configuration_is_mutated(folder: Path) -> None:
    assert json.loads((folder / "config.json").read_text()).keys() <= set(FIELDS["config.json"])


def test_a_field_with_a_wrong_value_is_opened_or_refused(folder: Path, text_file: Path) -> None:
    check_mutations(folder, text_file, random.Random(0).sample(MUTATIONS, 20))


@pytest.mark.long
@pytest.mark.parametrize("file", FIELDS)
def test_every_field_with_every_wrong_value_is_opened_or_refused(file: str, folder: Path, text_file: Path) -> None:
    check_mutations(folder, text_file, [mutation for mutation in MUTATIONS if mutation[0] == file])


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"])
def test_a_file_with_another_content_is_opened_or_refused(file: str, folder: Path, text_file: Path) -> None:
    for content in WRONG_FILES:
        (folder / file).write_bytes(content)
        require_analysed_or_refused(folder, text_file)


@pytest.mark.parametrize("content", [b"[]", b"null", b"7", b"{"])
def test_a_configuration_that_is_none_is_named(content: bytes, folder: Path, text_file: Path) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"config\.json .*cannot be used|config\.json.* is not a valid JSON"):
        analysed(folder, text_file)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("hidden_size", "64", "cannot be used .*'hidden_size' expected int, got str"),
        ("num_attention_heads", 0, "division by zero|modulo by zero"),
        ("hidden_size", 64, "other shapes than its config.json names"),
        ("num_hidden_layers", 10**9, "1,000,000,000 layers, but the weights are"),
        ("intermediate_size", 10**9, "parameters, but the weights have"),
    ],
)
def test_what_is_wrong_is_named(field: str, value: object, words: str, folder: Path, text_file: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, field: value}))
    with pytest.raises(ModelError, match=words):
        analysed(folder, text_file)


def test_a_tokenizer_of_another_model_is_refused(folder: Path, text_file: Path) -> None:
    rows = load_file(folder / "model.safetensors")
    rows["model.embed_tokens.weight"] = rows["model.embed_tokens.weight"][:100].clone()
    save_file(rows, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 100}))
    with pytest.raises(ModelError, match="has 300 tokens, but the model embeds 100; copy the model's own"):
        analysed(folder, text_file)


def test_an_added_token_beyond_the_embedding_is_refused_only_where_it_is_read(
    folder: Path, text_file: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<image {i}>" for i in range(50)])
    tokenizer.save_pretrained(folder)
    analysis = analysed(folder, text_file)
    before_images = tmp_path / "before.txt"
    read = tokenizer.decode(tokenizer(text_file.read_text("utf-8"))["input_ids"][:48])
    before_images.write_text(read + "<image 49> " * 100)
    assert analysed(folder, before_images) != analysis
    with_images = tmp_path / "images.txt"
    with_images.write_text("<image 49> " * 100)
    with pytest.raises(ModelError, match="makes token 349 of this text, but the model embeds only 320"):
        analysed(folder, with_images)
    session = GenerationSession(Home(tmp_path / "home"), analysis.fingerprint, ignore_progress, device="cpu")
    with pytest.raises(ModelError, match="makes token 349 of this text"):
        session.encode("What is on <image 49>?", GenerationSpec(4))


CODE = """
import a_package_that_nobody_has
from transformers import PretrainedConfig
class OwnConfig(PretrainedConfig):
    model_type = "own"
"""


@pytest.mark.parametrize("code", [CODE, "class OwnConfig: pass", "raise RuntimeError('no')", "]"])
def test_code_that_cannot_run_is_one_sentence(code: str, folder: Path, text_file: Path) -> None:
    (folder / "own.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    own = {**config, "model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(own))
    with pytest.raises(ModelError, match=r"config\.json .* cannot be used"):
        analysed(folder, text_file, trust_remote_code=True)


LINKED = {"nowhere": "gone", "itself": "lib.py", "a device": "/dev/zero"}


@pytest.mark.parametrize("to", [*LINKED.values(), None], ids=[*LINKED, "a pipe"])
@pytest.mark.parametrize("name", ["lib.py", "x.json", "notes.txt", "extra.safetensors"])
def test_what_is_no_file_is_named(name: str, to: str | None, folder: Path) -> None:
    if to is None:
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to(name if to == "lib.py" else to)
    said = Terminal(folder.parent / "home").error("analyse", folder)
    assert f"{name} is no file (a link to nothing, a pipe or a device)" in said


@pytest.mark.parametrize("name", ["lib.py", "x.json", "notes.txt"])
def test_a_folder_called_like_a_file_changes_nothing(name: str, folder: Path) -> None:
    before = folder_fingerprint(folder)
    (folder / name).mkdir()
    assert folder_fingerprint(folder) == before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "tokenizer_config.json"])
def test_a_folder_in_the_place_of_a_file_is_opened_or_refused(name: str, folder: Path, text_file: Path) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    require_analysed_or_refused(folder, text_file)


@pytest.mark.parametrize("to", ["gone", "model.gguf"])
def test_a_gguf_file_that_is_a_link_to_nothing_is_one_sentence(to: str, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").symlink_to(to)
    assert "No model was found at" in Terminal(tmp_path / "home").error("analyse", tmp_path / "model.gguf")
