"""A transformers model whose linear modules are factored or narrowed as its configuration says.

This file is part of every factored export, with the original classes of the exported model in its imports.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlamaConfig as OriginalConfig
from transformers import LlamaForCausalLM as OriginalForCausalLM
from transformers import LlamaModel as OriginalModel

from engine.compression.layers import FactoredLinear, LowRankInner, NarrowedLinear, SkipInner, factored_group


class FactoredConfig(OriginalConfig):
    """The original configuration and what is factored.

    Attributes:
        factored_blocks: each with ``projections`` (names in the causal model, in the order they run), ``format``,
            ``rank``, ``in_features``, and ``out_features`` and ``bias`` for every projection.
        narrowed_linears: of MLPs with fewer neurons, each with ``name``, ``in_features``, ``out_features``
            and ``bias``.
    """

    model_type = f"factored-{OriginalConfig.model_type}"
    # The original plan splits weights that are factors here; without one, tensor parallelism is refused.
    base_model_tp_plan = None
    base_model_ep_plan = None

    factored_blocks: list[dict[str, Any]] | None = None
    narrowed_linears: list[dict[str, Any]] | None = None


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
    """Replace the linear modules that the configuration lists; their tensors come from the checkpoint."""
    for block in model.config.factored_blocks or ():
        for name, part in zip(block["projections"], _empty_group(block), strict=True):
            model.set_submodule(name.removeprefix(prefix), part)
    for linear in model.config.narrowed_linears or ():
        weight = torch.zeros(linear["out_features"], linear["in_features"])
        bias = torch.zeros(len(weight)) if linear["bias"] else None
        model.set_submodule(linear["name"].removeprefix(prefix), NarrowedLinear(weight, bias))


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
