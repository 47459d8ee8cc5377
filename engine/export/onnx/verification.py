"""Check an exported graph: a fresh interpreter runs it through its cache, and its logits are compared with torch's."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from engine.errors import ExportError
from engine.export.onnx import fresh_process
from engine.export.verification import ReferenceLogits, Verification, run_fresh


def verify_graph(folder: Path, reference: ReferenceLogits, *, is_rounded: bool = False) -> Verification:
    """Run a graph in an interpreter that cannot import RankScope and compare.

    Args:
        folder: of the export.
        reference: from the model in memory, as :func:`engine.export.verification.take_greedy_logits` takes it.
        is_rounded: whether weights were rounded to 8 bits since; how far logits are apart is then only said.

    Raises:
        ExportError: it does not run there, answers differently, or would choose other tokens.
    """
    with tempfile.TemporaryDirectory(prefix="rankscope-export-") as scratch:
        file = Path(scratch) / "reference.npz"
        np.savez(file, tokens=reference.tokens.numpy(), logits=reference.logits.numpy())
        found = run_fresh([fresh_process.__file__, str(folder), str(file)], {"HF_HUB_OFFLINE": "1"})
    is_close = found["difference"] <= reference.allowed and found["behind"] <= 2 * reference.allowed
    if not found["finite"] or not (is_rounded or is_close):
        raise ExportError(
            f"The ONNX graph's logits differ by up to {found['difference']:.3g} from those in memory, and a greedy "
            f"token is behind by up to {found['behind']:.3g}, where {reference.allowed:.3g} is taken for rounding; "
            "nothing was left behind."
        )
    return Verification(
        found["difference"],
        float(reference.logits.abs().max()),
        reference.tokens.numel(),
        found["same_top"],
        {"onnxruntime": found["onnxruntime"]},
    )
