"""The laws of METHODS' spectra, on tall, wide and square weights with correlated inputs."""

from __future__ import annotations

import pytest
import torch

from engine.calibration.sides import is_wide, needs_input_moment
from engine.calibration.statistics import LayerStatistics
from engine.errors import NumericalError
from engine.factorization import cholesky_damped, factorize_group
from engine.factorization.blocks import group_energies
from engine.factorization.skip import to_skip
from engine.types import InputGroup, Metric, Projection

IN = 24
SHAPES = {"tall": (40,), "wide": (10,), "square": (24,), "group": (24, 10, 40), "narrow group": (6, 5)}


def correlated(rows: int, width: int, seed: int, offset: float = 0.5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator, dtype=torch.float64)
    mixing *= torch.logspace(0, -2, width, dtype=torch.float64)[:, None]
    return torch.randn(rows, width, generator=generator, dtype=torch.float64) @ mixing + offset


class Case:
    """A group with its true data, and the statistics the engine would have collected."""

    def __init__(self, outs: tuple[int, ...], *, identity_gradients: bool = False) -> None:
        members = tuple(Projection(f"p{i}", 0, f"p{i}", out, IN) for i, out in enumerate(outs))
        self.group = InputGroup(members)
        self.n_sequences, self.length = 8, 40
        self.x = correlated(self.n_sequences * self.length, IN, 1)
        self.weights, self.hs = {}, {}
        n = len(self.x)
        means = self.x.view(self.n_sequences, self.length, IN).mean(1)
        self.statistics = LayerStatistics(0, n)
        self.statistics.means[self.group.name] = means
        self.second = self.x.T @ self.x / n
        if needs_input_moment(self.group):
            self.statistics.inputs[self.group.name] = self.second
        for i, projection in enumerate(members):
            w = correlated(projection.out_features, IN, 10 + i, offset=0.0)
            g = correlated(n, projection.out_features, 20 + i, offset=0.0)
            h = g.T @ g / n
            if identity_gradients:
                h = torch.eye(projection.out_features, dtype=torch.float64)
            self.weights[projection.name], self.hs[projection.name] = w, h
            self.statistics.gradients[projection.name] = h if is_wide(projection) else w.T @ h @ w
            if not needs_input_moment(self.group):
                self.statistics.outputs[projection.name] = w @ self.second @ w.T

    def stacked(self, members):
        return torch.cat([self.weights[m] for m in members])

    def loss_energy(self, error, members):
        start, total = 0, 0.0
        for m in members:
            rows = error[start : start + len(self.weights[m])]
            start += len(rows)
            total += torch.trace(self.hs[m] @ rows @ self.second @ rows.T).item()
        return total

    def factors(self, metric, damping=1e-9):
        return factorize_group(self.group, self.weights, self.statistics, metric, damping)


@pytest.fixture(params=SHAPES)
def case(request):
    return Case(SHAPES[request.param])


@pytest.mark.parametrize("metric", Metric)
def test_full_rank_reproduces_the_weight(case, metric):
    for block in case.factors(metric):
        w = case.stacked(block.members)
        left, right = block.at_rank(len(block.energies), w.float())
        torch.testing.assert_close((left @ right).double(), w, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("metric", [Metric.WEIGHT, Metric.INPUT, Metric.LOSS])
def test_discarded_energy_is_the_error_of_the_metric_at_every_rank(case, metric):
    for block in case.factors(metric):
        w = case.stacked(block.members)
        total = block.energies.sum().item()
        for rank in range(len(block.energies) + 1):
            left, right = block.at_rank(rank, w.float())
            error = w - (left @ right).double()
            direct = {
                Metric.WEIGHT: lambda e: e.square().sum().item(),
                Metric.INPUT: lambda e: (case.x @ e.T).square().sum().item() / len(case.x),
                Metric.LOSS: lambda e, b=block: case.loss_energy(e, b.members),
            }[metric](error)
            assert block.energies[rank:].sum().item() == pytest.approx(direct, rel=1e-3, abs=1e-6 * total)


@pytest.mark.parametrize("metric", [Metric.WEIGHT, Metric.INPUT, Metric.LOSS])
def test_predicted_nats_are_half_the_loss_energy_whatever_was_decomposed(case, metric):
    for block in case.factors(metric):
        w = case.stacked(block.members)
        for rank in range(len(block.energies) + 1):
            left, right = block.at_rank(rank, w.float())
            direct = case.loss_energy(w - (left @ right).double(), block.members) / 2
            assert block.nats[rank].item() == pytest.approx(direct, rel=1e-3, abs=1e-6 * block.nats[0].item())


def test_feature_is_pca_of_the_outputs_pooled_over_sequences(case):
    """A literal transcription: the covariance of each sequence around its own mean, averaged."""
    for block in case.factors(Metric.FEATURE):
        w = case.stacked(block.members)
        y = (case.x @ w.T).view(case.n_sequences, case.length, -1)
        centred = y - y.mean(1, keepdim=True)
        pooled = (centred.transpose(1, 2) @ centred / case.length).mean(0)
        expected = torch.linalg.eigvalsh(pooled).flip(0)[: len(block.energies)]
        torch.testing.assert_close(block.energies, expected, rtol=1e-6, atol=1e-9 * expected[0].item())
        vectors = torch.linalg.eigh(pooled).eigenvectors.flip(1)[:, :4]
        left, right = block.at_rank(4, w.float())
        product = vectors @ vectors.T @ w
        torch.testing.assert_close((left @ right).double(), product, rtol=1e-3, atol=1e-4)
        assert block.offset is not None
        torch.testing.assert_close(block.offset.double(), case.x.mean(0), rtol=1e-5, atol=1e-5)


def test_feature_pools_groups_of_sequences_around_their_own_means(case):
    """A literal transcription with m = 4 groups of two sequences: what differs between a group's two stays."""
    statistics = case.statistics.grouped(4)
    for block in factorize_group(case.group, case.weights, statistics, Metric.FEATURE, 1e-9):
        w = case.stacked(block.members)
        y = (case.x @ w.T).view(4, 2 * case.length, -1)
        covariances = [torch.cov(group.T, correction=0) for group in y]
        pooled = sum(covariances) / len(covariances)
        expected = torch.linalg.eigvalsh(pooled).flip(0)[: len(block.energies)]
        torch.testing.assert_close(block.energies, expected, rtol=1e-6, atol=1e-9 * expected[0].item())
        mean = torch.stack([group.mean(0) for group in y]).mean(0)
        torch.testing.assert_close(w @ block.offset.double(), mean, rtol=1e-4, atol=1e-4)


def test_between_sequence_scatter_within_a_group_is_kept():
    """Two sequences whose outputs are constant, at +1 and -1: nothing varies within either, all of it between."""
    case = Case((10,))
    direction = torch.zeros(IN, dtype=torch.float64)
    direction[0] = 1.0
    case.statistics.means[case.group.name] = torch.stack([direction, -direction] * 4)
    case.statistics.inputs.clear()
    w = case.weights["p0"]
    case.statistics.outputs["p0"] = w @ torch.outer(direction, direction) @ w.T
    spread = w[:, 0].square().sum().item()
    alone, pairs = (
        factorize_group(case.group, case.weights, s, Metric.FEATURE, 1e-9)[0].energies.sum().item()
        for s in (case.statistics, case.statistics.grouped(4))
    )
    assert alone == pytest.approx(0, abs=1e-9 * spread)
    assert pairs == pytest.approx(spread)


def test_input_and_uncentred_feature_give_the_same_product(case):
    case.statistics.means[case.group.name].zero_()
    for plain, feature in zip(case.factors(Metric.INPUT), case.factors(Metric.FEATURE), strict=True):
        w = case.stacked(plain.members).float()
        for rank in (1, 3, len(plain.energies)):
            torch.testing.assert_close(
                torch.mm(*plain.at_rank(rank, w)), torch.mm(*feature.at_rank(rank, w)), rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize("shape", SHAPES)
def test_loss_with_identity_gradients_is_input(shape):
    case = Case(SHAPES[shape], identity_gradients=True)
    for plain, loss in zip(case.factors(Metric.INPUT), case.factors(Metric.LOSS), strict=True):
        torch.testing.assert_close(plain.energies, loss.energies, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_input_with_identity_moments_is_weight(shape):
    case = Case(SHAPES[shape])
    case.statistics.inputs.update({n: torch.eye(IN, dtype=torch.float64) for n in case.statistics.inputs})
    case.statistics.outputs.update({n: case.weights[n] @ case.weights[n].T for n in case.statistics.outputs})
    for plain, weight in zip(case.factors(Metric.INPUT), case.factors(Metric.WEIGHT), strict=True):
        torch.testing.assert_close(plain.energies, weight.energies, rtol=1e-6, atol=1e-9)
        singular = torch.linalg.svdvals(case.stacked(plain.members))[: len(plain.energies)]
        torch.testing.assert_close(weight.energies.sqrt(), singular, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("metric", Metric)
def test_energies_alone_equal_those_of_the_factors(case, metric):
    alone = group_energies(case.group, case.weights, case.statistics, metric, 1e-9)
    for block in case.factors(metric):
        torch.testing.assert_close(alone[block.members], block.energies, rtol=1e-7, atol=1e-10)
        assert (block.energies.diff() <= 1e-12).all()
        assert (block.nats.diff() <= 1e-9 * block.nats[0]).all() or metric in {Metric.WEIGHT, Metric.FEATURE}


def test_damping_climbs_a_ladder_and_is_recorded():
    vector = torch.randn(12, 1, dtype=torch.float64)
    singular = vector @ vector.T - 1e-5 * torch.eye(12, dtype=torch.float64)
    factor, used = cholesky_damped(singular, 1e-6, "layer 3 q")
    assert 1e-6 < used <= 1e-2
    scale = singular.diagonal().mean()
    torch.testing.assert_close(factor @ factor.T, singular + used * scale * torch.eye(12, dtype=torch.float64))


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (torch.zeros(4, 4), "zero"),
        (torch.full((4, 4), float("nan")), "not finite"),
        (torch.diag(torch.tensor([3.0, 1.0, 1.0, -2.0])), "indefinite"),
    ],
)
def test_a_moment_that_cannot_be_factorised_names_the_projection(matrix, words):
    with pytest.raises(NumericalError, match=rf"model\.layers\.3\.q.*{words}"):
        cholesky_damped(matrix, 1e-6, "model.layers.3.q")


@pytest.mark.parametrize("metric", Metric)
def test_shrinking_is_factorising_with_evened_out_gradients(case, metric):
    """H becomes 0.7 H + 0.3 h I, with h such that the weight's gradient energy stays what it was."""
    shrunk = factorize_group(case.group, case.weights, case.statistics, metric, 1e-9, 0.3)
    for projection in case.group.members:
        w, h = case.weights[projection.name], case.hs[projection.name]
        scale = h.trace() / len(h) if is_wide(projection) else (w.T @ h @ w).trace() / (w.T @ w).trace()
        even = 0.7 * h + 0.3 * scale * torch.eye(len(h), dtype=torch.float64)
        case.statistics.gradients[projection.name] = even if is_wide(projection) else w.T @ even @ w
    for ours, theirs in zip(shrunk, case.factors(metric), strict=True):
        torch.testing.assert_close(ours.nats, theirs.nats, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(ours.energies, theirs.energies, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rank", [4, 10])
def test_columns_are_swapped_until_the_mix_is_bounded_and_the_product_is_the_same(rank):
    """Elimination with pivots alone lets the entries of this matrix grow to 2^(rank - 1)."""
    width = 30
    growing = torch.full((rank, rank), -1.0, dtype=torch.float64).tril(-1) + torch.eye(rank, dtype=torch.float64)
    rest = -torch.ones(width - rank, rank, dtype=torch.float64) * torch.linspace(0.5, 1, width - rank)[:, None]
    right = torch.cat([growing, rest]).T
    left = torch.arange(4.0 * rank, dtype=torch.float64).view(4, rank) / 10
    skipped = to_skip(left, right)
    assert skipped.mix.abs().max() <= 2.0
    x = torch.linspace(-1, 1, width, dtype=torch.float64)
    torch.testing.assert_close(skipped(x), left @ right @ x)
