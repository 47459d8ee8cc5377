"""Check a GGUF file: a fresh interpreter runs it, and its logits and tokens are compared with those in memory."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from engine.errors import ExportError
from engine.export.gguf import fresh_process
from engine.export.verification import ReferenceLogits, Verification, run_fresh

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXT = "The 3 ranks of 12345 matrices aren't equal:\n\n  naïve, tall  (and wide) 🙂\n"
_ROUNDING: Final[Mapping[str, float]] = {"float32": 2e-3, "float16": 1e-2}
"""Of the largest logit; llama.cpp keeps keys and values in float16."""


def runtime_for(*, is_even: bool) -> str:
    """Return what checks a file: llama.cpp where its Python package is installed, transformers otherwise.

    Args:
        is_even: whether all layers have the same width.

    Raises:
        ExportError: only llama.cpp opens such a file, and it is not installed.
    """
    if find_spec("llama_cpp") is not None:
        return "llama.cpp"
    if is_even:
        return "transformers"
    raise ExportError(
        "A GGUF file of layers with different widths is checked in llama.cpp, which is not installed; run: "
        "pip install llama-cpp-python (it is compiled, which takes minutes)."
    )


def verify_gguf(file: Path, reference: ReferenceLogits, tokenizer: Any, dtype: str, runtime: str) -> Verification:
    """Run a file in an interpreter that cannot import RankScope and compare.

    Args:
        file: GGUF.
        reference: greedy logits of the model in memory, in float32.
        tokenizer: of the model.
        dtype: of the file's matrices; how far int8 is apart is only said.
        runtime: that opens it.

    Raises:
        ExportError: it does not run there, answers or reads text differently, or would choose other tokens.
    """
    with tempfile.TemporaryDirectory(prefix="rankscope-export-") as scratch:
        archive = Path(scratch) / "reference.npz"
        np.savez(
            archive,
            tokens=reference.tokens.numpy(),
            logits=reference.logits.numpy(),
            text=_TEXT,
            ids=np.array(tokenizer(_TEXT)["input_ids"]),
        )
        found = run_fresh([fresh_process.__file__, str(file), str(archive), runtime], {"HF_HUB_OFFLINE": "1"})
    largest = float(reference.logits.abs().max())
    allowed = _ROUNDING.get(dtype, np.inf) * max(1.0, largest)
    if not found["finite"] or found["difference"] > allowed or found["behind"] > 2 * allowed:
        raise ExportError(
            f"The GGUF file's logits differ by up to {found['difference']:.3g} from those in memory, where "
            f"{allowed:.3g} is taken for rounding; nothing was left behind."
        )
    if not found["same_ids"]:
        raise ExportError(
            f"The GGUF file's tokenizer splits text in another way in {runtime} than the model's; nothing was left "
            "behind. Export with the format dense."
        )
    return Verification(
        found["difference"], largest, reference.tokens.numel(), found["same_top"], dict(found["versions"])
    )
