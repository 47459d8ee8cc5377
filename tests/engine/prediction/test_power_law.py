from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import NumericalError
from engine.prediction.power_law import (
    CENTRE,
    EXPONENTS,
    LEVEL_SPREAD,
    METRIC_SLOPE_SPREAD,
    METRIC_SPREAD,
    NOISE,
    PRIOR_RUNS,
    SLOPE_SPREAD,
    TEXT_NOISE,
    MeasuredRun,
    Prediction,
    Predictor,
    predict_left_out,
)
from engine.prediction.runs import predictor_on, reference_text, with_predictions
from engine.results.rows import PerplexityResult, Provenance, ResultRow, SizeResult
from engine.results.texts import measured_texts
from engine.types import Metric
from tests.support.examples import examples

metrics = st.sampled_from(list(Metric))
measured = st.builds(
    MeasuredRun,
    metrics,
    st.floats(0, 1e3) | st.floats(0, 0.02),
    st.floats(-1, 1e3) | st.floats(-1e-3, 1e-3),
)
many_runs = st.lists(measured, max_size=12)
nats = st.floats(0, 1e6) | st.floats(0, 2)


def law_runs(rng, n, scale, exponent, metric=Metric.LOSS, noise=0.0):
    xs = np.exp(rng.uniform(np.log(0.05), np.log(1.5), n))
    ys = scale * xs**exponent * np.exp(noise * rng.standard_normal(n))
    return [MeasuredRun(metric, float(x), float(y)) for x, y in zip(xs, ys, strict=True)]


def test_without_runs_the_prediction_is_the_identity_with_a_wide_interval():
    predictor = Predictor.fit([])
    assert predictor.n_runs == 0
    for metric in Metric:
        for value in (0.01, 0.5, 3.0):
            found = predictor.predict(value, metric)
            assert found.nll_increase == pytest.approx(value)
            assert found.low < value / 1.8
            assert found.high > value * 1.8


@given(many_runs, metrics, nats, nats)
@examples(2000)
def test_predictions_increase_from_zero_and_lie_in_their_interval(runs, metric, first, second):
    predictor = Predictor.fit(runs)
    assert predictor.predict(0.0, metric) == Prediction(0.0, 0.0, 0.0)
    low, high = sorted((first, second))
    smaller, larger = predictor.predict(low, metric), predictor.predict(high, metric)
    assert 0 <= smaller.nll_increase <= larger.nll_increase
    if high > low * (1 + 1e-9) + 1e-12:
        assert smaller.nll_increase < larger.nll_increase
    for found in (smaller, larger):
        assert found.low <= found.nll_increase <= found.high
        assert math.isfinite(found.nll_increase)


@given(many_runs, metrics)
@examples(300)
def test_every_law_is_increasing_and_its_variance_positive(runs, metric):
    law = Predictor.fit(runs).laws[metric]
    assert law.scale > 0
    assert EXPONENTS[0] <= law.exponent <= EXPONENTS[1]
    # v0 + v1 u + v2 u^2 is positive everywhere.
    assert law.v0 > 0
    assert 4 * law.v0 * law.v2 > law.v1**2


@given(st.lists(measured, min_size=1, max_size=10), st.integers(0, 9), st.floats(-1, 100))
@examples(400)
def test_a_runs_own_measurement_never_enters_its_prediction(runs, index, other):
    index %= len(runs)
    changed = [*runs]
    changed[index] = replace(runs[index], increase=other)
    assert predict_left_out(runs)[index] == predict_left_out(changed)[index]
    rest = Predictor.fit([*runs[:index], *runs[index + 1 :]])
    expected = rest.predict(runs[index].nats, runs[index].metric)
    found = predict_left_out(runs)[index]
    assert found.nll_increase == pytest.approx(expected.nll_increase, rel=1e-6)
    assert found.high == pytest.approx(expected.high, rel=1e-6)


@given(many_runs)
@examples(300)
def test_the_order_of_runs_does_not_matter(runs):
    forth, back = Predictor.fit(runs), Predictor.fit(runs[::-1])
    for metric in Metric:
        assert forth.laws[metric].scale == pytest.approx(back.laws[metric].scale, rel=1e-9)
        assert forth.laws[metric].v0 == pytest.approx(back.laws[metric].v0, rel=1e-9)


@pytest.mark.parametrize(("scale", "exponent"), [(1.2, 1.0), (0.8, 0.9), (1.6, 0.95)])
def test_a_law_in_the_data_is_found(scale, exponent):
    runs = law_runs(np.random.default_rng(0), 40, scale, exponent)
    predictor = Predictor.fit(runs)
    for value in (0.1, 0.5, 1.4):
        assert predictor.predict(value, Metric.LOSS).nll_increase == pytest.approx(scale * value**exponent, rel=0.03)


def test_one_run_moves_the_level_and_hardly_the_exponent():
    predictor = Predictor.fit([MeasuredRun(Metric.LOSS, 0.5, 1.0)])
    law, other = predictor.laws[Metric.LOSS], predictor.laws[Metric.INPUT]
    assert 0.85 < predictor.predict(0.5, Metric.LOSS).nll_increase < 1.0
    assert law.exponent == pytest.approx(1.0, abs=0.01)
    # A metric that was not measured follows part of the way.
    assert 0.5 < other.predict(0.5).nll_increase < law.predict(0.5).nll_increase
    assert other.v0 > law.v0


def test_the_variance_is_that_of_the_gaussian_process_with_the_priors_covariance():
    runs = [*law_runs(np.random.default_rng(2), 3, 1.3, 0.9), MeasuredRun(Metric.FEATURE, 0.3, 0.4)]

    def prior(first, second):
        (metric, u), (other, v) = first, second
        shared = LEVEL_SPREAD**2 + SLOPE_SPREAD**2 * u * v
        return shared + (metric == other) * (METRIC_SPREAD**2 + METRIC_SLOPE_SPREAD**2 * u * v)

    places = [(run.metric, math.log(run.nats) - CENTRE) for run in runs]
    noise = [NOISE**2 + (TEXT_NOISE / run.nats) ** 2 for run in runs]
    known = np.array([[prior(a, b) for b in places] for a in places]) + np.diag(noise)

    def variance(u):
        at = (Metric.LOSS, u)
        to_known = np.array([prior(at, place) for place in places])
        return prior(at, at) - to_known @ np.linalg.solve(known, to_known) + NOISE**2

    law = Predictor.fit(runs).laws[Metric.LOSS]
    for u in (-2.0, 0.7, 3.0):
        assert (law.v0 + law.v1 * u + law.v2 * u**2) / law.v0 == pytest.approx(variance(u) / variance(0.0))


def test_intervals_hold_nine_in_ten_of_new_runs_and_shrink_with_runs():
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        predictor = Predictor.fit(law_runs(rng, 10, 1.3, 0.9, noise=0.2))
        for run in law_runs(rng, 10, 1.3, 0.9, noise=0.2):
            found = predictor.predict(run.nats, run.metric)
            held.append(found.low <= run.increase <= found.high)
    assert np.mean(held) == pytest.approx(0.9, abs=0.03)
    widths = []
    for n in (0, 2, 10, 60):
        found = Predictor.fit(law_runs(np.random.default_rng(2), n, 1.3, 0.9, noise=0.05)).predict(0.5, Metric.LOSS)
        widths.append(found.high / found.low)
    assert widths == sorted(widths, reverse=True)


DAMAGES = [(0.001, 0.005), (0.005, 0.02), (0.02, 0.05), (0.05, 1.5)]
SPREADS = np.array([LEVEL_SPREAD, SLOPE_SPREAD, *[METRIC_SPREAD] * 4, *[METRIC_SLOPE_SPREAD] * 4])


def drawn_run(rng, deviations, noise, between):
    """Return a run of a world whose laws deviate so, measured on a text with its noise."""
    place, value = rng.integers(4), math.exp(rng.uniform(*np.log(between)))
    u = math.log(value) - CENTRE
    level, slope = deviations[0] + deviations[2 + place], deviations[1] + deviations[6 + place]
    log_ratio = level + slope * u + noise * rng.standard_normal()
    return MeasuredRun(list(Metric)[place], value, value * math.exp(log_ratio) + TEXT_NOISE * rng.standard_normal())


@pytest.mark.parametrize("n_runs", [0, 4, 20])
def test_intervals_hold_nine_in_ten_at_every_damage_in_worlds_drawn_from_the_prior(n_runs):
    """At small damage, too, where what the text is uncertain by is larger than the increase."""
    rng, held = np.random.default_rng(n_runs), {between: [] for between in DAMAGES}
    for _ in range(1000):
        # The prior's widths are an estimate as of so many runs.
        scatter = math.sqrt(PRIOR_RUNS / rng.chisquare(PRIOR_RUNS))
        deviations, noise = scatter * SPREADS * rng.standard_normal(10), scatter * NOISE
        predictor = Predictor.fit([drawn_run(rng, deviations, noise, (0.005, 1.5)) for _ in range(n_runs)])
        for between in DAMAGES:
            run = drawn_run(rng, deviations, noise, between)
            found = predictor.predict(run.nats, run.metric)
            held[between].append(found.low <= run.increase <= found.high)
    assert {between: np.mean(of) for between, of in held.items()} == pytest.approx(
        dict.fromkeys(DAMAGES, 0.9), abs=0.06
    )


def test_runs_that_scatter_widen_the_interval():
    calm, wild = (
        Predictor.fit(law_runs(np.random.default_rng(3), 20, 1.0, 1.0, noise=noise)).predict(0.5, Metric.LOSS)
        for noise in (0.05, 0.5)
    )
    assert wild.high / wild.low > 2 * calm.high / calm.low


def test_one_absurd_run_does_not_rule():
    runs = law_runs(np.random.default_rng(4), 20, 1.1, 1.0)
    for increase in (-3.0, 0.0, 1e6):
        found = Predictor.fit([*runs, MeasuredRun(Metric.LOSS, 0.5, increase)]).predict(0.5, Metric.LOSS)
        assert found.nll_increase == pytest.approx(0.55, rel=0.15)


def test_runs_of_next_to_no_damage_move_next_to_nothing():
    before = Predictor.fit([]).predict(0.5, Metric.LOSS)
    after = Predictor.fit([MeasuredRun(Metric.LOSS, TEXT_NOISE / 20, 5.0)]).predict(0.5, Metric.LOSS)
    assert after.nll_increase == pytest.approx(before.nll_increase, rel=0.01)
    assert after.high == pytest.approx(before.high, rel=0.2)
    dense = MeasuredRun(Metric.LOSS, 0.0, 0.1)
    assert Predictor.fit([dense]) == Predictor.fit([])


def test_the_formula_can_be_evaluated_from_the_json_alone():
    predictor = Predictor.fit(law_runs(np.random.default_rng(5), 9, 0.8, 0.9, Metric.INPUT, 0.1))
    document = json.loads(json.dumps(predictor.to_json()))
    assert Predictor.from_json(document) == predictor
    law = document["laws"]["input"]
    found = predictor.predict(0.7, Metric.INPUT)
    assert found.nll_increase == pytest.approx(law["scale"] * 0.7 ** law["exponent"])
    u = math.log(0.7) - document["centre"]
    width = document["deviations"] * math.sqrt(law["v0"] + law["v1"] * u + law["v2"] * u**2)
    of_text = document["deviations"] * document["text_noise"]
    increase = found.nll_increase
    assert found.high == pytest.approx(increase + math.hypot(increase * (math.exp(width) - 1), of_text))
    assert found.low == pytest.approx(increase - math.hypot(increase * (1 - math.exp(-width)), of_text))


def test_perplexities_are_exponentials_and_ruin_is_infinite():
    assert Prediction(math.log(2), 0.0, math.log(3)).perplexities(10.0) == pytest.approx((20.0, 10.0, 30.0))
    for value in (1e4, 1e300, math.inf):
        found = Predictor.fit([]).predict(value, Metric.LOSS)
        assert found.perplexities(20.0)[0] == math.inf


def test_what_is_no_number_is_refused():
    with pytest.raises(NumericalError):
        Predictor.fit([]).predict(math.nan, Metric.LOSS)
    for perplexity in (math.nan, 0.5):
        with pytest.raises(NumericalError):
            Prediction(0.0, 0.0, 0.0).perplexities(perplexity)
    for values in ((math.nan, 1.0), (1.0, math.inf)):
        with pytest.raises(NumericalError):
            MeasuredRun(Metric.LOSS, *values)


def measured(name, *perplexities, nats, metric=Metric.LOSS):
    size = SizeResult(100, 0.5, 200, 0, {"float16": 400}, nats)
    return ResultRow(name, "flrc", metric, None, None, size, perplexities)


def perplexity(increase, *, text="notes", dense_nll=3.0, dtype="float32", n_tokens=252, created="2026-01-01"):
    provenance = Provenance(
        "evaluation/1", created, "m", "0" * 64, None, "a", None, None, dtype, "cpu", {"torch": "2"}, 1.0
    )
    dense = math.exp(dense_nll)
    setting = (text, 4, n_tokens, dtype, dense_nll)
    return PerplexityResult(
        text, 4, n_tokens, dense * math.exp(increase), dense, 0.1, 0.9, None, setting, provenance, False
    )


def rows_on_notes():
    return [measured(f"map {x}", perplexity(1.5 * x), nats=x) for x in (0.2, 0.4, 0.8)]


def predictions(rows):
    return {row.id: [p.prediction for p in row.perplexities] for row in with_predictions(rows)}


def test_texts_are_never_mixed():
    first = rows_on_notes()
    others = [
        measured("other text", perplexity(6.0, text="other"), nats=0.4),
        measured("other content", perplexity(6.0, dense_nll=3.1), nats=0.4),
        measured("other type", perplexity(6.0, dtype="bfloat16"), nats=0.4),
    ]
    alone, mixed = predictions(first), predictions([others[0], first[0], others[1], *first[1:], others[2]])
    assert {name: mixed[name] for name in alone} == alone
    assert [found.calibrated_on for (found,) in alone.values()] == [2, 2, 2]
    for row in others:
        (found,) = mixed[row.id]
        assert found.calibrated_on == 0
        assert found.perplexity == pytest.approx(row.perplexities[0].dense_perplexity * math.exp(0.4))
    assert predictor_on(reference_text([*others, *first])).n_runs == 3


def test_stored_runs_carry_their_interval():
    for (found,), row in zip(predictions(rows_on_notes()).values(), rows_on_notes(), strict=True):
        assert row.perplexities[0].dense_perplexity < found.low < found.perplexity < found.high


def test_a_map_is_not_predicted_from_itself_however_often_it_was_measured():
    twice = measured("map 0.2", perplexity(0.3, created="2026-02-02"), perplexity(0.9), nats=0.2)
    rows = [twice, *rows_on_notes()[1:]]
    own = predictions(rows)["map 0.2"]
    assert own[0] == own[1]
    assert own[0].calibrated_on == 2
    assert predictor_on(reference_text(rows)).n_runs == 3


def test_refined_factors_and_the_dense_model_are_neither_predicted_nor_learned_from():
    first = rows_on_notes()
    refined = replace(first[0], id="map 0.2+1", refinement="trained")
    dense = replace(measured("dense", perplexity(0.0), nats=0.0), metric=None)
    found = predictions([dense, refined, *first])
    assert found["dense"] == found["map 0.2+1"] == [None]
    assert found["map 0.2"][0].calibrated_on == 2


def test_the_text_with_most_maps_comes_first_then_the_longer_one_then_the_newest():
    def order(*texts):
        """Each text is its name, the number of maps, its tokens and when it was measured."""
        rows = [
            measured(f"{name} {i}", perplexity(0.5, text=name, n_tokens=tokens, created=created), nats=0.5)
            for name, n_maps, tokens, created in texts
            for i in range(n_maps)
        ]
        return [text.name for text in measured_texts(rows)]

    assert order(("a", 1, 900, "2026-03"), ("b", 2, 100, "2026-01")) == ["b", "a"]
    assert order(("a", 1, 100, "2026-03"), ("b", 1, 900, "2026-01")) == ["b", "a"]
    assert order(("a", 1, 100, "2026-01"), ("b", 1, 100, "2026-03")) == ["b", "a"]
    assert reference_text([measured("dense", perplexity(0.0), nats=0.0)]) is None
    assert predictor_on(None).n_runs == 0
