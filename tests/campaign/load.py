"""Many visitors of one dashboard, each with an analysis, a budget and a method: all see their own, nothing grows."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import psutil

from tests.campaign.ground import Ground, run_command
from tests.campaign.visitor import State, Visitor
from tests.support.running_app import free_port, running_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.campaign.options import Options

N_PAGES = 1200
N_VISITORS = 20
PAGES = ("overview", "playground", "playground", "allocation", "allocation", "spectra", "sensitivity", "results")
METHODS = ("water-filling", "svd-llm", "flrc")
KEPT = tuple(k / 20 for k in range(9, 20) if k != 16)
"""Without what a session begins with: a budget that was left a moment ago is not taken from an address again."""

LEAVES = 0.1
"""Of the steps, after which a visitor closes the page and comes back as a new one."""

WARM_UP = 0.3
"""Of the pages; growth is counted from there."""

MOST_GROWTH = {"memory, MB": 100.0, "threads": 20.0, "descriptors": 400.0}
"""Streamlit keeps some sessions that were closed, for those who come back."""


class Step(NamedTuple):
    """What one visitor saw once.

    Attributes:
        state: that was asked for.
        is_moved: with the slider, not by an address.
        seconds: until the page was drawn.
        shown: on it.
    """

    state: State
    is_moved: bool
    seconds: float
    shown: dict[str, str]


class Use(NamedTuple):
    """What the process of the dashboard uses."""

    memory_mb: float
    threads: float
    descriptors: float

    @classmethod
    def of(cls, process: psutil.Process) -> Use:
        """Ask the system."""
        return cls(process.memory_info().rss / 1e6, process.num_threads(), process.num_fds())


class Visits:
    """Visitors, each in a thread.

    Args:
        address: of the dashboard.
        analyses: ids.
        n_pages: each looks at.
        until: when they leave at the latest, in seconds of the monotonic clock.
    """

    def __init__(self, address: str, analyses: tuple[str, ...], n_pages: int, until: float) -> None:
        self._address, self._analyses, self._n_pages, self._until = address, analyses, n_pages, until
        self.steps: list[Step] = []
        self.failures: list[str] = []

    def run(self, n_visitors: int, seed: int) -> list[threading.Thread]:
        """Start the visitors."""
        threads = [threading.Thread(target=self._visit, args=(Random(f"{seed} {n}"),)) for n in range(n_visitors)]
        for thread in threads:
            thread.start()
        return threads

    def _visit(self, chance: Random) -> None:
        left = self._n_pages
        while left > 0 and time.monotonic() < self._until:
            try:
                with Visitor(self._address) as visitor:
                    for step in self._looked_around(visitor, chance, left):
                        self.steps.append(step)
                        left -= 1
            except Exception as error:  # noqa: BLE001 -- whatever a visitor meets is a finding
                self.failures.append(f"{type(error).__name__}: {error}")
                left -= 1

    def _looked_around(self, visitor: Visitor, chance: Random, most: int) -> Iterator[Step]:
        """Look at pages until the visitor leaves; no budget twice: the page takes one just left for an old one."""
        before: State | None = None
        for keep in chance.sample(KEPT, min(most, len(KEPT))):
            state = State(chance.choice(PAGES), chance.choice(self._analyses), keep, chance.choice(METHODS))
            is_moved = before is not None and before.page == "playground" and chance.random() < 0.5
            began = time.monotonic()
            if is_moved and before is not None:
                state = before._replace(keep=keep)
                shown = visitor.move(before, keep)
            else:
                shown = visitor.open(state)
            yield Step(state, is_moved, time.monotonic() - began, shown)
            before = state
            if time.monotonic() > self._until or chance.random() < LEAVES:
                return


def run(ground: Ground, options: Options) -> int:
    """Let visitors draw ``options.n_cases`` pages, print a table and every finding; return how many there are."""
    place = ground.copied(options.folder / "home-of-load")
    another = ("analyse", "model", "--text", "corpus.txt", "--n-sequences", "3", "--length", "32")
    run_command(another, place.folder, place.folder / "log")
    analyses = tuple(sorted(path.name for path in (place.home / "artifacts" / "analysis").iterdir()))
    n_pages = options.n_cases or N_PAGES
    n_visitors = min(n_pages, N_VISITORS)
    print(f"load: {n_pages} pages by {n_visitors} visitors at once, seed {options.seed}", flush=True)
    port = free_port()
    with running_app(place.home, port) as address:
        process = _server_on(port)
        visits = Visits(address, analyses, n_pages // n_visitors, time.monotonic() + 60 * options.minutes)
        threads = visits.run(n_visitors, options.seed)
        uses = [Use.of(process)]
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.5)
            if len(visits.steps) < WARM_UP * n_pages:
                uses.clear()
            uses.append(Use.of(process))
    with running_app(place.home, port) as address:
        expected = _alone(address, {step.state for step in visits.steps})
    return _told(visits, expected, uses, options.seed)


def _server_on(port: int) -> psutil.Process:
    (pid,) = {
        one.pid for one in psutil.net_connections("tcp") if one.laddr.port == port and one.status == psutil.CONN_LISTEN
    }
    return psutil.Process(pid)


def _alone(address: str, states: set[State]) -> dict[State, dict[str, str]]:
    """Return what each state shows to the only visitor of a fresh dashboard, with a session for each."""
    expected = {}
    for state in sorted(states):
        with Visitor(address) as visitor:
            expected[state] = visitor.open(state)
    return expected


def _told(visits: Visits, expected: dict[State, dict[str, str]], uses: list[Use], seed: int) -> int:
    mixed = [step for step in visits.steps if step.shown != expected[step.state]]
    exceptions = [text for step in visits.steps for text in step.shown.values() if text.startswith("exception: ")]
    for step in mixed[:5]:
        shown, alone = step.shown, expected[step.state]
        other = {at: (shown.get(at), alone.get(at)) for at in shown | alone if shown.get(at) != alone.get(at)}
        print(f"\nMIXED STATE {step.state}, moved: {step.is_moved}; shown and expected: {str(other)[:800]}")
    for text, count in Counter(visits.failures + exceptions).most_common(10):
        print(f"\n{count} times {text[:500]}")
    seconds = sorted(step.seconds for step in visits.steps) or [0.0]
    n_moved = sum(step.is_moved for step in visits.steps)
    print(f"{'pages drawn':<16}{len(visits.steps)}, {n_moved} by moving the budget, of {len(expected)} states")
    print(f"{'seconds':<16}median {statistics.median(seconds):.1f}, most {seconds[-1]:.1f}")
    n_growing = 0
    for (name, most), first, last, peak in zip(
        MOST_GROWTH.items(), uses[0], uses[-1], map(max, zip(*uses, strict=True)), strict=True
    ):
        n_growing += last - first > most
        print(f"{name:<16}{first:.0f} after warming up, {last:.0f} at the end, {peak:.0f} at most")
    findings = len(mixed) + len(visits.failures) + len(exceptions) + n_growing
    print(
        f"{'all':<16}{len(mixed)} mixed states, {len(exceptions)} exceptions, {len(visits.failures)} lost or late, "
        f"{n_growing} growing: {findings} findings"
    )
    if findings:
        print(f"  again: python -m tests.campaign load --seed {seed}")
    return findings
