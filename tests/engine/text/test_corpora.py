"""Texts from the demo, from files with every fault we know, and from a hub that is not there."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from engine.decoding.generation import encode_prompt
from engine.errors import CorpusError
from engine.model.demo import DemoAssets
from engine.specs import CorpusSource, CorpusSpec
from engine.text.corpora import hub_revision, load_corpus, load_texts, tokenize


def file_spec(
    path: Path, content: str | bytes, n_sequences: int = 1, length: int = 8, field: str = "text"
) -> CorpusSpec:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return CorpusSpec(CorpusSource.FILE, str(path), text_field=field, n_sequences=n_sequences, length=length)


def json_lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def hub_spec(location: str, **changes: Any) -> CorpusSpec:
    return CorpusSpec(CorpusSource.HUB, location, **{"part": "train", "length": 8, **changes})


def decoded(tokens: torch.Tensor, tokenizer: Any) -> str:
    return str(tokenizer.decode(tokens.flatten().tolist()))


@pytest.mark.parametrize("name", ["notes.txt", "notes.jsonl"])
def test_reading_a_file_asks_no_host(name: str, tmp_path: Path) -> None:
    """In a process of its own, because what a library looks up once it remembers."""
    (tmp_path / name).write_text(json_lines({"text": "abcdefgh"}) if name.endswith("l") else "abcdefgh")
    code = (
        "import sys\n"
        "asked = []\n"
        "sys.addaudithook(lambda event, args: asked.append((event, args)) if event.startswith('socket.get') "
        "or event == 'socket.connect' else None)\n"
        "from engine.specs import CorpusSource, CorpusSpec\n"
        "from engine.text.corpora import load_texts\n"
        f"spec = CorpusSpec(CorpusSource.FILE, {str(tmp_path / name)!r}, n_sequences=1, length=8)\n"
        "print(len(list(load_texts(spec))), asked)"
    )
    online = {name: value for name, value in os.environ.items() if "OFFLINE" not in name}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=online, check=True)
    assert done.stdout == "1 []\n"


# Tokenising


def test_documents_are_joined_with_eos_and_cut_into_consecutive_rows(tmp_path: Path, toy_tokenizer: Any) -> None:
    documents = ["Rivers run to the sea.", "The rank of a matrix", "is not full"]
    expected: list[int] = []
    for document in documents:
        expected += toy_tokenizer(document, add_special_tokens=False)["input_ids"]
        expected.append(toy_tokenizer.eos_token_id)
    rows = len(expected) // 8
    spec = file_spec(tmp_path / "a.jsonl", json_lines(*({"text": d} for d in documents)), rows)
    corpus = load_corpus(spec, toy_tokenizer)
    assert corpus.tokens.shape == (rows, 8)
    assert corpus.tokens.dtype == torch.int64
    assert corpus.tokens.flatten().tolist() == expected[: rows * 8]
    assert (corpus.n_documents, corpus.label) == (3, "a.jsonl")


def test_only_the_documents_that_are_needed_are_read_and_named(tmp_path: Path, toy_tokenizer: Any) -> None:
    first = "x" * 7
    rows = [{"text": first}, *({"text": f"document {i}"} for i in range(500))]
    corpus = load_corpus(file_spec(tmp_path / "a.jsonl", json_lines(*rows)), toy_tokenizer)
    assert corpus.n_documents == 1
    expected = hashlib.sha256(len(first).to_bytes(8, "big") + first.encode()).hexdigest()
    assert corpus.texts_fingerprint == expected


def test_the_same_text_gives_the_same_corpus_and_another_text_another_name(tmp_path: Path, toy_tokenizer: Any) -> None:
    content = json_lines({"text": "one and two"}, {"text": "three"})
    first = load_corpus(file_spec(tmp_path / "a.jsonl", content), toy_tokenizer)
    second = load_corpus(file_spec(tmp_path / "b.jsonl", content), toy_tokenizer)
    joined = json_lines({"text": "one and twothree"})
    third = load_corpus(file_spec(tmp_path / "c.jsonl", joined), toy_tokenizer)
    assert torch.equal(first.tokens, second.tokens)
    assert first.texts_fingerprint == second.texts_fingerprint != third.texts_fingerprint


@pytest.mark.parametrize(("given", "expected"), [("sep_token", "<sep>"), ("bos_token", "<bos>"), (None, "")])
def test_without_eos_another_separator_is_used(
    given: str | None, expected: str, tmp_path: Path, toy_tokenizer: Any
) -> None:
    tokenizer = copy.deepcopy(toy_tokenizer)
    tokenizer.eos_token = None
    if given:
        tokenizer.add_special_tokens({given: expected})
    content = json_lines({"text": "abcdefg"}, {"text": "hijklmn"}, {"text": "opqrstu"})
    corpus = load_corpus(file_spec(tmp_path / "a.jsonl", content), tokenizer)
    assert decoded(corpus.tokens, tokenizer).startswith(f"abcdefg{expected}h")


@pytest.fixture
def started_tokenizer(toy_tokenizer: Any) -> Any:
    """The toy's tokenizer, which begins every text with <bos> as Gemma's and LLaMA's do."""
    backend = Tokenizer.from_str(toy_tokenizer.backend_tokenizer.to_str())
    backend.add_special_tokens(["<bos>"])
    start = backend.token_to_id("<bos>")
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", start)])
    chat = "{{ bos_token }}" + toy_tokenizer.chat_template
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<bos>", eos_token="<eos>", chat_template=chat)


def test_every_row_begins_with_what_the_tokenizer_begins_a_text_with(
    tmp_path: Path, toy_tokenizer: Any, started_tokenizer: Any
) -> None:
    content = json_lines({"text": "abcdefghijklmnop"}, {"text": "qrstuvwxyz"})
    plain = load_corpus(file_spec(tmp_path / "a.jsonl", content, 2, length=8), toy_tokenizer).tokens
    started = load_corpus(file_spec(tmp_path / "a.jsonl", content, 2, length=9), started_tokenizer).tokens
    assert started[:, 0].tolist() == [started_tokenizer.bos_token_id] * 2
    assert torch.equal(started[:, 1:], plain)


def test_a_chat_template_that_writes_the_start_does_not_double_it(tmp_path: Path, started_tokenizer: Any) -> None:
    content = json_lines(*[{"text": [{"role": "user", "content": "Why is the sky blue?"}]}] * 9)
    tokens = load_corpus(file_spec(tmp_path / "a.jsonl", content, 4, length=16), started_tokenizer).tokens
    assert (tokens == started_tokenizer.bos_token_id).sum() == len(tokens)


@pytest.mark.parametrize("chat", [True, False])
def test_a_prompt_begins_once_with_the_start(chat: bool, toy_tokenizer: Any, started_tokenizer: Any) -> None:
    prompt = encode_prompt(started_tokenizer, "Why?", chat=chat)
    assert prompt == [started_tokenizer.bos_token_id, *encode_prompt(toy_tokenizer, "Why?", chat=chat)]


def test_a_separator_with_the_id_zero_counts(toy_tokenizer: Any) -> None:
    assert toy_tokenizer.eos_token_id == 0
    texts = datasets.Dataset.from_dict({"text": ["abcdefg"] * 2}).to_iterable_dataset()
    assert 0 in tokenize(texts, toy_tokenizer, hub_spec("any", n_sequences=1)).tokens


def test_too_little_text_says_how_much_there_is_and_what_would_fit(tmp_path: Path, toy_tokenizer: Any) -> None:
    spec = file_spec(tmp_path / "a.txt", "0123456789" * 2, n_sequences=1000)
    with pytest.raises(CorpusError, match=r"has 21 tokens in 1 documents, and 8,000 are needed .* at most 2 seq"):
        load_corpus(spec, toy_tokenizer)
    with pytest.raises(CorpusError, match="ask for shorter sequences"):
        load_corpus(dataclasses.replace(spec, length=500), toy_tokenizer)


# Files


def test_paragraphs_of_a_text_file_are_documents(tmp_path: Path) -> None:
    spec = file_spec(tmp_path / "odd [1] name*.txt", "\ufefffirst\nparagraph\r\n\r\n\r\n\r\nsecond\n\n   \n\nthird\n")
    texts = [row["text"].strip("\n") for row in load_texts(spec)]
    assert [text for text in texts if text.strip()] == ["first\nparagraph", "second", "third"]


def test_empty_lines_and_empty_documents_are_ignored(tmp_path: Path, toy_tokenizer: Any) -> None:
    content = '\n{"text": ""}\n\n{"text": " \\n"}\n{"text": "abcdefgh"}\n\n'
    corpus = load_corpus(file_spec(tmp_path / "a.jsonl", content), toy_tokenizer)
    assert corpus.n_documents == 1


def test_another_field_and_unknown_fields(tmp_path: Path, toy_tokenizer: Any) -> None:
    rows = [{"id": 1, "body": "abcdefgh", "tags": ["a"]}, {"body": "ij", "extra": {"deep": None}}]
    corpus = load_corpus(file_spec(tmp_path / "a.jsonl", json_lines(*rows), field="body"), toy_tokenizer)
    assert decoded(corpus.tokens, toy_tokenizer).startswith("abcdefgh")


def test_a_list_in_a_json_file_is_read_like_lines(tmp_path: Path, toy_tokenizer: Any) -> None:
    rows = [{"text": "abcdefgh"}, {"text": "ij"}]
    listed = load_corpus(file_spec(tmp_path / "a.json", json.dumps(rows, indent=1)), toy_tokenizer)
    lines = load_corpus(file_spec(tmp_path / "b.json", json_lines(*rows)), toy_tokenizer)
    assert listed.tokens.tolist() == lines.tokens.tolist()


def test_chat_messages_go_through_the_models_template(tmp_path: Path, toy_tokenizer: Any) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo", "mood": 1}]},
        {"messages": [{"role": "user", "content": "Bye"}]},
    ]
    spec = file_spec(tmp_path / "a.jsonl", json_lines(*rows), n_sequences=2, field="messages")
    corpus = load_corpus(spec, toy_tokenizer)
    assert decoded(corpus.tokens, toy_tokenizer).startswith("<user>Hi<eos>\n<ass")
    tokenizer = copy.deepcopy(toy_tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(CorpusError, match="tokenizer has no chat template; give plain text"):
        load_corpus(spec, tokenizer)


def test_a_template_that_refuses_a_conversation_is_named(tmp_path: Path, toy_tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(toy_tokenizer)
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    rows = {"text": [{"role": "user", "content": "Hi"}]}
    with pytest.raises(CorpusError, match=r"a\.jsonl cannot be read as text: roles must alternate"):
        load_corpus(file_spec(tmp_path / "a.jsonl", json_lines(rows)), tokenizer)


GOOD = '{"text": "good"}\n'
FAULTS = {
    "broken": (
        GOOD + '{"text": "b"\n' + GOOD,
        r"line 2 is not JSON \(Expecting ',' delimiter at column 13\)",
    ),
    "missing": (GOOD + '\n{"body": "b", "id": 1}\n', r"line 3 has no field 'text' but body, id; choose"),
    "everywhere": ('{"body": "b"}\n', r"line 1 has no field 'text' but body"),
    "null": (GOOD + '{"text": null}\n', r"line 2 has null in 'text'; expected text, or a list of chat"),
    "number": (GOOD + '{"text": 5}\n', r"line 2 has 5 in 'text'"),
    "numbers": ('{"text": 4}\n{"text": 5}\n', r"line 1 has 4 in 'text'"),
    "object": ('{"text": {"a": 1}}\n', r"line 1 has \{\"a\": 1\} in 'text'"),
    "no chat": ('{"text": [{"role": "user"}]}\n', r"line 1 has \[\{\"role\": \"user\"\}\] in 'text'"),
    "list": ("[1, 2]\n[3]\n", r"line 1 is \[1, 2\]; expected a JSON object"),
    "string": ('"a"\n"b"\n', r"line 1 is \"a\"; expected a JSON object"),
    "latin-1": (
        GOOD.encode() + '{"text": "caf\xe9"}\n'.encode("latin-1"),
        r"line 2 is not UTF-8 \(byte 0xe9 after 13",
    ),
    "utf-16": (GOOD.encode("utf-16"), r"line 1 is not UTF-8"),
    "binary": (bytes(range(256)), r"a\.jsonl, line 1 is not"),
    "nothing but null": ("null\n" * 20, r"line 1 is null; expected a JSON object"),
    "later null": (GOOD + " " * 2**24 + "\n" + "null\n" * 20, r"line 3 is null; expected a JSON object"),
    "surrogate": (GOOD + r'{"text": "\ud800"}' + "\n", r"surrogates not allowed"),
    "deep": (GOOD + '{"text": ' + "[" * 10**5 + "]" * 10**5 + "}\n", r"line 2 is nested too deeply"),
    "digits": ('{"text": 5, "n": ' + "9" * 6000 + "}\n", r"line 1 holds a number of thousands of digits"),
    "empty": ("", r"is empty; expected a \.txt file, or a \.jsonl file with one JSON object per line"),
    "blank": ("\n \n\n", r"is empty"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_json_lines_file_is_one_sentence_with_its_line(
    fault: str, tmp_path: Path, toy_tokenizer: Any
) -> None:
    content, message = FAULTS[fault]
    with pytest.raises(CorpusError, match=message) as caught:
        load_corpus(file_spec(tmp_path / "a.jsonl", content, n_sequences=2), toy_tokenizer)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(". ") == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "first\ncaf\xe9".encode("latin-1"),
            r"a\.txt, line 2 is not UTF-8 \(byte 0xe9 after 3 others\); save",
        ),
        (b"", r"The text a\.txt is empty; give one with at least 8 tokens"),
        (b"\n\n \n", r"The text a\.txt is empty"),
    ],
)
def test_a_fault_in_a_text_file_is_one_sentence(
    content: bytes, message: str, tmp_path: Path, toy_tokenizer: Any
) -> None:
    with pytest.raises(CorpusError, match=message):
        load_corpus(file_spec(tmp_path / "a.txt", content), toy_tokenizer)


@pytest.mark.parametrize("name", ["gone.txt", "gone.jsonl"])
def test_a_file_that_is_gone_is_named(name: str, tmp_path: Path, toy_tokenizer: Any) -> None:
    with pytest.raises(CorpusError, match=rf"{name} cannot be opened \(No such file or directory\)"):
        load_corpus(CorpusSpec(CorpusSource.FILE, str(tmp_path / name)), toy_tokenizer)


# The hub


def test_a_hub_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch, toy_tokenizer: Any) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CorpusError, match=r"wikitext could not be fetched because the hub did not answer") as caught:
        load_corpus(hub_spec("Salesforce/wikitext", config="wikitext-2-raw-v1"), toy_tokenizer)
    assert "\n" not in str(caught.value)
    with pytest.raises(CorpusError, match="hub did not answer"):
        hub_revision(hub_spec("Salesforce/wikitext"))


@pytest.mark.parametrize("location", ["../secrets", "/etc", "a/b/c", "owner/", "-x/y"])
def test_what_cannot_be_a_hub_id_reads_nothing_local(location: str, toy_tokenizer: Any) -> None:
    with pytest.raises(CorpusError, match="is not the id of a data set"):
        load_corpus(hub_spec(location), toy_tokenizer)


def test_a_folder_is_not_taken_for_a_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_tokenizer: Any
) -> None:
    (tmp_path / "wikitext").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match="is not the id of a data set"):
        load_corpus(hub_spec("wikitext"), toy_tokenizer)


HUB_FILES = {
    "README.md": b"---\nconfigs:\n- config_name: one\n  data_files:\n  - split: train\n    path: one.jsonl\n"
    b"- config_name: two\n  data_files:\n  - split: train\n    path: two.jsonl\n---\n",
    "one.jsonl": b'{"text": "first"}\n{"text": "second"}\n',
    "two.jsonl": b'{"body": "no text", "n": 1}\n',
}
HUB_CASES: dict[str, dict[str, str]] = {
    "whole": {"location": "own/texts", "config": "one"},
    "no config": {"location": "own/texts"},
    "unknown config": {"location": "own/texts", "config": "three"},
    "unknown split": {"location": "own/texts", "config": "one", "part": "test"},
    "no text": {"location": "own/texts", "config": "two"},
    "unknown": {"location": "own/nothing"},
}
HUB_READER = """
import json, sys
from engine.text.corpora import hub_revision, load_texts
from engine.decoding.generation import encode_prompt
from engine.errors import CorpusError
from engine.specs import CorpusSource, CorpusSpec

answers = {}
for name, case in json.loads(sys.argv[1]).items():
    try:
        spec = CorpusSpec(CorpusSource.HUB, **{"part": "train", **case})
        answers[name] = [row["text"] for row in load_texts(spec)]
    except CorpusError as error:
        answers[name] = str(error)
for location in ("own/texts", "own/nothing"):
    try:
        answers["revision of " + location] = hub_revision(CorpusSpec(CorpusSource.HUB, location))
    except CorpusError as error:
        answers["revision of " + location] = str(error)
print(json.dumps(answers))
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub's protocol as reading one public data set takes."""

    def do_GET(self) -> None:
        path, commit = self.path.partition("?")[0], "a" * 40
        about = {
            "id": "own/texts",
            "sha": commit,
            "private": False,
            "gated": False,
            "tags": [],
            "siblings": [],
        }
        if path.startswith("/api/datasets/own/texts/tree/"):
            oids = {name: hashlib.sha1(content).hexdigest() for name, content in HUB_FILES.items()}
            files = [{"type": "file", "path": n, "size": len(HUB_FILES[n]), "oid": oid} for n, oid in oids.items()]
            self.answer(200, json.dumps(files).encode())
        elif path.startswith("/api/datasets/own/texts"):
            self.answer(200, json.dumps(about).encode())
        elif path.startswith("/datasets/own/texts/resolve/"):
            content = HUB_FILES.get(path.rpartition("/")[2])
            headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content or b"").hexdigest()}"'}
            if content is None:
                headers["X-Error-Code"] = "EntryNotFound"
            self.answer(404 if content is None else 200, content or b"", **headers)
        else:
            self.answer(404, b"{}", **{"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def hub_answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str] | str]:
    """What a fresh process reads from the hub above; the hub's address is read when it is imported."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HUB_OFFLINE": "0",
    }
    environment |= {"HF_HOME": str(tmp_path_factory.mktemp("hub")), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", HUB_READER, json.dumps(HUB_CASES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    server.shutdown()
    server.server_close()
    answers: dict[str, list[str] | str] = json.loads(done.stdout)
    return answers


def test_a_data_set_of_the_hub_is_streamed(hub_answers: dict[str, list[str] | str]) -> None:
    assert hub_answers["whole"] == ["first", "second"]
    assert hub_answers["revision of own/texts"] == "a" * 40


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            "no config",
            r"Config name is missing. Please pick one .*: \['one', 'two'\]; name it as id:config@split",
        ),
        ("unknown config", r"BuilderConfig 'three' not found. Available: \['one', 'two'\]; name it"),
        ("unknown split", r"Bad split: test. Available splits: \['train'\]; name it"),
        ("no text", r"it has no column 'text' but body, n; name it .* with a text field it has\."),
        ("revision of own/nothing", r"own/nothing is not on the hub, or is private; check its id"),
        ("unknown", r"own/nothing is not on the hub, or is private; check its id"),
    ],
)
def test_a_fault_with_a_data_set_names_what_there_is(
    case: str, message: str, hub_answers: dict[str, list[str] | str]
) -> None:
    assert re.search(message, str(hub_answers[case]))


# The demo


def test_demo_texts_that_were_not_fetched(toy_tokenizer: Any) -> None:
    with pytest.raises(CorpusError, match="fetch the demo first"):
        load_corpus(CorpusSpec(CorpusSource.DEMO, "wikipedia"), toy_tokenizer)


def write_passages(folder: Path, passages: list[str]) -> None:
    rows = [{"idx": i, "passage": p, "question": "q"} for i, p in enumerate(passages)]
    (folder / "wikipedia.jsonl").write_text(json_lines(*rows), encoding="utf-8")


def test_the_split_is_by_hash_80_to_20_without_repeats(tmp_path: Path) -> None:
    passages = [f"passage {i}" for i in range(103)]
    write_passages(tmp_path, [*passages, *reversed(passages)])
    parts = {
        part: [row["text"] for row in load_texts(CorpusSpec(CorpusSource.DEMO, "wikipedia", part), tmp_path)]
        for part in ("calibration", "evaluation")
    }
    ordered = sorted(passages, key=lambda p: hashlib.sha256(p.encode()).hexdigest())
    assert parts == {"calibration": ordered[:82], "evaluation": ordered[82:]}


@pytest.mark.parametrize(("location", "part"), [("wikipedia", "test"), ("poems", "calibration")])
def test_an_unknown_demo_text_is_named(location: str, part: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="expected news, or wikipedia with the part calibration or evaluation"):
        load_texts(CorpusSpec(CorpusSource.DEMO, location, part), tmp_path)


@pytest.mark.demo
@pytest.mark.parametrize(
    ("location", "part", "n_sequences", "n_documents", "fingerprint"),
    [
        ("wikipedia", "calibration", 64, 241, "6ca3b2ed8ee9f68f"),
        ("wikipedia", "evaluation", 20, 84, "dea277e8faf3e2f8"),
        ("news", "evaluation", 10, 16, "74a38734ee170ed7"),
    ],
)
def test_the_demo_corpora_are_those_of_the_reference_figures(
    location: str, part: str, n_sequences: int, n_documents: int, fingerprint: str, demo_assets: DemoAssets
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(demo_assets.model)
    spec = CorpusSpec(CorpusSource.DEMO, location, part, n_sequences=n_sequences)
    corpus = load_corpus(spec, tokenizer, demo_assets.texts)
    assert corpus.tokens.shape == (n_sequences, 512)
    assert corpus.n_documents == n_documents
    assert corpus.texts_fingerprint.startswith(fingerprint)
    assert int((corpus.tokens == 2).sum()) in {n_documents - 1, n_documents}


@pytest.mark.demo
def test_calibration_and_evaluation_passages_are_disjoint(demo_assets: DemoAssets) -> None:
    spec = CorpusSpec(CorpusSource.DEMO, "wikipedia", "calibration")
    calibration = {row["text"] for row in load_texts(spec, demo_assets.texts)}
    spec = dataclasses.replace(spec, part="evaluation")
    evaluation = {row["text"] for row in load_texts(spec, demo_assets.texts)}
    assert (len(calibration), len(evaluation)) == (9816, 2455)
    assert not calibration & evaluation
