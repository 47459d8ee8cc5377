"""What running a model costs: multiply-adds and cache per token are counted, tokens per second measured in turns."""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from engine.decoding.generation import require_positions
from engine.errors import UnmeasurableError
from engine.model.module import device_of, embedding_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from engine.evaluation.specs import CostSpec
    from engine.progress import Report


@dataclass(frozen=True, slots=True)
class TokenCost:
    """Counted, not timed; what a layer keeps whatever was read (a recurrent state) is no part of it.

    Attributes:
        prefill_multiply_adds: per token of the prompt; the head runs on the last one only, as when text is generated.
        decode_multiply_adds: per token after a prompt of that length.
        cache_bytes_per_token: keys and values of one token in one sequence.
    """

    prefill_multiply_adds: float
    decode_multiply_adds: float
    cache_bytes_per_token: float


@dataclass(frozen=True, slots=True, eq=False)
class Seconds:
    """Repeated times of one model.

    Attributes:
        prefill: (repetitions,) seconds of a prompt.
        decode: (repetitions,) seconds of all tokens after it.
    """

    prefill: tuple[float, ...]
    decode: tuple[float, ...]


@torch.no_grad()
def count_token_cost(module: nn.Module, spec: CostSpec) -> TokenCost:
    """Count the multiply-adds of every matrix product of one prompt and of one token after it.

    Raises:
        InvalidSpecError: the model has too few positions.
        UnmeasurableError: it keeps no keys and values.
    """
    require_positions(module, spec.prompt_tokens, spec.new_tokens)
    prompt = random_prompts(module, 1, spec)
    with sdpa_kernel(
        SDPBackend.MATH
    ):  # fused attention is one operation that the counter does not know on every device
        with _counter() as prefill:
            logits, cache = _read(module, prompt)
        cached = _cache_bytes(cache) / spec.prompt_tokens
        with _counter() as decode:
            _step(module, logits, cache)
    return TokenCost(prefill.get_total_flops() / 2 / spec.prompt_tokens, decode.get_total_flops() / 2, cached)


def time_beside(modules: Sequence[nn.Module], batch_size: int, spec: CostSpec, report: Report) -> tuple[Seconds, ...]:
    """Time several models on the same random prompts, in turns, so that whatever else the machine does meets all."""
    times: list[list[tuple[float, float]]] = [[] for _ in modules]
    for repetition in range(spec.repetitions + 1):
        for module, of_module in zip(modules, times, strict=True):
            of_module.append(_time_once(module, batch_size, spec))
        done = (repetition + 1) / (spec.repetitions + 1)
        report("speed", done, f"Speed: batches of {batch_size}, {repetition} of {spec.repetitions} repetitions")
    return tuple(Seconds(*zip(*of_module[1:], strict=True)) for of_module in times)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median of ``values`` and the quartiles around it."""
    low, median, high = np.quantile(np.array(values, dtype=np.float64), [0.25, 0.5, 0.75])
    return {"median": float(median), "low": float(low), "high": float(high)}


def random_prompts(module: nn.Module, batch_size: int, spec: CostSpec) -> torch.Tensor:
    """Return token ids (batch_size, prompt_tokens); their values do not matter for what they cost."""
    generator = torch.Generator().manual_seed(spec.seed)
    ids = torch.randint(embedding_rows(module), (batch_size, spec.prompt_tokens), generator=generator)
    return ids.to(device_of(module))


def _counter() -> FlopCounterMode:
    """Return a counter that knows the products of all experts at once, too."""
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten._grouped_mm: grouped_flops})


def grouped_flops(rows: tuple[int, int], weights: tuple[int, ...], *_: Any, **__: Any) -> int:
    """Return the operations of products of rows (n, in) with weights (experts, in, out), each row with one expert's."""
    return 2 * rows[0] * rows[1] * weights[-1]


@torch.no_grad()
def _time_once(module: nn.Module, batch_size: int, spec: CostSpec) -> tuple[float, float]:
    prompt = random_prompts(module, batch_size, spec)
    _finish(prompt.device)
    begun = time.perf_counter()
    logits, cache = _read(module, prompt)
    _finish(prompt.device)
    read = time.perf_counter()
    for _ in range(spec.new_tokens):
        logits, cache = _step(module, logits, cache)
    _finish(prompt.device)
    return read - begun, time.perf_counter() - read


def _read(module: nn.Module, prompt: torch.Tensor) -> tuple[torch.Tensor, Any]:
    last_only = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(module.forward).parameters else {}
    output = module(input_ids=prompt, use_cache=True, **last_only)
    cache = output.get("past_key_values")
    if cache is None:
        raise UnmeasurableError(
            f"The speed of {type(module).__name__} cannot be measured: transformers runs it without a cache of keys "
            "and values; its perplexity, tasks and memory can."
        )
    return output.logits, cache


def _step(module: nn.Module, logits: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
    output = module(input_ids=logits[:, -1:].argmax(-1), past_key_values=cache, use_cache=True)
    return output.logits, output.past_key_values


def _cache_bytes(cache: Any) -> int:
    layers = getattr(cache, "self_attention_cache", cache).layers
    tensors = [getattr(layer, name, None) for layer in layers for name in ("keys", "values")]
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, torch.Tensor))


def _finish(device: torch.device) -> None:
    """Wait for what was only queued on an accelerator."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
