"""The board's allocators, run by a real browser, against Python's: the same rank maps to the last rank."""

from __future__ import annotations

import base64
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from app.components import rank_board
from app.components.rank_board.curves import encode_curves, evaluated_json, presets_json
from app.components.rank_board.data import CONSTANTS, DTYPES, BoardState, content_of, devices_json, token_json
from app.costed_maps import CostedMap, NoMap, edited_maps
from engine.allocation import EvaluatedMap, allocators, best_searched
from engine.analysis.curves import group_curves
from engine.devices.value import presets
from engine.errors import InfeasibleBudgetError, RankScopeError
from engine.methods.allocate import Request, Target, allocate_to_target, rule_of
from engine.methods.cost import cost_of
from engine.methods.editing import held_blocks
from engine.methods.presets import PRESETS
from engine.methods.time_budget import Situation
from engine.precision import model_bytes
from engine.prediction.power_law import MeasuredRun, Predictor
from engine.rank_map.drafts import MapRequest
from engine.rank_map.identity import map_id
from engine.search.predicted import search_predictions
from engine.types import BlockRank, Budget, DistortionCurve, Format, GroupCurves, Metric
from tests.support.bare_board import METRICS, made_up_analysis, searched_maps
from tests.support.strategies import EVERY, FACTORED, STYLES, ToyModel, toy_locks, toy_model
from tests.support.tiers import sweep_unless

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap
    from engine.types import Allocation

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

MODULES = Path(rank_board.__file__).parent / "port"

PLAN = """async ([bytes, sent, cases]) => {
  const { decodeCurves } = await import("./curves.js");
  const { Planner } = await import("./planner.js");
  const { contentOf } = await import("./measured.js");
  const curves = await decodeCurves(Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0)));
  const shapes = Object.values(curves.metrics)[0].flatMap(({ separate }) => separate.map((c) => [c.members[0], c]));
  const planner = new Planner(curves, new Map(shapes));
  planner.learn(sent);
  return cases.map((state) => {
    const { plans } = planner.plan(state);
    return sent.methods.map(({ name, metric }) => {
      const plan = plans.get(name);
      if (!plan) return null;
      const content = contentOf(plan, metric, (member) => sent.places.indexOf(member));
      return [plan.blocks.map((b) => [b.members, b.format, b.rank]), plan.params, content, plan.nats];
    });
  });
}"""

WITHIN = """async ([bytes, sent, cases]) => {
  const { decodeCurves } = await import("./curves.js");
  const { Planner } = await import("./planner.js");
  const curves = await decodeCurves(Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0)));
  const shapes = Object.values(curves.metrics)[0].flatMap(({ separate }) => separate.map((c) => [c.members[0], c]));
  const planner = new Planner(curves, new Map(shapes));
  planner.learn(sent);
  return cases.map(([limit, held, dtype]) => planner.budgetWithin(limit, held, dtype));
}"""

SECONDS = """async ([bytes, sent, cases]) => {
  const { decodeCurves } = await import("./curves.js");
  const { Planner } = await import("./planner.js");
  const curves = await decodeCurves(Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0)));
  const shapes = Object.values(curves.metrics)[0].flatMap(({ separate }) => separate.map((c) => [c.members[0], c]));
  const planner = new Planner(curves, new Map(shapes));
  planner.learn(sent);
  const device = (place) => sent.devices[place];
  return cases.map(([blocks, dtype, place, ...used]) => planner.secondsOf({ blocks }, dtype, device(place), ...used));
}"""

RUN = """async ([bytes, constants, compressible, cases]) => {
  const { decodeCurves } = await import("./curves.js");
  const { Methods } = await import("./methods.js");
  const { NoAllocation } = await import("./blocks.js");
  const curves = await decodeCurves(Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0)));
  const methods = new Methods(curves);
  return cases.map(({ method, budget, locks, evaluated }) => {
    methods.learn({ constants, evaluated, compressible });
    try {
      const { blocks, params, nats, search } = methods.allocate(method, budget, locks);
      return { blocks: blocks.map((b) => [b.members, b.format, b.rank]), params, nats, search };
    } catch (error) {
      if (error instanceof NoAllocation) return null;
      throw error;
    }
  });
}"""


@pytest.fixture(scope="module")
def modules(browser: Browser) -> Iterator[Page]:
    """A bare page that can import the board's modules."""
    context = browser.new_context()
    page = context.new_page()

    def serve(route: Any) -> None:
        name = route.request.url.rsplit("/", 1)[1]
        script = name.endswith(".js")
        body = (MODULES / name).read_text(encoding="utf-8") if script else "<title>board</title>"
        route.fulfill(body=body, content_type="text/javascript" if script else "text/html")

    page.route("http://board.test/**", serve)
    page.goto("http://board.test/")
    yield page
    context.close()


def method(allocator: str, metric: Metric, formats: frozenset[Format]) -> dict[str, Any]:
    return {"allocator": allocator, "metric": metric.value, "formats": sorted(formats)}


def lock_json(lock: BlockRank) -> dict[str, Any]:
    return {"members": list(lock.members), "format": lock.format.value, "rank": lock.rank}


def one_by_one(lock: BlockRank) -> list[BlockRank]:
    """Return a lock as the board makes it: what is dense is held projection by projection."""
    return [BlockRank((name,), Format.DENSE, None) for name in lock.members] if lock.rank is None else [lock]


def blocks_of(allocation: Allocation | RankMap) -> list[list[Any]]:
    return [[list(b.members), b.format.value, b.rank] for b in allocation.blocks]


def cases_of(model: ToyModel, rng: np.random.Generator, n: int, rank_step: int) -> Iterator[tuple[Any, Any]]:
    """Yield what to ask the browser for and what Python answers (``None``: nothing fits)."""
    for _ in range(n):
        name = str(rng.choice(["water-filling", "water-filling", "uniform", "flrc"]))
        if name == "water-filling":
            formats = frozenset(f for f in EVERY if rng.random() < 0.7)
            metric = Metric.LOSS
        elif name == "uniform" and model.widths and rng.random() < 0.5:
            formats, metric = frozenset({Format.WIDTH}), Metric.LOSS
        else:
            formats, metric = frozenset({FACTORED[rng.integers(4)]}), (Metric.LOSS, Metric.INPUT)[rng.integers(2)]
        locks = toy_locks(model, int(rng.integers(2**32)), float(rng.choice([0.0, 0.1, 0.5])))
        held = [each for lock in locks for each in one_by_one(lock)]
        budget = model.budget(int(model.total * rng.choice([rng.random(), rng.integers(1, 21) / 20])))
        asked = {
            "method": method(name, metric, formats),
            "budget": budget.params,
            "locks": [lock_json(lock) for lock in held],
        }
        allocate = allocators.get(name)
        try:
            groups = curves_of(model)[metric]
            yield asked, allocate(groups, budget, formats=formats, locks=held, rank_step=rank_step)
        except RankScopeError:
            yield asked, None


def curves_of(model: ToyModel) -> dict[Metric, tuple[GroupCurves, ...]]:
    """Return the curves of two metrics, of which only one has widths, and that is not the first."""
    without = tuple(replace(group, width=None) for group in model.groups)
    return {Metric.INPUT: without, Metric.LOSS: model.groups}


def check(page: Page, model: ToyModel, cases: list[tuple[Any, Allocation | None]], rank_step: int) -> int:
    data = base64.b64encode(encode_curves(curves_of(model), rank_step, "toy")).decode()
    answers = page.evaluate(RUN, [data, CONSTANTS, model.total, [asked for asked, _ in cases]])
    for (asked, expected), answer in zip(cases, answers, strict=True):
        if expected is None:
            assert answer is None, asked
            continue
        assert answer is not None, asked
        assert answer["blocks"] == blocks_of(expected), asked
        assert answer["params"] == expected.params, asked
        if rank_step == 1:
            assert math.isclose(answer["nats"], expected.nats, rel_tol=1e-6, abs_tol=1e-12), asked
    return sum(expected is not None for _, expected in cases)


def held_at_random(analysis: Analysis, rng: np.random.Generator, share: float) -> dict[str, int]:
    """Hold some projections at ranks up to more than they have, sometimes a whole group at one, and some MLPs."""
    held = {}
    narrow = {mlp.name: mlp for mlp in analysis.inventory.mlps if rng.random() < share / 4}
    for name, mlp in narrow.items():
        held[name] = int(rng.integers(1, mlp.neurons + 1))
    inside = {p.name for mlp in narrow.values() for p in mlp.members}
    for group in analysis.inventory.groups:
        together = int(rng.integers(1, group.in_features + 1))
        for p in group.members:
            if rng.random() < share and p.name not in inside:
                held[p.name] = (
                    together if rng.random() < 0.5 else int(rng.integers(1, min(p.in_features, p.out_features) + 1))
                )
    return dict(sorted(held.items()))


def consistent(held: dict[str, int], analysis: Analysis) -> dict[str, int]:
    """Return what is held without the projections of MLPs that are held as such."""
    inside = {p.name for mlp in analysis.inventory.mlps if mlp.name in held for p in mlp.members}
    return {name: rank for name, rank in held.items() if name not in inside}


@pytest.mark.parametrize("n_layers", sweep_unless([2, 6], {2}))
def test_target_perplexities_and_maps_edited_by_hand(modules: Page, n_layers: int) -> None:
    rng = np.random.default_rng(n_layers)
    analysis, dense = made_up_analysis(n_layers, 24, mlps=True), 17.3
    curves = {metric: group_curves(analysis, metric) for metric in METRICS}
    runs = [MeasuredRun(Metric.LOSS, x, x * rng.lognormal(0.1, 0.1)) for x in rng.uniform(0.01, 2, 6)]
    predictor = Predictor.fit(runs)
    measured = searched_maps(curves[Metric.FEATURE], 9)
    predicted = search_predictions(analysis.inventory, analysis.nats[Metric.FEATURE])

    def maps_for(request: MapRequest) -> list[CostedMap | NoMap]:
        maps: list[CostedMap | NoMap] = []
        for name in PRESETS:
            target = (
                Target(keep=request.keep) if request.target is None else Target(perplexity_ratio=request.target / dense)
            )
            try:
                locks = held_blocks(request.held, PRESETS[name].formats, analysis)
                rule = rule_of(name, curves, Request(locks, evaluated=measured, predicted=predicted))
                found = allocate_to_target(analysis, name, rule, target, predictor)
                maps.append(CostedMap(name, found, cost_of(analysis, found)))
            except RankScopeError as error:
                maps.append(NoMap(name, str(error)))
        return maps

    states, expected = [], []
    for index in range(12):
        base_held = held_at_random(analysis, rng, float(rng.choice([0.0, 0.2])))
        target = float(np.round(dense * rng.uniform(1.02, 3), 2)) if index % 3 else None
        request = MapRequest(float(np.round(rng.uniform(0.4, 1), 3)), target, tuple(base_held.items()))
        states.append(BoardState(request.keep, request.target, held=request.held).to_json())
        expected.append(maps_for(request))
        held = tuple(consistent(base_held | held_at_random(analysis, rng, 0.3), analysis).items())
        states.append(BoardState(held=held, base=request).to_json())
        expected.append(edited_maps(expected[-1], held, analysis))

    sent = {
        "constants": CONSTANTS,
        "methods": presets_json(PRESETS.values()),
        "evaluated": evaluated_json(measured, curves[Metric.FEATURE]),
        "predictor": predictor.to_json(),
        "dense_perplexity": dense,
        "compressible": analysis.inventory.compressible_params,
        "places": list(analysis.projections),
    }
    data = base64.b64encode(encode_curves(curves, 1, "toy", predicted)).decode()
    checked, ids = 0, {}
    for state, wanted, got in zip(states, expected, modules.evaluate(PLAN, [data, sent, states]), strict=True):
        for costed, answer in zip(wanted, got, strict=True):
            if isinstance(costed, NoMap):
                assert answer is None, (costed, state)
                continue
            assert answer is not None, (costed.method, state)
            content = content_of(costed.rank_map, analysis)
            assert answer[:3] == [blocks_of(costed.rank_map), costed.cost.params, content], (costed.method, state)
            assert math.isclose(answer[3], costed.cost.nats, rel_tol=1e-9, abs_tol=1e-15)
            ids[content] = map_id(costed.rank_map)
            checked += 1
    assert checked > 60
    # What the browser compares tells maps apart exactly as the id does by which they are measured.
    assert len(set(ids.values())) == len(ids) > 40


@pytest.mark.parametrize("n_layers", sweep_unless([2, 5], {2}))
def test_megabytes_are_a_ceiling_for_every_method(modules: Page, n_layers: int) -> None:
    rng = np.random.default_rng(n_layers)
    analysis = made_up_analysis(n_layers, 24, mlps=True)
    curves = {metric: group_curves(analysis, metric) for metric in METRICS}
    searched = searched_maps(curves[Metric.FEATURE], 9)
    inventory = analysis.inventory
    cases = []
    for index in range(30):
        dtype, held = DTYPES[index % len(DTYPES)], held_at_random(analysis, rng, 0.2) if index % 2 else {}
        dense = model_bytes(dtype, (), inventory)
        cases.append((float(np.round(rng.uniform(0.3, 1.05) * dense)), held, dtype))

    def maps_at(params: int, held: dict[str, int]) -> Iterator[Allocation]:
        for name in PRESETS:
            locks = held_blocks(tuple(held.items()), PRESETS[name].formats, analysis)
            with suppress(RankScopeError):
                rule = rule_of(name, curves, Request(locks, evaluated=searched))
                yield rule.allocate(Budget(params, inventory.compressible_params))

    def size(allocation: Allocation, dtype: str) -> int:
        return model_bytes(dtype, allocation.blocks, inventory)

    sent = {
        "constants": CONSTANTS,
        "methods": presets_json(PRESETS.values()),
        "evaluated": evaluated_json(searched, curves[Metric.FEATURE]),
        "compressible": inventory.compressible_params,
        "total": inventory.total_params,
    }
    data = base64.b64encode(encode_curves(curves, 1, "toy")).decode()
    asked = [[limit, held, dtype] for limit, held, dtype in cases]
    budgets = modules.evaluate(WITHIN, [data, sent, asked])
    n_tight = 0
    for (limit, held, dtype), budget in zip(cases, budgets, strict=True):
        assert all(size(each, dtype) <= limit for each in maps_at(budget, held)), (limit, dtype)
        # One parameter more, and some method's map would be larger than was asked for.
        if budget < inventory.compressible_params:
            assert any(size(each, dtype) > limit for each in maps_at(budget + 1, held)), (limit, dtype)
            n_tight += 1
    assert n_tight >= 20


def test_the_time_of_a_token_is_the_forecast_of_the_engine(modules: Page) -> None:
    rng = np.random.default_rng(3)
    analysis = made_up_analysis(3, 24, mlps=True)
    curves = {metric: group_curves(analysis, metric) for metric in METRICS}
    known = list(presets().items())
    cases, expected = [], []
    for index in range(40):
        method = ("water-filling", "skipcat", "svd-llm", "width")[index % 4]
        budget = Budget.of_kept_fraction(float(rng.uniform(0.5, 1)), analysis.inventory.compressible_params)
        blocks = rule_of(method, curves).allocate(budget).blocks
        if index % 8 == 0:
            blocks = tuple(replace(block, bits=16 if block.format.skips else 8) for block in blocks)
        dtype, place, batch = DTYPES[index % len(DTYPES)], int(rng.integers(len(known))), int(rng.choice([1, 64]))
        context = int(rng.choice([0, 1024, 100_000]))
        sent = [{"members": b.members, "format": b.format.value, "rank": b.rank, "bits": b.bits} for b in blocks]
        cases.append([sent, dtype, place, batch, context])
        expected.append(Situation(*known[place], dtype, batch, context).forecast(blocks, analysis.inventory).step_s)
    sent = {
        "constants": CONSTANTS,
        "methods": presets_json(PRESETS.values()),
        "evaluated": [],
        "compressible": analysis.inventory.compressible_params,
        "total": analysis.inventory.total_params,
        "devices": devices_json(dict(known)),
        "token": token_json(analysis),
    }
    data = base64.b64encode(encode_curves(curves, 1, "toy")).decode()
    assert modules.evaluate(SECONDS, [data, sent, cases]) == pytest.approx(expected, rel=1e-12)


def large_model(seed: int, n_layers: int, width: int) -> ToyModel:
    """Return a model of seven projections a layer in the demo's groups, with spectra that fall as real ones do.

    Its MLPs can be narrowed, for about as many nats as ranks cost.
    """
    rng = np.random.default_rng(seed)

    def curve(members: tuple[str, ...], n_in: int, n_out: int) -> DistortionCurve:
        full = min(n_in, n_out)
        energies = rng.lognormal(-9, 1) * np.arange(1, full + 1) ** -rng.uniform(0.5, 1.5)
        energies *= rng.lognormal(0, 0.01, full)
        nats = np.append(np.cumsum(np.sort(energies))[::-1], 0.0)
        return DistortionCurve(members, n_in, n_out, nats, float(rng.lognormal(0, 2)))

    groups = []
    shapes = (("qkv", width, (width, width // 4, width // 4)), ("o", width, (width,)))
    shapes += (("gu", width, (width * 3, width * 3)), ("d", width * 3, (width,)))
    for layer in range(n_layers):
        for name, n_in, outs in shapes:
            names = tuple(f"layers.{layer}.{name}{m}" for m in range(len(outs)))
            separate = tuple(curve((member,), n_in, n_out) for member, n_out in zip(names, outs, strict=True))
            groups.append(GroupCurves(separate, curve(names, n_in, sum(outs)) if len(outs) > 1 else None))
        (gate, up), (down,) = groups[-2].separate, groups[-1].separate
        nats = np.linspace(1, 0, down.in_features + 1) ** 3 * sum(c.nats[0] for c in (gate, up, down))
        members = (gate.name, up.name, down.name)
        widths = DistortionCurve(members, down.in_features, 3 * width, nats * rng.uniform(0.5, 1.5), 0.0)
        groups[-1] = GroupCurves((down,), None, widths)
    return ToyModel(tuple(groups))


@pytest.mark.parametrize("style", sweep_unless([None, *STYLES], {None, "steps"}))  # without one: any in turns
def test_small_models_with_ties_and_odd_curves(modules: Page, style: str | None) -> None:
    rng = np.random.default_rng([7, *(style or "").encode()])
    checked = 0
    for index in range(12):
        model = toy_model(
            int(rng.integers(2**32)),
            int(rng.integers(1, 6)),
            int(rng.integers(1, 25)),
            style,
            truncated=index % 2 == 1,
            mlps=index % 3 > 0,
            experts=index % 4 < 2,
        )
        checked += check(modules, model, list(cases_of(model, rng, 20, 1)), 1)
    assert checked >= 60


@pytest.mark.parametrize(
    ("n_layers", "width", "rank_step"), [(32, 96, 1), pytest.param(80, 64, 1, marks=pytest.mark.sweep), (32, 96, 8)]
)
def test_models_of_224_and_560_projections(modules: Page, n_layers: int, width: int, rank_step: int) -> None:
    rng = np.random.default_rng([n_layers, rank_step])
    model = large_model(n_layers, n_layers, width)
    assert len(model.curves) == 7 * n_layers
    cases = list(cases_of(model, rng, 24, 1))
    if rank_step > 1:
        cases = [case for case in cases_of(model, rng, 24, rank_step) if not case[0]["locks"]]
    assert check(modules, model, cases, rank_step) >= 4


def test_searched_maps_are_taken_as_they_were_found(modules: Page) -> None:
    model = toy_model(5, 3, 12, "spectrum")
    rng = np.random.default_rng(0)
    found = []
    for k in range(40):
        allocation = allocators.get("uniform")(
            model.groups, model.budget(int(model.total * rng.uniform(0.4, 1))), formats=frozenset({Format.LOW_RANK})
        )
        objective = float(rng.integers(4))
        found.append(
            EvaluatedMap(allocation.blocks, allocation.params, objective, f"m{k % 3}", f"2026-01-{k // 4:02d}")
        )
    evaluated = evaluated_json(found, model.groups)
    wanted = method("best-searched", Metric.LOSS, frozenset({Format.LOW_RANK}))
    cases: list[tuple[Any, Allocation | None]] = []
    for share in np.linspace(0.1, 1, 50):
        budget = model.budget(int(model.total * share))
        asked = {"method": wanted, "budget": budget.params, "locks": [], "evaluated": evaluated}
        try:
            cases.append((asked, best_searched(found, None, model.groups, budget)))
        except RankScopeError:
            cases.append((asked, None))
    assert check(modules, model, cases, 1) > 20


def test_predicted_maps_answer_where_no_measured_one_is_near(modules: Page) -> None:
    analysis = made_up_analysis(3, 96)
    groups = group_curves(analysis, Metric.FEATURE)
    predicted = search_predictions(analysis.inventory, analysis.nats[Metric.FEATURE])
    total = analysis.inventory.compressible_params
    measured = [one for one in searched_maps(groups, 12) if 0.5 < one.params / total < 0.6]
    assert measured
    budgets = [Budget.of_kept_fraction(float(kept), total) for kept in np.linspace(0.15, 1, 200)]
    wanted = method("best-searched", Metric.FEATURE, frozenset({Format.LOW_RANK}))
    evaluated = evaluated_json(measured, groups)
    cases = [{"method": wanted, "budget": b.params, "locks": [], "evaluated": evaluated} for b in budgets]
    data = base64.b64encode(encode_curves({Metric.FEATURE: groups}, 1, "toy", predicted)).decode()
    answers = modules.evaluate(RUN, [data, CONSTANTS, total, cases])
    kinds = []
    for budget, answer in zip(budgets, answers, strict=True):
        try:
            expected = best_searched(measured, predicted, groups, budget)
        except InfeasibleBudgetError:
            assert answer is None
            continue
        assert answer["blocks"] == blocks_of(expected)
        assert (answer["params"], answer["nats"]) == (expected.params, expected.nats)
        assert answer["params"] <= budget.params
        is_measured = any(one.blocks == expected.blocks for one in measured)
        assert answer["search"] == ("measured" if is_measured else "predicted")
        kinds.append(answer["search"])
    assert min(kinds.count("measured"), kinds.count("predicted")) > 20


def test_predictions(modules: Page) -> None:
    rng = np.random.default_rng(3)
    runs = [MeasuredRun(Metric.LOSS, x, x * rng.lognormal(0.1, 0.1)) for x in rng.uniform(0.01, 2, 12)]
    for predictor in (Predictor.fit([]), Predictor.fit(runs)):
        nats = [0.0, *np.geomspace(1e-9, 30, 200).tolist()]
        for metric in (Metric.LOSS, Metric.INPUT):
            got = modules.evaluate(
                """async ([predictor, metric, nats]) => {
                  const { predictPerplexity } = await import("./prediction.js");
                  return nats.map((value) => predictPerplexity(predictor, metric, value, 20.5));
                }""",
                [predictor.to_json(), metric.value, nats],
            )
            for value, answer in zip(nats, got, strict=True):
                expected = predictor.predict(value, metric).perplexities(20.5)
                for got_value, wanted in zip(answer, expected, strict=True):
                    found = math.inf if got_value is None else got_value
                    assert found == wanted or math.isclose(found, wanted, rel_tol=1e-6)


@pytest.mark.parametrize("script", [rank_board.BOARD_SCRIPT, rank_board.CURVES_SCRIPT])
def test_the_modules_joined_for_streamlit_are_one_module(modules: Page, script: str) -> None:
    load = """async (script) => {
      const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
      return typeof (await import(address)).default;
    }"""
    assert modules.evaluate(load, script) == "function"
