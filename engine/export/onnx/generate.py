"""Generate text with the ONNX model in this folder: ``python generate.py "The capital of France is"``.

Needs numpy and onnxruntime, and transformers for its tokenizer.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxModel:
    """The graph, and the keys and values of what it has read.

    Args:
        folder: that holds ``model.onnx``.
        options: of the session, such as its number of threads.
    """

    def __init__(self, folder: str | Path, options: Any = None) -> None:
        providers = onnxruntime.get_available_providers()
        self.session = onnxruntime.InferenceSession(str(Path(folder, "model.onnx")), options, providers=providers)
        inputs = self.session.get_inputs()
        self._reads = {one.name for one in inputs}
        self._caches = [one for one in inputs if one.name.startswith("past_key_values.")]
        self._outputs = ["logits", *(one.name.replace("past_key_values", "present") for one in self._caches)]
        self._past: list[np.ndarray] | None = None
        self._n_read = 0

    def forget(self) -> None:
        """Begin a new text."""
        self._past, self._n_read = None, 0

    def read(self, tokens: np.ndarray) -> np.ndarray:
        """Return the logits (batch, length, vocabulary) of tokens (batch, length) that follow what was read before."""
        batch, length = tokens.shape
        if self._past is None:
            self._past = [np.zeros((batch, one.shape[1], 0, one.shape[3]), _TYPES[one.type]) for one in self._caches]
        total = self._n_read + length
        given = {
            "input_ids": tokens.astype(np.int64),
            "attention_mask": np.ones((batch, total), np.int64),
            "position_ids": np.arange(self._n_read, total)[None].repeat(batch, 0),
            **{one.name: past for one, past in zip(self._caches, self._past, strict=True)},
        }
        used = {name: value for name, value in given.items() if name in self._reads}
        read: list[np.ndarray] = self.session.run(self._outputs, used)
        self._past, self._n_read = read[1:], total
        return read[0].astype(np.float32)


def stop_tokens(folder: Path) -> set[int]:
    """Return the ids that end a text."""
    file = folder / "generation_config.json"
    stated = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id") if file.is_file() else None
    return {stated} if isinstance(stated, int) else set(stated or ())


def main() -> None:
    """Print a prompt's most probable continuation."""
    from transformers import AutoTokenizer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompt")
    parser.add_argument("--chat", action="store_true", help="put the prompt into the chat template")
    parser.add_argument("--tokens", type=int, default=64, help="at most so many")
    chosen = parser.parse_args()
    folder = Path(__file__).parent
    tokenizer, model, stops = AutoTokenizer.from_pretrained(folder), OnnxModel(folder), stop_tokens(folder)
    if chosen.chat:
        messages = [{"role": "user", "content": chosen.prompt}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        new = tokenizer(text, add_special_tokens=False)["input_ids"]
    else:
        new = tokenizer(chosen.prompt)["input_ids"]
    answer: list[int] = []
    while len(answer) < chosen.tokens:
        token = int(model.read(np.array([new]))[0, -1].argmax())
        if token in stops:
            break
        answer.append(token)
        new = [token]
    sys.stdout.write(tokenizer.decode(answer) + "\n")


if __name__ == "__main__":
    main()
