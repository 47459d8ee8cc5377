"""What a model reads of a text, by fingerprint: the text and whether its tokenizer begins every sequence."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from engine.model.opening import load_tokenizer
from engine.model.sources import ModelFolder, corpus_fingerprint
from engine.text.start import start_tokens

if TYPE_CHECKING:
    from engine.specs import CorpusSpec


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
