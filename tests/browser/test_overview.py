"""The Overview's slider in a real browser: everything follows the pointer, and Python confirms."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from app.components import live_overview, rank_board
from app.components.live_overview.data import OverviewInput
from app.components.rank_board.curves import encode_curves
from app.costed_maps import CostedMap
from app.services import allocation, measurements
from engine.analysis.curves import group_curves
from engine.devices.known import THIS_MACHINE
from engine.devices.value import presets
from engine.methods.allocate import rule_of
from engine.methods.time_budget import Situation
from engine.prediction.runs import predictor_on, reference_text
from engine.types import Budget
from tests.support.bare_board import METRICS, made_up_analysis
from tests.support.running_app import settled

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from engine.analysis.value import Analysis
    from tests.browser.conftest import Dashboard

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

OPEN = """async ([handing, script, curves, data]) => {
  const load = (source) => import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const [{ default: deliver }, { default: show }] = [await load(handing), await load(script)];
  deliver({ data: Uint8Array.from(atob(curves), (c) => c.charCodeAt(0)) });
  show({ data, parentElement: document.body, setStateValue: () => {} });
}"""
"""Shows an Overview without a dashboard around it."""

MOVE = "(slider, keep) => { slider.value = keep; slider.dispatchEvent(new Event('input')); }"


def best_params(analysis: Analysis, keep: float) -> int:
    """Return the parameters of the map that Python takes for the best."""
    predictor = predictor_on(reference_text(measurements.result_rows(analysis.id)))
    budget = Budget.of_kept_fraction(keep, analysis.inventory.compressible_params)
    maps = [p for p in allocation.method_maps(analysis.id, budget.params) if isinstance(p, CostedMap)]
    return min(maps, key=lambda p: predictor.predict(p.cost.nats, p.rank_map.metric).nll_increase).cost.params


def test_a_speed_says_which_model_is_faster(page: Page) -> None:
    words = (Path(live_overview.__file__).parent / "page" / "words.js").read_text(encoding="utf-8")
    page.evaluate(
        "async (source) => Object.assign(window, await import(`data:text/javascript,${source}`))", quote(words)
    )
    ratios = (1.141, 0.97, 1.003, 2.5)
    assert [page.evaluate("faster", ratio) for ratio in ratios] == [
        "14 % faster",
        "3.0 % slower",
        "As fast",
        "2.5 \u00d7 as fast",
    ]


def test_a_device_says_whether_the_shown_map_will_be_faster_there(page: Page) -> None:
    analysis = made_up_analysis(2, 96, mlps=True)
    curves = {metric: group_curves(analysis, metric) for metric in METRICS}
    known = presets()
    dear = replace(known["h100"], title="Dear operations", kernel_s=1e-3)
    devices = {THIS_MACHINE: replace(known["raspberry-pi-5"], kernel_s=1e-9), "dear": dear}
    overview = OverviewInput(analysis=analysis, curves="made-up", keep=0.6, devices=devices, text_name="", lines={})
    timed = {"title": "Timed", "color": "#000", "symbol": "circle", "params": 0, "content": "", "tasks": None}
    timed |= {"kept": 0.8, "ratio": 1.2, "expected": [1.2, 1.1, 1.3], "speed": None, "timed_here": {1: 1.25}}
    elsewhere = timed | {"title": "Timed elsewhere", "timed_here": {}}
    sent = overview.to_json() | {"measured": [timed, elsewhere]}
    html = (Path(live_overview.__file__).parent / "page" / "overview.html").read_text(encoding="utf-8")
    page.route("**/alone", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto("http://overview/alone")
    packed = base64.b64encode(encode_curves(curves, 1, "made-up")).decode()
    shown = [rank_board.CURVES_SCRIPT, live_overview.SCRIPT, packed, sent]
    page.evaluate(OPEN, shown)
    says, times = page.get_by_test_id("overview-device-says"), page.get_by_test_id("overview-times")
    expect(says).to_have_text(re.compile(r"^It will be faster: 0\.\d\d × the dense model's time\. .* for a token"))
    budget = Budget.of_kept_fraction(0.6, analysis.inventory.compressible_params)
    expect(page.get_by_test_id("overview")).to_have_attribute("data-method", "Water-filling")
    rule = rule_of("water-filling", curves)
    used = Situation(THIS_MACHINE, devices[THIS_MACHINE], "float16")
    blocks, inventory = rule.allocate(budget).blocks, analysis.inventory
    ratio = used.forecast(blocks, inventory).step_s / used.forecast((), inventory).step_s
    assert float(says.get_attribute("data-ratio") or 0) == pytest.approx(ratio)
    expect(times.locator(".ov-timed title")).to_have_text("Timed: 1.25 × the dense model's time for a token, measured")
    expect(times.locator("> title, > text")).to_have_count(2)
    batch = page.get_by_test_id("overview-batch")
    batch.fill("4")
    batch.press("Enter")
    expect(times.locator(".ov-timed")).to_have_count(0)  # timed one at a time
    batch.fill("1")
    page.get_by_test_id("overview-device").select_option("dear")
    expect(times.locator(".ov-timed")).to_have_count(0)  # measured elsewhere than on that device
    expect(says).to_have_text(re.compile("^It will be (slower.*widths are not|about as fast)"))
    page.reload()
    page.evaluate(OPEN, shown)
    expect(page.get_by_test_id("overview-device")).to_have_value("dear")
    page.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('refused'); } })")
    page.reload()
    page.evaluate(OPEN, shown)
    expect(page.get_by_test_id("overview-device")).to_have_value(THIS_MACHINE)


def test_sentence_tiles_and_marker_follow_the_slider_before_it_is_released(
    page: Page, dashboard: Dashboard, toy_analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKSCOPE_HOME", str(dashboard.home))
    page.goto(f"{dashboard.address}/?keep=0.8")
    root = page.get_by_test_id("overview")
    expect(root).to_have_attribute("data-ready", "true")
    settled(page)
    headline, marker = page.get_by_test_id("headline"), page.locator(".ov-marker")
    before = headline.inner_text(), marker.get_attribute("x1"), page.locator("[data-tile=size]").inner_text()
    slider = page.get_by_test_id("overview-budget")
    slider.evaluate(MOVE, "0.5")
    expect(root).to_have_attribute("data-params", str(best_params(toy_analysis, 0.5)))
    after = headline.inner_text(), marker.get_attribute("x1"), page.locator("[data-tile=size]").inner_text()
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert "keep=0.8" in page.url
    slider.evaluate("(slider) => slider.dispatchEvent(new Event('change'))")
    expect(page).to_have_url(re.compile(r"keep=0\.5\b"))

    # The marker in the chart is the same slider.
    box = page.locator(".ov-chart svg").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900, "all of the chart is on the first screen"
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 100)
    page.mouse.up()
    expect(page).not_to_have_url(re.compile(r"keep=0\.5\b"))
    settled(page)
    kept = float(root.get_attribute("data-kept-fraction") or "nan")
    assert f"keep={kept:g}" in page.url
    assert root.get_attribute("data-params") == str(best_params(toy_analysis, kept))

    # What to do next stands on the first screen.
    page.set_viewport_size({"width": 1440, "height": 900})
    last = page.get_by_role("button", name="Pin as baseline").bounding_box()
    assert last is not None
    assert last["y"] + last["height"] <= 900
