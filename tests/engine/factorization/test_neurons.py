"""Orders of neurons against the formulas they come from, computed without any shortcut."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from engine.calibration.statistics import LayerStatistics
from engine.errors import NumericalError
from engine.factorization.neurons import fold_triangle, order_neurons, unfold_triangle
from engine.types import Mlp, Projection

D, M = 6, 10


def made_mlp(m: int = M, d: int = D, seed: int = 0) -> tuple[Mlp, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return an MLP, the weight of down, and hidden vectors and gradients of correlated neurons."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(m, m, generator=generator, dtype=torch.float64) * torch.linspace(0.1, 2, m)
    hidden = torch.randn(500, m, generator=generator, dtype=torch.float64) @ mixing
    weight = torch.randn(d, m, generator=generator, dtype=torch.float64)
    gradients = torch.randn(400, d, generator=generator, dtype=torch.float64) * torch.linspace(0.2, 1, d)
    up = Projection("gate", 0, "gate", m, d), Projection("up", 0, "up", m, d)
    return Mlp(up, Projection("down", 0, "down", d, m)), weight, hidden, gradients


def moments(hidden: torch.Tensor, gradients: torch.Tensor) -> LayerStatistics:
    return LayerStatistics(
        0,
        len(hidden),
        inputs={"down": hidden.T @ hidden / len(hidden)},
        means={"down": hidden.view(5, -1, hidden.shape[1]).mean(1)},
        gradients={"down": gradients.T @ gradients / len(gradients)},
    )


def least_squares(hidden: torch.Tensor, kept: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the down that predicts W h from the kept neurons with the least square error."""
    solved: torch.Tensor = torch.linalg.lstsq(hidden[:, kept], hidden @ weight.T).solution.T
    return solved


@pytest.mark.parametrize("count", [1, 4, 9, 10])
def test_down_is_the_least_squares_fit_on_the_kept_neurons_and_nats_are_its_error(count):
    mlp, weight, hidden, gradients = made_mlp()
    neurons = order_neurons(mlp, {"down": weight}, moments(hidden, gradients), 1e-12, has_bias=False)
    kept = neurons.kept(count)
    narrow = neurons.down(count, weight)
    torch.testing.assert_close(narrow, least_squares(hidden, kept, weight), rtol=1e-4, atol=1e-5)
    error = hidden @ weight.T - hidden[:, kept] @ narrow.T
    covariance = gradients.T @ gradients / len(gradients)
    harm = ((error @ covariance) * error).sum() / len(hidden) / 2
    assert neurons.nats[count].item() == pytest.approx(harm.item(), rel=1e-4, abs=1e-9)
    assert torch.equal(neurons.truncated(count, weight)[:, kept], narrow)


def test_one_neuron_less_is_the_best_single_choice_and_harm_never_falls():
    mlp, weight, hidden, gradients = made_mlp()
    neurons = order_neurons(mlp, {"down": weight}, moments(hidden, gradients), 1e-12, has_bias=False)
    covariance, harm = gradients.T @ gradients / len(gradients), weight.T @ (gradients.T @ gradients) @ weight
    spread = hidden.T @ hidden / len(hidden)
    harm = weight.T @ covariance @ weight
    singly = []
    for gone in range(M):
        kept = torch.tensor([j for j in range(M) if j != gone])
        rest = spread - spread[:, kept] @ torch.linalg.inv(spread[kept][:, kept]) @ spread[kept]
        singly.append((harm @ rest).trace().item() / 2)
    assert neurons.nats[M - 1].item() == pytest.approx(min(singly), rel=1e-6)
    assert (neurons.nats[1:] <= neurons.nats[:-1] + 1e-12).all()
    assert neurons.nats[M] == 0
    assert sorted(neurons.order.tolist()) == list(range(M))


def test_the_order_is_near_the_best_sets_of_every_size():
    """Elimination is greedy; on small MLPs it stays within a third of the best of all sets."""
    mlp, weight, hidden, gradients = made_mlp(m=8, seed=3)
    neurons = order_neurons(mlp, {"down": weight}, moments(hidden, gradients), 1e-12, has_bias=False)
    spread, harm = hidden.T @ hidden / len(hidden), weight.T @ (gradients.T @ gradients / len(gradients)) @ weight
    for count in range(1, 8):
        best = min(
            (harm @ (spread - spread[:, kept] @ torch.linalg.inv(spread[kept][:, kept]) @ spread[kept])).trace().item()
            for kept in map(list, itertools.combinations(range(8), count))
        )
        assert best / 2 <= neurons.nats[count].item() * (1 + 1e-6)
        assert neurons.nats[count].item() <= best / 2 * 1.34, count


def test_a_bias_takes_over_the_mean_of_what_is_dropped():
    mlp, weight, hidden, gradients = made_mlp()
    hidden = hidden + torch.linspace(-3, 5, M, dtype=torch.float64)
    statistics = moments(hidden, gradients)
    centred = order_neurons(mlp, {"down": weight}, statistics, 1e-12, has_bias=True)
    plain = order_neurons(mlp, {"down": weight}, statistics, 1e-12, has_bias=False)
    count = 4
    shift = centred.shift(count, weight)
    given = hidden @ centred.truncated(count, weight).T + shift
    torch.testing.assert_close(given.mean(0), (hidden @ weight.T).mean(0), rtol=1e-4, atol=1e-5)
    assert centred.nats[count] < plain.nats[count]
    assert plain.shift(count, weight) is None


def test_dead_neurons_go_first_and_a_dead_mlp_is_refused_in_words():
    mlp, weight, hidden, gradients = made_mlp()
    hidden[:, [2, 7]] = 0
    neurons = order_neurons(mlp, {"down": weight}, moments(hidden, gradients), 1e-6, has_bias=False)
    assert set(neurons.order[-2:].tolist()) == {2, 7}
    assert neurons.nats[M - 2].item() == pytest.approx(0, abs=1e-4 * neurons.nats[0].item())
    with pytest.raises(NumericalError, match="down is zero"):
        order_neurons(mlp, {"down": weight}, moments(hidden * 0, gradients), 1e-6, has_bias=False)


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_triangles_fold_into_half_the_room_and_back(size):
    factor = torch.randn(size, size).tril()
    folded = fold_triangle(factor)
    assert torch.equal(unfold_triangle(folded, size), factor)
    assert folded.numel() <= (size + 1) * (size + 2) / 2


def test_ordering_holds_few_matrices_at_once():
    mlp, weight, hidden, gradients = made_mlp(m=512, d=192)
    statistics = moments(hidden, gradients)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        order_neurons(mlp, {"down": weight}, statistics, 1e-6, 0.05, has_bias=False)
    changes = (e.nbytes() for e in seen.profiler.kineto_results.events() if e.name() == "[memory]")
    assert max(itertools.accumulate(changes)) <= 4 * 8 * 512**2
