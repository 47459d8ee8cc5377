"""Write a compressed model as an ONNX folder, and run what was written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.export.onnx import generate
from engine.export.onnx.graph import GRAPH, write_graph
from engine.export.onnx.quantized import quantize_graph
from engine.export.onnx.verification import verify_graph
from engine.export.verification import take_greedy_logits

if TYPE_CHECKING:
    from torch import nn

    from engine.export.verification import Verification
    from engine.progress import Report


def export_onnx(module: nn.Module, tokenizer: Any, folder: Path, report: Report, *, is_rounded: bool) -> Verification:
    """Write a graph with tokenizer, configuration and the code that generates with it; return how it compares.

    Args:
        module: dense or factored, in evaluation mode on the CPU.
        tokenizer: of the model.
        folder: there and empty.
        report: told every step.
        is_rounded: whether its weights are rounded to 8 bits, after the graph was found to be right without.

    Raises:
        ExportError: the model cannot be a graph, or the graph does not run as the model in memory does.
        OSError: the folder cannot be written.
    """
    causal: Any = module
    report("verify", 0.4, "Running the model in memory")
    reference = take_greedy_logits(module)
    report("write", 0.45, "Tracing the graph")
    causal.config.save_pretrained(folder)
    causal.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    shutil.copyfile(generate.__file__, folder / Path(generate.__file__).name)
    write_graph(module, folder)
    report("verify", 0.7, "Running the graph in a fresh process")
    found = verify_graph(folder, reference)
    if not is_rounded:
        return found
    report("write", 0.8, "Rounding the weights to int8")
    quantize_graph(folder)
    report("verify", 0.9, "Running the graph in a fresh process")
    return verify_graph(folder, reference, is_rounded=True)


def graph_bytes(folder: Path) -> int:
    """Return the bytes of the graph and its weights."""
    return sum(file.stat().st_size for file in folder.glob(f"{GRAPH}*"))
