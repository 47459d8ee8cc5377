"""A run of a page reads the job record and the lists of the store once, and computes the open tab only."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.jobs import JobQueue
from tests.app.test_views import in_tab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamlit.testing.v1 import AppTest

_WATCHED = ("sqlite3.connect", "os.scandir")
_listeners: list[Callable[[str, str], None]] = []


def _heard(event: str, arguments: tuple[object, ...]) -> None:
    if _listeners and event in _WATCHED:
        _listeners[-1](event, str(arguments[0]))


sys.addaudithook(_heard)


@contextmanager
def counted_reads() -> Iterator[Counter[str]]:
    """Count the connections to records of jobs and the listings of folders, each by its name."""
    counts: Counter[str] = Counter()
    _listeners.append(lambda _, path: counts.update([Path(path).name]))
    try:
        yield counts
    finally:
        _listeners.pop()


@pytest.fixture
def home_with_jobs(analysed_home: Path, no_worker: None) -> Path:
    """The toy's home with jobs that are over."""
    queue = JobQueue(analysed_home)
    for number in range(3):
        queue.cancel(queue.submit("sensitivity", {"n": number}, title="a job").id)
    return analysed_home


@pytest.mark.parametrize("name", ["overview", "spectra", "sensitivity", "allocation", "results"])
def test_a_run_lists_jobs_analyses_and_measurements_once(
    home_with_jobs: Path, open_page: Callable[..., AppTest], name: str
) -> None:
    with counted_reads() as listing:
        JobQueue(home_with_jobs).jobs()
    page = open_page(name)
    with counted_reads() as reads:
        page.run()
    assert not page.exception
    assert reads["jobs.sqlite3"] == listing["jobs.sqlite3"]
    assert max(reads[stage] for stage in ("analysis", "evaluation", "sensitivity", "comparison", "trial")) == 1


def test_only_the_open_tab_is_computed(home_with_jobs: Path, open_page: Callable[..., AppTest]) -> None:
    page = open_page("allocation")
    assert [one.label for one in page.button if one.key == "export.start"]
    assert not page.get("plotly_chart")
    page = in_tab(page, "Heatmap & table")
    assert not [one.label for one in page.button if one.key == "export.start"]
    assert len(page.get("plotly_chart")) == 1
