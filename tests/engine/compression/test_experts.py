"""Stacks of experts at a rank: what they give, what they are refused, and their weights rounded or multiplied out."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from engine.compression.apply import compress
from engine.errors import ExportError, InvalidRankMapError
from engine.export.dense import multiplied_out
from engine.export.factored import factored_experts, rank_pattern
from engine.export.specs import ExportFormat, ExportSpec
from engine.export.writers import writer_of
from engine.methods.locks import lock_of
from engine.model.experts import ExpertStack, FactoredStack, Routing, StackedExperts, grouped_product
from engine.precision import ROUNDINGS
from engine.quantization.rounding import round_matrix, rounded
from engine.rank_map.document import RankMap, check_rank_map
from engine.rank_map.table import parse_rank_csv
from engine.types import BlockRank, Format, Metric
from tests.support import toys

TOKENS = toys.tokens(2, 16, seed=5)
EXPERTS = ["mixtral", "qwen2-moe", "qwen3-moe"]


@cache
def factored(name):
    return toys.factored(name, toys.tokens(8, 24))


def stacks(name):
    return [p for p in factored(name)[1].projections if p.experts is not None]


def compressed(name, fraction):
    module, _, factors = factored(name)
    ranks = {p.name: max(int(fraction * min(p.in_features, p.out_features)), 1) for p in stacks(name)}
    blocks = [BlockRank((name,), Format.LOW_RANK, rank) for name, rank in ranks.items()]
    return blocks, compress(module, blocks, factors.__getitem__)


@pytest.mark.parametrize("name", EXPERTS)
def test_full_rank_gives_the_dense_logits_and_the_dense_model_stays_as_it_is(name):
    module = factored(name)[0]
    expected = module(input_ids=TOKENS).logits
    _, whole = compressed(name, 1.0)
    torch.testing.assert_close(whole(input_ids=TOKENS).logits, expected, rtol=1e-3, atol=1e-3)
    assert not any(isinstance(part, StackedExperts) for part in module.modules())
    assert torch.equal(module(input_ids=TOKENS).logits, expected)


@pytest.mark.parametrize("name", EXPERTS)
def test_products_of_the_factors_are_experts_of_the_library(name):
    module = factored(name)[0]
    blocks, cut = compressed(name, 0.5)
    plain = multiplied_out(module, cut, ())
    assert plain.state_dict().keys() == module.state_dict().keys()
    torch.testing.assert_close(plain(input_ids=TOKENS).logits, cut(input_ids=TOKENS).logits, rtol=1e-4, atol=1e-5)
    listed = {one["name"]: one["rank"] for one in factored_experts(cut)}
    assert listed == rank_pattern(cut) == {block.name: block.rank for block in blocks}


@pytest.mark.parametrize("sizes", [[3, 0, 5], [0, 0, 8], [8, 0, 0]])
@pytest.mark.parametrize(("out", "columns"), [(12, 8), (7, 8), (12, 5), (7, 3)])
def test_grouped_products_are_those_of_every_expert(out, columns, sizes):
    rows, weight = torch.randn(8, columns), torch.randn(3, out, columns)
    ends = torch.tensor(sizes).cumsum(0).to(torch.int32)
    expected = torch.cat([part @ matrix.T for part, matrix in zip(rows.split(sizes), weight, strict=True)])
    torch.testing.assert_close(grouped_product(rows, weight, ends), expected)
    sliced = torch.randn(3, out, columns + 3)[..., :columns]
    expected = torch.cat([part @ matrix.T for part, matrix in zip(rows.split(sizes), sliced, strict=True)])
    torch.testing.assert_close(grouped_product(rows, sliced, ends), expected)
    routing = Routing(torch.arange(8), ends)
    low = FactoredStack(torch.randn(3, out, 2), torch.randn(3, 2, columns))
    product = ExpertStack(low.left.weight @ low.right.weight)
    torch.testing.assert_close(low(rows, routing), product(rows, routing), rtol=1e-4, atol=1e-5)


def test_the_weights_of_stacks_are_rounded_expert_by_expert():
    module = factored("qwen3-moe")[0]
    dense, factors = stacks("qwen3-moe")[0], stacks("qwen3-moe")[-1]
    _, cut = compressed("qwen3-moe", 0.5)
    for model, p in ((module, dense), (cut, factors)):
        result = rounded(model, [p.name], ROUNDINGS[8])
        part = result.get_submodule(p.name)
        changed = part if isinstance(part, ExpertStack) else part.left
        is_dense = isinstance(part, ExpertStack)
        before = model.get_parameter(p.name) if is_dense else model.get_submodule(p.name).left.weight
        for e in range(p.matrices):
            assert torch.equal(changed.weight[e], round_matrix(before[e], ROUNDINGS[8]))
        assert result(input_ids=TOKENS).logits.isfinite().all()


@pytest.mark.parametrize("name", ["mixtral", "qwen2-moe"])
def test_what_stacks_cannot_be_is_refused_in_a_sentence_wherever_it_is_asked_for(name):
    module, inventory, _ = factored(name)
    stack, *_ = (p.name for p in stacks(name))

    def skipping(blocks):
        check_rank_map(RankMap("m", "0" * 64, None, "hand", Metric.LOSS, None, blocks), inventory, None)

    by_hand = (BlockRank((stack,), Format.SKIP, 4),)
    from_table = parse_rank_csv(f"projection,format,rank\n{stack},skip,4\n".encode(), inventory).blocks
    for blocks in (by_hand, from_table):
        with pytest.raises(InvalidRankMapError, match=r"is a stack of 4 experts, which skips no columns; use low-rank"):
            skipping(blocks)
    with pytest.raises(InvalidRankMapError, match=r"^Line 2 of the table has the format width for .*an MLP"):
        parse_rank_csv(f"projection,format,rank\n{stack},width,4\n".encode(), inventory)
    assert lock_of(stack, 4, inventory, frozenset({Format.SKIP})).format is Format.LOW_RANK
    with pytest.raises(InvalidRankMapError, match=r"which is no projection of this model"):
        lock_of(f"{stack}+{stack.replace('gate_up', 'down')}", 4, inventory, frozenset({Format.WIDTH}))
    with pytest.raises(ExportError, match="experts at a rank"):
        writer_of(ExportSpec(ExportFormat.ONNX), ()).prepare(module, compressed(name, 0.5)[1])
