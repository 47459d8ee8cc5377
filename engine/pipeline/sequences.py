"""What a model reads of a text, and its fingerprint: the text and whether the tokenizer begins every sequence."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from engine.errors import InvalidSpecError
from engine.model.module import positions_of, require_embedded
from engine.model.opening import load_tokenizer
from engine.model.sources import ModelFolder, corpus_fingerprint
from engine.text.corpora import load_corpus
from engine.text.start import start_tokens

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from engine.model.opening import OpenModel
    from engine.specs import CorpusSpec


def read_sequences(
    model: OpenModel, spec: CorpusSpec, demo_texts: Path | None, *, or_all: bool = False
) -> torch.Tensor:
    """Return the token ids (n_sequences, length) a model reads of a text; ``or_all``: all there are, if fewer.

    Raises:
        InvalidSpecError: the sequences are longer than what the model was built for.
        CorpusError: the text cannot be read, or there is too little of it.
        ModelError: the tokenizer makes tokens of it that the model does not know.
    """
    positions = positions_of(model.module)
    if positions is not None and spec.length > positions:
        raise InvalidSpecError(
            f"Sequences of {spec.length:,} tokens were asked for, but the model has {positions:,} positions; ask for "
            f"a length of at most {positions:,}."
        )
    tokens = load_corpus(spec, model.tokenizer, demo_texts, or_all=or_all).tokens
    require_embedded(model.module, tokens.unique().tolist())
    return tokens


def sequences_fingerprint(folder: ModelFolder, spec: CorpusSpec) -> str:
    """Return the fingerprint of the sequences a model reads of a text.

    Raises:
        CorpusError: the data set cannot be found.
        ModelError: the folder has no usable tokenizer.
    """
    return corpus_fingerprint(spec, begun=bool(text_start(folder)))


@lru_cache(maxsize=8)
def text_start(folder: ModelFolder) -> tuple[str, ...]:
    """Return the tokens that begin every sequence, as the tokenizer writes them; none for many models."""
    tokenizer = load_tokenizer(folder.path, trust_remote_code=folder.spec.trust_remote_code)
    return tuple(tokenizer.convert_ids_to_tokens(start_tokens(tokenizer)))
