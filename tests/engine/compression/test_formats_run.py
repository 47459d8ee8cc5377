"""Formats as modules: skip is exact, well conditioned and shares its work."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from engine.compression.layers import FactoredLinear, LowRankInner, SharedInner, SkipInner
from engine.errors import NumericalError
from engine.factorization import Factors, decompose_input_side, decompose_output_side, skip_at_rank, to_skip
from engine.formats import rank_params
from engine.types import Format
from tests.support.examples import examples


def factors(out: int, width: int, rank: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return left and right whose columns are strongly correlated, as real activations make them."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(rank, width, generator=generator)
    smooth = base + 0.95 * base.roll(1, 1) + 0.9 * base.roll(2, 1)
    scale = torch.logspace(0, -3, rank)[:, None]
    return torch.randn(out, rank, generator=generator), smooth * scale


def skip_product(skip, x):
    rank = skip.left.shape[1]
    ordered = x[..., skip.columns]
    return (ordered[..., :rank] + ordered[..., rank:] @ skip.mix.T) @ skip.left.T


@pytest.mark.parametrize(("out", "width", "rank"), [(40, 64, 20), (64, 64, 63), (9, 33, 1), (96, 48, 48), (20, 20, 20)])
def test_skip_is_the_same_map_with_a_bounded_mix(out, width, rank):
    left, right = factors(out, width, rank)
    skip = to_skip(left, right)
    assert sorted(skip.columns.tolist()) == list(range(width))
    if skip.mix.numel():
        assert skip.mix.abs().max() <= 2.0
    x = torch.randn(7, width)
    expected = x.double() @ right.double().T @ left.double().T
    actual = skip_product(skip, x)
    assert (actual - expected).norm() <= 1e-4 * expected.norm()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
def test_skip_agrees_with_low_rank_to_the_dtypes_tolerance(dtype, tolerance):
    left, right = factors(48, 96, 40)
    skip = to_skip(left, right)
    low = FactoredLinear(LowRankInner(right.to(dtype)), left.to(dtype), None)
    run = FactoredLinear(SkipInner(skip.mix.to(dtype), skip.columns), skip.left.to(dtype), None)
    x = torch.randn(32, 96).to(dtype)
    exact = x.double() @ right.double().T @ left.double().T
    error_low = (low(x).double() - exact).norm() / exact.norm()
    error_skip = (run(x).double() - exact).norm() / exact.norm()
    assert error_low < tolerance
    assert error_skip < tolerance


def test_pivoting_matters_in_float16():
    left, right = factors(48, 96, 40)
    x = torch.randn(64, 96)
    exact = x.double() @ right.double().T @ left.double().T

    def error(columns: torch.Tensor) -> float:
        kept, mixed = right.double()[:, columns[:40]], right.double()[:, columns[40:]]
        mix = torch.linalg.solve(kept, mixed).half()
        folded = (left.double() @ kept).half()
        ordered = x.half()[:, columns]
        z = ordered[:, :40] + ordered[:, 40:] @ mix.T
        return ((z @ folded.T).double() - exact).norm().item()

    pivoted = to_skip(left, right).columns
    assert error(torch.arange(96)) >= 5 * error(pivoted)


def whitened(out: int, width: int, seed: int) -> tuple[Factors, torch.Tensor]:
    """Return factors of a random weight in the metric of correlated inputs, decomposed on its smaller side."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(out, width, generator=generator, dtype=torch.float64)
    x = torch.randn(4 * width, width, generator=generator, dtype=torch.float64).cumsum(1)
    moment = x.T @ x / len(x)
    on_output_side = out <= width
    if on_output_side:
        found = decompose_output_side(weight @ moment @ weight.T, None, out, 1e-6, "toy")
    else:
        found = decompose_input_side(moment, weight.T @ weight, width, 1e-6, "toy")
    tensors = found.basis.float(), found.dual.float(), found.energies, torch.zeros(len(found.energies) + 1)
    return Factors(("p",), on_output_side, *tensors, None, found.damping), weight.float()


@given(out=st.integers(1, 40), width=st.integers(1, 40), part=st.floats(0, 1), seed=st.integers(0, 999))
@examples(300)
def test_every_way_to_skip_is_the_truncation_with_a_bounded_mix(out, width, part, seed):
    block, weight = whitened(out, width, seed)
    rank = max(1, round(part * min(out, width)))
    left, right = block.at_rank(rank, weight)
    expected = left.double() @ right.double()
    skip = skip_at_rank(block, rank, weight)
    assert skip.left.shape == (out, rank)
    assert skip.mix.shape == (rank, width - rank)
    assert sorted(skip.columns.tolist()) == list(range(width))
    if skip.mix.numel():
        assert skip.mix.abs().max() <= 2.0 + 1e-6
    actual = torch.empty_like(expected)
    actual[:, skip.columns] = torch.cat([skip.left, skip.left @ skip.mix], dim=1).double()
    assert (actual - expected).norm() <= 1e-4 * expected.norm()
    x = torch.randn(width)
    torch.testing.assert_close(skip(x), (actual @ x.double()).float(), rtol=1e-3, atol=1e-3 * actual.abs().max().item())


@pytest.mark.parametrize(("shape", "rank"), [((8, 20), 2), ((8, 20), 7), ((20, 8), 2), ((20, 8), 6)])
def test_factors_without_enough_directions_are_refused_by_name(shape, rank):
    block, weight = whitened(*shape, 0)
    for missing in (0, -1):
        block.basis[:, missing] = 0
        block.dual[missing] = 0
    with pytest.raises(NumericalError, match="inner factor of p has no"):
        skip_at_rank(block, rank, weight)


@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf])
def test_a_weight_without_enough_directions_is_refused_by_name(value):
    block, weight = whitened(8, 20, 0)
    weight[3] = value
    with pytest.raises(NumericalError, match="inner factor of p has no 8 independent columns"):
        skip_at_rank(block, 8, weight)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-5)])
@pytest.mark.parametrize("rank", [20, 31, 40])
def test_skip_is_exact_on_the_output_side_whatever_is_discarded(rank, dtype, tolerance):
    block, weight = whitened(40, 96, 0)
    skip = skip_at_rank(block, rank, weight, dtype)
    found = torch.empty_like(weight, dtype=torch.float64)
    found[:, skip.columns] = torch.cat([skip.left, skip.left @ skip.mix], 1).double()
    exact = weight.double() - block.basis[:, rank:].double() @ (block.dual[rank:].double() @ weight.double())
    dual = block.dual.double()
    assert (dual @ (found - exact)).norm() <= tolerance * (dual @ exact).norm()


@pytest.mark.parametrize("skips", [False, True])
def test_parameters_equal_the_formula(skips):
    left, right = factors(40, 64, 20)
    inner: nn.Module = LowRankInner(right)
    if skips:
        skip = to_skip(left, right)
        left, inner = skip.left, SkipInner(skip.mix, skip.columns)
    count = sum(p.numel() for p in FactoredLinear(inner, left, None).parameters())
    assert count == rank_params(Format.SKIP if skips else Format.LOW_RANK, 20, 64, 40)


class Counting(nn.Module):
    def __init__(self, right):
        super().__init__()
        self.inner, self.calls = LowRankInner(right), 0

    def forward(self, x):
        self.calls += 1
        return self.inner(x)


def group(n: int = 3):
    left, right = factors(8 * n, 32, 12)
    counting = Counting(right)
    shared = SharedInner(counting, n)
    return counting, [FactoredLinear(shared, left[8 * i : 8 * i + 8], None) for i in range(n)], (left, right)


def test_the_shared_intermediate_is_computed_once_per_group():
    counting, members, (left, right) = group()
    for _ in range(4):
        x = torch.randn(2, 5, 32)
        y = torch.cat([m(x) for m in members], dim=-1)
        torch.testing.assert_close(y, x @ right.T @ left.T, rtol=1e-4, atol=1e-4)
    assert counting.calls == 4


def test_a_tensor_changed_in_place_between_members_is_computed_again():
    _, members, (left, right) = group()
    x = torch.randn(3, 32)
    members[0](x)
    x.add_(1.0)
    torch.testing.assert_close(members[1](x), x @ right.T @ left[8:16].T, rtol=1e-4, atol=1e-4)


def test_members_called_alone_out_of_order_or_on_other_tensors_stay_right():
    _, members, (left, right) = group()
    a, b = torch.randn(3, 32), torch.randn(3, 32)
    for member, x, rows in [
        (2, a, slice(16, 24)),
        (0, b, slice(0, 8)),
        (1, a, slice(8, 16)),
        (1, b, slice(8, 16)),
    ]:
        torch.testing.assert_close(members[member](x), x @ right.T @ left[rows].T, rtol=1e-4, atol=1e-4)


def test_threads_do_not_see_each_others_intermediates():
    _, members, (left, right) = group()
    faults = []

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(50):
            x = torch.randn(2, 32, generator=generator)
            y = torch.cat([m(x) for m in members], dim=-1)
            if not torch.allclose(y, x @ right.T @ left.T, rtol=1e-3, atol=1e-3):
                faults.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_a_copy_made_between_two_members_shares_within_itself_only():
    counting, members, _ = group()
    x = torch.randn(2, 32)
    members[0](x)
    copies = copy.deepcopy(nn.ModuleList(members))
    assert copies[0].inner is copies[1].inner is not members[0].inner
    torch.testing.assert_close(copies[1](x), members[1](x))
    assert counting.calls == 1


def test_an_intermediate_is_not_taken_into_another_mode():
    counting, members, _ = group()
    x = torch.randn(4, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert members[0](x).dtype == torch.bfloat16
    with torch.inference_mode():
        members[1](x)
    assert members[2](x).dtype == torch.float32
    assert not members[2](x).is_inference()
    assert counting.calls == 3


def test_nothing_is_kept_after_the_last_member():
    _, members, _ = group()
    x = torch.randn(4, 32)
    for member in members:
        member(x)
    assert not members[0].inner._remembered


def test_gradients_flow_through_the_shared_intermediate():
    _, members, (left, right) = group()
    x = torch.randn(4, 32, requires_grad=True)
    torch.cat([m(x) for m in members], dim=-1).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, (right.T @ left.T).sum(1).expand(4, -1), rtol=1e-3, atol=1e-3)
