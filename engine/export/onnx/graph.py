"""Write a causal model as one ONNX graph that takes and returns its cache of keys and values.

Inputs and outputs are named as ONNX exports of language models usually are: ``input_ids``, ``attention_mask``,
``position_ids`` and ``past_key_values.N.key`` and ``.value`` in, ``logits``, ``present.N.key`` and ``.value`` out. The
cache may be empty, so the same graph reads a prompt and continues it.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch.export import Dim
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from engine.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import nn

GRAPH = "model.onnx"
_BATCH, _PAST, _LENGTH = 2, 3, 5
_CACHED = re.compile(r"past_key_values\.layers\.(\d+)\.(key|value)s$")
_NOISY = ("transformers.exporters", "torch.onnx", "onnxscript", "onnx_ir")


def write_graph(module: nn.Module, folder: Path) -> None:
    """Write ``model.onnx`` and beside it, without a limit of size, ``model.onnx.data`` with the weights.

    Args:
        module: a causal model of transformers in evaluation mode on the CPU, dense or factored.
        folder: there.

    Raises:
        ExportError: the model keeps more than keys and values between tokens, or cannot be traced.
        OSError: the folder cannot be written.
    """
    from transformers.exporters import OnnxConfig, OnnxExporter

    inputs = _sample_inputs(module)
    # The lengths seen here put bounds on the graph's own only where torch is to prove them.
    config = OnnxConfig(dynamic_shapes=_shapes(inputs), prefer_deferred_runtime_asserts_over_guards=True)
    try:
        with _quiet():
            program, _ = OnnxExporter().export_program(module, inputs, config)
    except Exception as error:
        raise _cannot(module, f"torch's exporter stopped: {_first_line(error)}") from error
    _name(program.graph)
    OnnxExporter.save_program(program, folder / GRAPH)


@torch.no_grad()
def _sample_inputs(module: nn.Module) -> dict[str, Any]:
    """Return what the model is traced with: some tokens after others that are in the cache."""
    causal: Any = module
    rows = causal.get_input_embeddings().weight.shape[0]
    total = _PAST + _LENGTH
    tokens = torch.arange(_BATCH * total).view(_BATCH, total) % rows
    try:
        # A cache without the model's configuration keeps whole keys and values in every layer.
        cache = causal(input_ids=tokens[:, :_PAST], past_key_values=DynamicCache(), use_cache=True).past_key_values
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _cannot(module, "it keeps more than keys and values between tokens") from error
    layers = getattr(cache, "layers", ())
    if not layers or any(type(layer) is not DynamicLayer or layer.keys is None for layer in layers):
        raise _cannot(module, "it keeps more than keys and values between tokens")
    inputs = {
        "input_ids": tokens[:, _PAST:],
        "attention_mask": torch.ones(_BATCH, total, dtype=torch.long),
        "position_ids": torch.arange(_PAST, total).repeat(_BATCH, 1),
        "past_key_values": cache,
    }
    accepted = inspect.signature(causal.forward).parameters
    return {name: value for name, value in inputs.items() if name in accepted}


def _shapes(inputs: dict[str, Any]) -> dict[str, Any]:
    batch, length, past = Dim("batch"), Dim("length"), Dim("past")
    shapes = {
        "input_ids": {0: batch, 1: length},
        "attention_mask": {0: batch, 1: Dim.DYNAMIC},
        "position_ids": {0: batch, 1: length},
        "past_key_values": [{0: batch, 2: past}] * (2 * len(inputs["past_key_values"].layers)),
    }
    return {name: shapes[name] for name in inputs}


def _name(graph: Any) -> None:
    """Give inputs and outputs, and their free dimensions, the usual names."""
    import onnx_ir

    for values, cached, rows in ((graph.inputs, "past_key_values", "past"), (graph.outputs, "present", "total")):
        for value in values:
            free: tuple[str | None, ...] = ("batch", "total" if value.name == "attention_mask" else "length", None)
            if found := _CACHED.search(value.name):
                value.name = f"{cached}.{found[1]}.{found[2]}"
                free = ("batch", None, rows, None)
            shape = [name or size for name, size in zip(free, value.shape, strict=False)]
            value.shape = onnx_ir.Shape(shape)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporters print and log from the log of a job."""
    levels = {name: logging.getLogger(name).level for name in _NOISY}
    try:
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _cannot(module: nn.Module, reason: str) -> ExportError:
    return ExportError(
        f"{type(module).__name__} cannot be written as an ONNX graph ({reason}); export it with the format factored."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
