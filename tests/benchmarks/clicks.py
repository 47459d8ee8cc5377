"""Seconds the server takes for a click, with the analyses of RANKSCOPE_HOME and without a browser.

Run: RANKSCOPE_HOME=... python -m tests.benchmarks.clicks [ANALYSIS]
Every control is set to values it has not had before, after one run of the page that fills the caches.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from streamlit.testing.v1 import AppTest

import app
from app.pages import page_file
from engine.types import Metric

MAIN = Path(app.__file__).with_name("main.py")


def keep(page: AppTest) -> Iterator[AppTest]:
    for step in range(20):
        page.query_params["keep"] = str(round(0.45 + 0.02 * step, 2))
        yield page


def cut(page: AppTest) -> Iterator[AppTest]:
    for step in range(20):
        yield page.slider(key="cut").set_value(45.0 + 2 * step)


def kinds(page: AppTest) -> Iterator[AppTest]:
    for kind in page.menu_button(key="spectra.kind").options[:7]:
        yield page.menu_button(key="spectra.kind").click(kind)


def layers(page: AppTest) -> Iterator[AppTest]:
    for layer in range(20):
        yield page.menu_button(key="spectra.layer").click(layer)


def metrics(page: AppTest) -> Iterator[AppTest]:
    for metric in Metric:
        yield page.button_group(key="weighting").set_value(metric)


def quantities(page: AppTest) -> Iterator[AppTest]:
    for quantity in ("kept", "lost", "sigma", "all") * 5:
        yield page.button_group(key="lines").set_value(quantity)


def kept(page: AppTest) -> Iterator[AppTest]:
    for step in range(20):
        yield page.slider(key="runs.kept").set_range(2 * step, 100)


def budget(page: AppTest) -> Iterator[AppTest]:
    for step in range(20):
        yield page.slider(key="budget").set_value(45.0 + 2 * step)


def nothing(page: AppTest) -> Iterator[AppTest]:
    for _ in range(20):
        yield page


CLICKS: tuple[tuple[str, str, Callable[[AppTest], Iterator[AppTest]]], ...] = (
    ("overview", "budget", keep),
    ("spectra", "one kind over depth", kinds),
    ("spectra", "one layer", layers),
    ("spectra", "metric, each for the first time", metrics),
    ("spectra", "quantity", quantities),
    ("sensitivity", "kept fraction", cut),
    ("allocation", "budget", keep),
    ("results", "smallest kept fraction", kept),
    ("playground", "budget", budget),
    ("model", "anything", nothing),
    ("jobs", "refresh", nothing),
)


def main(analysis: str | None) -> None:
    sys.stdout.write("| page | click | median ms | p95 ms | clicks |\n|---|---|---|---|---|\n")
    for path, name, clicks in CLICKS:
        page = AppTest.from_file(MAIN, default_timeout=120)
        if analysis:
            page.query_params["analysis"] = analysis
        page.run().switch_page(page_file(path)).run()
        seconds = []
        for changed in clicks(page):
            begun = time.perf_counter()
            changed.run()
            seconds.append(time.perf_counter() - begun)
        p95 = statistics.quantiles(seconds, n=20, method="inclusive")[-1]
        numbers = f"{1000 * statistics.median(seconds):.0f} | {1000 * p95:.0f} | {len(seconds)}"
        sys.stdout.write(f"| {path} | {name} | {numbers} |\n")
        assert not page.exception, page.exception


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
