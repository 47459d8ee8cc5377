"""Write a compressed model as a GGUF file, and run what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.export.gguf.file import FILE, widths_of, write_gguf
from engine.export.gguf.verification import runtime_for, verify_gguf
from engine.export.verification import take_greedy_logits

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from engine.export.verification import Verification
    from engine.progress import Report


def export_gguf(module: nn.Module, tokenizer: Any, folder: Path, report: Report, dtype: str) -> Verification:
    """Write ``model.gguf`` with tokenizer and chat template; return how it compares.

    Args:
        module: with ordinary linear modules, in float32 and evaluation mode on the CPU.
        tokenizer: of the model.
        folder: there.
        report: told every step.
        dtype: of the file's matrices.

    Raises:
        ExportError: llama.cpp cannot run the model, or the file does not run as the model in memory does.
        OSError: the folder cannot be written.
    """
    runtime = runtime_for(is_even=len(set(widths_of(module))) == 1)
    report("write", 0.45, "Writing the file")
    write_gguf(module, tokenizer, folder, dtype)
    report("verify", 0.6, "Running the model in memory")
    reference = take_greedy_logits(module)
    report("verify", 0.7, f"Opening the file with {runtime} in a fresh process")
    return verify_gguf(folder / FILE, reference, tokenizer, dtype, runtime)
