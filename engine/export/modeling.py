"""A transformers model whose linear modules are factored or narrowed as its configuration says.

This file is part of every factored export, with the original classes of the exported model in its imports.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig as OriginalConfig
from transformers import LlamaForCausalLM as OriginalForCausalLM
from transformers import LlamaModel as OriginalModel

from engine.compression.layers import FactoredLinear, LowRankInner, NarrowedLinear, SkipInner, factored_group
from engine.model.experts import FactoredStack, Routing, StackedExperts, grouped_product


class FactoredConfig(OriginalConfig):
    """The original configuration and what is factored.

    Attributes:
        factored_blocks: each with ``projections`` (names in the causal model, in the order they run), ``format``,
            ``rank``, ``in_features``, and ``out_features`` and ``bias`` for every projection.
        factored_experts: stacks of experts, each with ``name``, ``experts`` (how many), ``rank``, ``in_features`` and
            ``out_features``.
        narrowed_linears: of MLPs with fewer neurons, each with ``name``, ``in_features``, ``out_features``
            and ``bias``.
        rounded_linears: whose weights are stored as integers, each with ``name``, ``bits``, ``group_size`` (null: a
            row), ``in_features``, ``out_features`` and ``bias``.
        rounded_stacks: the same of stacks of experts, or of their factors, with ``experts`` instead of ``bias``.
    """

    model_type = f"factored-{OriginalConfig.model_type}"
    # The original plan splits weights that are factors here; without one, tensor parallelism is refused.
    base_model_tp_plan = None
    base_model_ep_plan = None

    factored_blocks: list[dict[str, Any]] | None = None
    factored_experts: list[dict[str, Any]] | None = None
    narrowed_linears: list[dict[str, Any]] | None = None
    rounded_linears: list[dict[str, Any]] | None = None
    rounded_stacks: list[dict[str, Any]] | None = None


class RoundedWeight(nn.Module):
    """Scale * integers: a weight that is integers until it is used.

    Both are stored as whole numbers, which no conversion of a model's type touches: scales as the bits of bfloat16,
    integers of 4 bits in pairs.

    Args:
        integers: (..., out, in) int8.
        scales: (..., out, groups) bfloat16.
        bits: of an integer, 8 or 4.
        group_size: neighbours in a row that share a scale; ``None``: the row.

    Attributes:
        shape: of the weight.
    """

    integers: torch.Tensor
    scales: torch.Tensor

    def __init__(self, integers: torch.Tensor, scales: torch.Tensor, bits: int, group_size: int | None) -> None:
        super().__init__()
        self.shape = integers.shape
        self.bits, self.group_size = bits, group_size
        self.register_buffer("integers", integers if bits == 8 else _in_pairs(integers))
        self.register_buffer("scales", scales.view(torch.int16))

    def weight_as(self, dtype: torch.dtype) -> torch.Tensor:
        """Return the weight (..., out, in) in a type."""
        integers, columns = self.integers, self.shape[-1]
        if self.bits == 4:
            integers = torch.stack([integers & 15, integers >> 4], dim=-1).flatten(-2)[..., :columns].char() - 8
        scales = self.scales.view(torch.bfloat16).float()
        scales = scales.repeat_interleave(self.group_size or columns, dim=-1)[..., :columns]
        return (integers * scales).to(dtype)


class RoundedLinear(RoundedWeight):
    """y = W x + bias, with a rounded W (out, in).

    Args:
        integers: (out, in) int8.
        scales: (out, groups) bfloat16.
        bits: of an integer, 8 or 4.
        group_size: neighbours in a row that share a scale; ``None``: the row.
        bias: (out,) or ``None``.
    """

    def __init__(
        self, integers: torch.Tensor, scales: torch.Tensor, bits: int, group_size: int | None, bias: torch.Tensor | None
    ) -> None:
        super().__init__(integers, scales, bits, group_size)
        self.out_features, self.in_features = self.shape
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., in) to (..., out)."""
        return nn.functional.linear(x, self.weight_as(x.dtype), self.bias)


class RoundedStack(RoundedWeight):
    """y = W_e x for the rows of every expert e, with rounded W (experts, out, in)."""

    def forward(self, rows: torch.Tensor, routing: Routing) -> torch.Tensor:
        """Map (rows, in) to (rows, out)."""
        return grouped_product(rows, self.weight_as(rows.dtype), routing.ends)


def _in_pairs(integers: torch.Tensor) -> torch.Tensor:
    """Return integers of 4 bits (..., in) as bytes (..., in / 2, rounded up), the first of a pair in the low half."""
    even = nn.functional.pad(integers, (0, integers.shape[-1] % 2)) + 8
    low, high = even[..., ::2].byte(), even[..., 1::2].byte()
    return low | (high << 4)


class FactoredModel(OriginalModel):
    """The decoder without its head."""

    config_class = FactoredConfig
    _tp_plan = None

    def __init__(self, config: FactoredConfig) -> None:
        super().__init__(config)
        _put_factors(self, f"{self.base_model_prefix}.")


class FactoredForCausalLM(OriginalForCausalLM):
    """The causal language model."""

    config_class = FactoredConfig
    _tp_plan = None

    def __init__(self, config: FactoredConfig) -> None:
        super().__init__(config)
        _put_factors(self, "")


def _put_factors(model: Any, prefix: str) -> None:
    """Replace the modules that the configuration lists; their tensors come from the checkpoint."""
    for block in model.config.factored_blocks or ():
        for name, part in zip(block["projections"], _empty_group(block), strict=True):
            model.set_submodule(name.removeprefix(prefix), part)
    for stack in model.config.factored_experts or ():
        count, rank = stack["experts"], stack["rank"]
        left, right = torch.zeros(count, stack["out_features"], rank), torch.zeros(count, rank, stack["in_features"])
        _put_stack(model, stack["name"].removeprefix(prefix), FactoredStack(left, right))
    for linear in model.config.narrowed_linears or ():
        weight = torch.zeros(linear["out_features"], linear["in_features"])
        bias = torch.zeros(len(weight)) if linear["bias"] else None
        model.set_submodule(linear["name"].removeprefix(prefix), NarrowedLinear(weight, bias))
    for linear in model.config.rounded_linears or ():
        bias = torch.zeros(linear["out_features"]) if linear["bias"] else None
        model.set_submodule(linear["name"].removeprefix(prefix), RoundedLinear(*_empty_weight(linear), bias))
    for stack in model.config.rounded_stacks or ():
        _put_stack(model, stack["name"].removeprefix(prefix), RoundedStack(*_empty_weight(stack, stack["experts"])))


def _put_stack(model: Any, name: str, stack: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    experts = model.get_submodule(parent)
    if isinstance(getattr(experts, last), nn.Parameter):
        experts = StackedExperts(experts.gate_up_proj, experts.down_proj, experts.act_fn)
        model.set_submodule(parent, experts)
    setattr(experts, last, stack)


def _empty_weight(rounded: dict[str, Any], *experts: int) -> tuple[torch.Tensor, torch.Tensor, int, int | None]:
    rows, columns, group_size = (*experts, rounded["out_features"]), rounded["in_features"], rounded["group_size"]
    groups = 1 if group_size is None else -(-columns // group_size)
    integers = torch.zeros(*rows, columns, dtype=torch.int8)
    return integers, torch.zeros(*rows, groups, dtype=torch.bfloat16), rounded["bits"], group_size


def _empty_group(block: dict[str, Any]) -> list[FactoredLinear]:
    rank, width = block["rank"], block["in_features"]
    skips = block["format"].startswith("skip")
    inner = (
        SkipInner(torch.zeros(rank, width - rank), torch.arange(width))
        if skips
        else LowRankInner(torch.zeros(rank, width))
    )
    lefts = [torch.zeros(out, rank) for out in block["out_features"]]
    biases = [torch.zeros(len(left)) if biased else None for left, biased in zip(lefts, block["bias"], strict=True)]
    return factored_group(inner, lefts, biases)
