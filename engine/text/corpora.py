"""Text in, token sequences out: the demo's texts, data sets of the hub, and people's own files.

``datasets`` streams every source as documents: a row of a data set, a line of a ``.jsonl`` file, or a
paragraph of a ``.txt`` file (paragraphs are separated by empty lines). Only as many are tokenised as the
sequences need: without special tokens, each followed by the separator, one after another, cut into
consecutive rows. The separator is the first of EOS, SEP and BOS the tokenizer has; without any, documents
follow each other directly. Where the tokenizer begins every text with a token of its own (BOS for Gemma, LLaMA and
Mistral), every row begins with it: without it such models run in a state they were never trained in. Nothing is
random: the same text and tokenizer give the same rows.
"""

from __future__ import annotations

import glob
import hashlib
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import torch

from engine.errors import CorpusError
from engine.specs import CorpusSource
from engine.text.lines import json_values, lines_of
from engine.text.start import start_tokens, without_start

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from engine.specs import CorpusSpec

# Opening a local file would otherwise tell a server of the library's makers, for their download counts.
datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False

_CALIBRATION_FRACTION = 0.8
_BATCH = 64
_EXPECTED = "a .txt file, or a .jsonl file with one JSON object per line"
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Token sequences and where they came from.

    Attributes:
        tokens: (n_sequences, length) int64; what the tokenizer begins a text with is part of the length.
        n_documents: documents they were cut from; the last may be used in part.
        label: a short name for people.
        texts_fingerprint: SHA-256 of those documents' text.
    """

    tokens: torch.Tensor
    n_documents: int
    label: str
    texts_fingerprint: str


def load_corpus(spec: CorpusSpec, tokenizer: Any, demo_texts: Path | None = None, *, or_all: bool = False) -> Corpus:
    """Read and tokenise what ``spec`` describes.

    Args:
        spec: which text, and how many sequences of which length.
        tokenizer: of the model the sequences are for.
        demo_texts: folder of the fetched demo texts; needed for the demo's texts only.
        or_all: take all sequences there are where there are fewer.

    Raises:
        CorpusError: the text cannot be read, or there is too little of it.
    """
    return tokenize(load_texts(spec, demo_texts), tokenizer, spec, or_all=or_all)


def load_texts(spec: CorpusSpec, demo_texts: Path | None = None) -> datasets.IterableDataset:
    """Open the documents as a stream with one column, ``text``: strings, or lists of chat messages.

    Raises:
        CorpusError: the source does not exist, cannot be opened, or has no such text field.
    """
    if spec.source is CorpusSource.DEMO:
        return _demo_texts(spec, demo_texts)
    field, path = spec.text_field, Path(spec.location)
    with _reading(spec):
        if spec.source is CorpusSource.FILE:
            return _paragraphs(path) if path.suffix == ".txt" else _one_column(path, field)
        rows = _open_hub(spec)
        columns = rows.column_names or list(next(iter(rows)))
        if field not in columns:
            raise KeyError(f"it has no column {field!r} but {', '.join(columns) or 'none at all'}")
    rows = rows.select_columns(field)
    return rows if field == "text" else rows.rename_column(field, "text")


def open_columns(spec: CorpusSpec, second_field: str, demo_texts: Path | None = None) -> Iterator[tuple[str, str]]:
    """Yield the strings of two columns, ``spec.text_field`` and ``second_field``, row by row.

    Of the demo's texts only the BBC articles have a second column, their summaries, and the fields are not used.

    Raises:
        CorpusError: the source cannot be opened or read, or a row has no string in one of the columns.
    """
    fields = [spec.text_field, second_field]
    if spec.source is CorpusSource.DEMO:
        if demo_texts is None or spec.location != "news":
            raise CorpusError(
                f"The demo text {spec.location} has no reference answers (or was not fetched); use demo:news, a "
                ".jsonl file or a data set with two text columns."
            )
        fields = ["document", "summary"]
    elif Path(spec.location).suffix == ".txt":
        raise CorpusError(
            f"The file {Path(spec.location).name} is plain text and has no second column; give a .jsonl file whose "
            f"lines have {fields[0]!r} and {fields[1]!r}."
        )
    with _reading(spec):
        rows: Iterable[dict[str, object]]
        if spec.source is CorpusSource.HUB:
            rows = _open_hub(spec)
        elif spec.source is CorpusSource.FILE:
            rows = _read_rows(Path(spec.location), fields)
        else:
            assert demo_texts is not None
            rows = _read_rows(demo_texts / "xsum.jsonl", fields)
        for row in rows:
            first, second = (row.get(field) for field in fields)
            if not (isinstance(first, str) and isinstance(second, str)):
                missing = fields[1] if isinstance(first, str) else fields[0]
                raise KeyError(f"a row has no text in {missing!r}; its columns are {', '.join(row)}")
            yield first, second


def hub_revision(spec: CorpusSpec) -> str:
    """Return the commit the hub serves of a data set now.

    Raises:
        CorpusError: there is no such data set, or the hub does not answer.
    """
    from huggingface_hub import dataset_info
    from huggingface_hub.errors import RepositoryNotFoundError

    _require_hub_id(spec)
    try:
        return str(dataset_info(spec.location).sha)
    except RepositoryNotFoundError as error:
        raise _not_on_hub(spec) from error
    except Exception as error:  # the hub's client passes on whatever its transport raises
        raise _no_answer(spec, error) from error


def tokenize(texts: datasets.IterableDataset, tokenizer: Any, spec: CorpusSpec, *, or_all: bool = False) -> Corpus:
    """Cut the first documents into ``spec.n_sequences`` rows of ``spec.length`` tokens, or, ``or_all``, into fewer.

    Raises:
        CorpusError: a document is not text, or the text ends too early.
    """
    ends = (tokenizer.eos_token_id, tokenizer.sep_token_id, tokenizer.bos_token_id)
    separator = [end for end in ends if end is not None][:1]
    start = start_tokens(tokenizer)
    width = spec.length - len(start)
    needed = spec.n_sequences * width
    stream: list[int] = []
    digest, n_documents = hashlib.sha256(), 0

    def cut(n_sequences: int) -> Corpus:
        rows = torch.tensor(stream[: n_sequences * width], dtype=torch.int64).view(n_sequences, width)
        first = torch.tensor(start, dtype=torch.int64).expand(n_sequences, -1)
        return Corpus(torch.cat([first, rows], 1), n_documents, spec.label, digest.hexdigest())

    for documents in _batches(texts, tokenizer, spec):
        ids = tokenizer(documents, add_special_tokens=False, verbose=False)["input_ids"]
        for document, tokens in zip(documents, ids, strict=True):
            encoded = document.encode()
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
            n_documents += 1
            # A chat template writes the start itself.
            stream += [*without_start(start, tokens), *separator]
            if len(stream) >= needed:
                return cut(spec.n_sequences)
    if n_documents == 0:
        raise CorpusError(f"The text {spec.label} is empty; give one with at least {needed:,} tokens.")
    available = len(stream) // width
    if or_all and available:
        return cut(available)
    advice = f"ask for at most {available} sequences" if available else "ask for shorter sequences"
    raise CorpusError(
        f"The text {spec.label} has {len(stream):,} tokens in {n_documents:,} documents, and {needed:,} are "
        f"needed for {spec.n_sequences:,} sequences of {spec.length:,}; {advice}, or give more text."
    )


def _batches(texts: datasets.IterableDataset, tokenizer: Any, spec: CorpusSpec) -> Iterator[list[str]]:
    """Yield documents as plain text, some at a time, leaving out empty ones."""
    batches = iter(texts.iter(batch_size=_BATCH))
    while True:
        with _reading(spec):
            batch = next(batches, None)
            if batch is None:
                return
            rendered = [_render(value, tokenizer, spec) for value in batch["text"]]
            documents = [text for text in rendered if text.encode()]
        if documents:
            yield documents


def _render(value: object, tokenizer: Any, spec: CorpusSpec) -> str:
    """Return the text of one document without empty lines around it; chat through the model's template."""
    if isinstance(value, str):
        text = value.strip("\r\n")
        return text if text.strip() else ""
    if not _is_chat(value):
        raise TypeError(f"a {type(value).__name__} was found where text was expected")
    if tokenizer.chat_template is None:
        raise CorpusError(
            f"The text {spec.label} holds chat messages and the model's tokenizer has no chat template; give "
            "plain text, or use a model that was trained for chat."
        )
    return str(tokenizer.apply_chat_template(value, tokenize=False))


def _is_chat(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(m, dict) and {"role", "content"} <= m.keys() for m in value)


def _demo_texts(spec: CorpusSpec, folder: Path | None) -> datasets.IterableDataset:
    """Open the demo's BBC articles in file order, or one of two disjoint parts of its Wikipedia passages.

    The passages are ordered by the SHA-256 of their text; the first 80 % are for calibration, the rest for
    evaluation. The reference figures in the documentation rest on exactly this.
    """
    if folder is None:
        raise CorpusError("The demo texts were asked for and have not been fetched; fetch the demo first.")
    if spec.location == "news":
        return _one_column(folder / "xsum.jsonl", "document")
    if spec.location != "wikipedia" or spec.part not in {"calibration", "evaluation"}:
        raise CorpusError(
            f"The demo has no text {spec.location!r} with a part {spec.part!r}; expected news, or wikipedia "
            "with the part calibration or evaluation."
        )
    distinct = {row["text"] for row in _one_column(folder / "wikipedia.jsonl", "passage")}
    passages = sorted(distinct, key=lambda passage: hashlib.sha256(passage.encode()).hexdigest())
    n_calibration = int(_CALIBRATION_FRACTION * len(passages))
    part = passages[:n_calibration] if spec.part == "calibration" else passages[n_calibration:]
    return datasets.Dataset.from_dict({"text": part}).to_iterable_dataset()


def _paragraphs(path: Path) -> datasets.IterableDataset:
    # Square brackets and asterisks in a file's name would be taken for a pattern.
    files = glob.escape(str(path))
    return datasets.load_dataset(
        "text", data_files=files, split="train", streaming=True, sample_by="paragraph", encoding="utf-8-sig"
    )


def _one_column(path: Path, field: str) -> datasets.IterableDataset:
    return datasets.IterableDataset.from_generator(_documents, gen_kwargs={"path": path, "field": field})


def _documents(path: Path, field: str) -> Iterator[dict[str, object]]:
    for row in _read_rows(path, [field]):
        yield {"text": row[field]}


def _read_rows(path: Path, fields: Sequence[str]) -> Iterator[dict[str, object]]:
    """Yield the objects of a ``.jsonl`` file, or of a ``.json`` file that is one list, with text in ``fields``.

    Arrow's reader is not used: whole blocks of ``null`` and deep nesting end the process in it.

    Raises:
        CorpusError: it names the first line that is not as expected.
    """
    is_empty = True
    for number, row in json_values(path):
        is_empty = False
        if not isinstance(row, dict):
            raise CorpusError(f"{path.name}, line {number} is {_short(row)}; expected a JSON object with text.")
        for field in fields:
            if fault := _fault(row, field):
                raise CorpusError(f"{path.name}, line {number} {fault}.")
        yield row
    if is_empty:
        raise CorpusError(
            f"The file {path} is empty; expected a .txt file, or a .jsonl file with one JSON object per line."
        )


def _open_hub(spec: CorpusSpec) -> datasets.IterableDataset:
    _require_hub_id(spec)
    return datasets.load_dataset(spec.location, spec.config, split=spec.part, streaming=True)


def _require_hub_id(spec: CorpusSpec) -> None:
    # Given the name of a folder or of a file format, `datasets` would read local files instead.
    if not _HUB_ID.fullmatch(spec.location) or Path(spec.location).exists():
        raise CorpusError(
            f"{spec.location!r} is not the id of a data set; expected an id such as Salesforce/wikitext, or "
            "the path of a .txt or .jsonl file."
        )


@contextmanager
def _reading(spec: CorpusSpec) -> Iterator[None]:
    """Turn whatever is raised while a source is read into a sentence about the source.

    ``datasets`` and what it reads with (Arrow, pandas, the hub's client, chat templates) have no common base
    of errors, so that all are caught.
    """
    try:
        yield
    except CorpusError:
        raise
    except Exception as error:
        if spec.source is CorpusSource.FILE:
            raise _explain_file(Path(spec.location), error) from error
        raise _explain_hub(spec, error) from error


def _not_on_hub(spec: CorpusSpec) -> CorpusError:
    return CorpusError(
        f"The data set {spec.location} is not on the hub, or is private; check its id, or log in with `hf auth login`."
    )


def _no_answer(spec: CorpusSpec, error: Exception) -> CorpusError:
    return CorpusError(
        f"The data set {spec.location} could not be fetched because the hub did not answer "
        f"({_reason(error)}); check the network, or use the demo's texts or a .txt or .jsonl file."
    )


def _explain_hub(spec: CorpusSpec, error: Exception) -> CorpusError:
    if isinstance(error, datasets.exceptions.DatasetNotFoundError):
        return _not_on_hub(spec)
    if isinstance(error, ConnectionError):
        return _no_answer(spec, error)
    return CorpusError(
        f"The data set {spec.location} (config {spec.config or 'not given'}, split {spec.part}, text field "
        f"{spec.text_field}) cannot be read: {_reason(error)}; name it as id:config@split with a text field "
        "it has."
    )


def _explain_file(path: Path, error: Exception) -> CorpusError:
    """Say why a file cannot be read; of bytes that are not text, where the first are."""
    reason = f"cannot be read as text: {_reason(error)}"
    try:
        for _ in lines_of(path):
            pass
    except CorpusError as found:
        return found
    except OSError as found:
        reason = f"cannot be opened ({found.strerror})"
    return CorpusError(f"The file {path} {reason}; expected {_EXPECTED}.")


def _fault(row: dict[str, object], field: str) -> str:
    """Say what is wrong with one object of a ``.jsonl`` file; an empty string when nothing is."""
    if field not in row:
        fields = ", ".join(row) or "no field at all"
        return f"has no field {field!r} but {fields}; choose the text field that every line has"
    value = row[field]
    if isinstance(value, str) or _is_chat(value):
        return ""
    return (
        f"has {_short(value)} in {field!r}; expected text, or a list of chat messages "
        'such as [{"role": "user", "content": "Hello"}]'
    )


def _short(value: object) -> str:
    return json.dumps(value)[:40]


def _reason(error: Exception) -> str:
    """Return the error's own words on one line, without the Python advice some add."""
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    line = " ".join(str(text).split()).partition(" Example of usage")[0]
    return (line or type(error).__name__)[:200].rstrip(".")
