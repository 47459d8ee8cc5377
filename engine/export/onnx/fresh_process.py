"""Run an exported graph in an interpreter that cannot import RankScope, and compare its logits.

Run as ``python -I fresh_process.py FOLDER REFERENCE``: REFERENCE is a numpy archive with ``tokens``, whose second half
a model in memory chose greedily, and its ``logits``. The last line printed is JSON.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_OURS = {"app", "cache", "engine"}


class _NoRankScope:
    """Refuses to import the project; an editable installation is importable from anywhere."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> None:  # noqa: ARG004
        if name.partition(".")[0] in _OURS:
            raise ModuleNotFoundError(f"An export must not import {name}.", name=name)


def main(folder: str, reference: str) -> None:
    """Print what came out."""
    sys.meta_path.insert(0, _NoRankScope)
    import numpy as np
    import onnxruntime
    import transformers

    transformers.AutoTokenizer.from_pretrained(folder)
    spec = importlib.util.spec_from_file_location("generate", Path(folder, "generate.py"))
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stored = np.load(reference)
    tokens, expected = stored["tokens"], stored["logits"]
    half = tokens.shape[1] // 2
    model = generate.OnnxModel(folder)
    read = [model.read(tokens[:, :half]), *(model.read(tokens[:, [at]]) for at in range(half, tokens.shape[1]))]
    logits = np.concatenate(read, axis=1)
    chosen, choices = tokens[:, half:, None], logits[:, half - 1 : -1]
    found = {
        "difference": float(np.abs(logits - expected).max()),
        "finite": bool(np.isfinite(logits).all()),
        "behind": float((choices.max(-1) - np.take_along_axis(choices, chosen, -1)[..., 0]).max()),
        "same_top": float((logits.argmax(-1) == expected.argmax(-1)).mean()),
        "onnxruntime": onnxruntime.__version__,
    }
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
