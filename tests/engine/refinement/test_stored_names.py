"""Refined factors that were stored while factors were bare parameters open in the linear modules of today."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from engine.compression.layers import NarrowedLinear, SkipInner, factored_group
from engine.pipeline.refined import read_layer, write_layer


def layer(seed):
    """A layer with a group of two in skip+cat, the second with a bias, and a narrowed matrix."""
    random = torch.Generator().manual_seed(seed)

    def filled(*shape):
        return torch.randn(shape, generator=random)

    inner = SkipInner(filled(3, 4), torch.randperm(7, generator=random))
    first, second = factored_group(inner, [filled(5, 3), filled(2, 3)], [None, filled(2)])
    return nn.ModuleDict({"q": first, "k": second, "down": NarrowedLinear(filled(4, 6), filled(4))})


def test_both_the_names_of_today_and_those_of_bare_parameters_open(tmp_path):
    today = tmp_path / "refined.safetensors"
    before, artifact = layer(1), SimpleNamespace(path=lambda name: tmp_path / name)
    write_layer(before, tmp_path)
    names = ["q.left.weight", "q.inner.inner.mix.weight", "k.left.weight", "k.left.bias"]
    bare = dict(zip(names, ["q.left", "q.inner.inner.mix", "k.left", "k.bias"], strict=True))
    stored = load_file(today)
    assert set(names) < set(stored)
    for tensors in (stored, {bare.get(name, name): tensor for name, tensor in stored.items()}):
        save_file(tensors, today)
        after = layer(2)
        read_layer(after, artifact)
        assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())
