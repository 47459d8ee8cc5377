"""Run a GGUF file in llama.cpp, or open it in transformers, in an interpreter that cannot import RankScope.

Run as ``python -I fresh_process.py FILE REFERENCE RUNTIME``: REFERENCE is a numpy archive with ``tokens``, whose second
half a model in memory chose greedily, its ``logits``, a ``text`` and the text's ``ids``. The last line printed is JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_OURS = {"app", "cache", "engine"}


class _NoRankScope:
    """Refuses to import the project; an editable installation is importable from anywhere."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> None:  # noqa: ARG004
        if name.partition(".")[0] in _OURS:
            raise ModuleNotFoundError(f"An export must not import {name}.", name=name)


def _llama_cpp(file: Path, tokens: np.ndarray, text: str) -> tuple[np.ndarray, list[int], dict[str, str]]:
    """Return the logits, the ids of the text, and the version."""
    import llama_cpp

    model = llama_cpp.Llama(str(file), n_ctx=tokens.shape[1] + 8, logits_all=True, verbose=False)
    logits = []
    for sequence in tokens.tolist():
        model.reset()
        model.eval(sequence[: len(sequence) // 2])
        for token in sequence[len(sequence) // 2 :]:
            model.eval([token])
        logits.append(np.array(model.scores[: len(sequence)]))
    ids = model.tokenize(text.encode(), add_bos=True, special=True)
    model.close()
    return np.stack(logits), ids, {"llama-cpp-python": llama_cpp.__version__}


def _transformers(file: Path, tokens: np.ndarray, text: str) -> tuple[np.ndarray, list[int], dict[str, str]]:
    import torch
    import transformers

    place: dict[str, Any] = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    model = transformers.AutoModelForCausalLM.from_pretrained(**place, dtype="float32").eval()
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(tokens), use_cache=False).logits.float().numpy()
    tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
    return logits, tokenizer(text)["input_ids"], {"transformers": transformers.__version__}


def main(file: str, reference: str, runtime: str) -> None:
    """Print what came out."""
    sys.meta_path.insert(0, _NoRankScope)
    stored = np.load(reference)
    tokens, expected = stored["tokens"], stored["logits"]
    run = {"llama.cpp": _llama_cpp, "transformers": _transformers}[runtime]
    logits, ids, versions = run(Path(file), tokens, str(stored["text"]))
    half = tokens.shape[1] // 2
    chosen, choices = tokens[:, half:, None], logits[:, half - 1 : -1]
    found = {
        "difference": float(np.abs(logits - expected).max()),
        "finite": bool(np.isfinite(logits).all()),
        "behind": float((choices.max(-1) - np.take_along_axis(choices, chosen, -1)[..., 0]).max()),
        "same_top": float((logits.argmax(-1) == expected.argmax(-1)).mean()),
        "same_ids": list(ids) == stored["ids"].tolist(),
        "versions": versions,
    }
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
