"""One damaged artifact hides nothing else, and every page says which it is and what removes it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from cache import DirectoryStore, Key, unreadable
from engine.pipeline.reading.analyses import analysis_headings, load_analysis
from engine.pipeline.reading.measurements import measured_sensitivity
from engine.pipeline.reading.results import results
from engine.pipeline.reading.unreadable import unreadable_warning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.analysis.value import Analysis

PAGES = ("overview", "model", "allocation", "results")


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def garble(path: Path) -> None:
    """Change a byte so that neither size nor names tell."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    later_ns = path.stat().st_mtime_ns + 10**9
    path.write_bytes(content)
    os.utime(path, ns=(later_ns, later_ns))


@pytest.fixture
def store(analysed_home: Path) -> DirectoryStore:
    return DirectoryStore(analysed_home / "artifacts")


def shown(page: AppTest) -> str:
    assert not page.exception
    assert not page.error
    return "\n".join(warning.value.replace("\\", "") for warning in page.warning)


def test_a_damaged_analysis_hides_no_other(
    store: DirectoryStore, toy_analysis: Analysis, open_page: Callable[..., AppTest]
) -> None:
    whole = store.read(Key("analysis", toy_analysis.id))
    key = Key("analysis", "f" * 64)
    with store.writing(key, whole.manifest.about) as into:
        for member in whole.manifest.members:
            shutil.copy(whole.folder / member, into)
    grow(store.root / "analysis" / key.fingerprint / "analysis.json")
    assert [heading.id for heading in analysis_headings(store)] == [toy_analysis.id]
    assert load_analysis(store, toy_analysis.id[:8]).id == toy_analysis.id
    for name in PAGES:
        page = open_page(name)
        assert f"Artifact {key} is damaged" in shown(page)
        assert "rankscope cache prune --damaged" in shown(page)


@pytest.mark.parametrize("damage", [grow, garble])
def test_a_damaged_measurement_hides_no_other(
    store: DirectoryStore, toy_analysis: Analysis, open_page: Callable[..., AppTest], damage: Callable[[Path], None]
) -> None:
    before = results(store, toy_analysis.id)
    key = store.keys("evaluation")[0]
    damage(store.root / "evaluation" / key.fingerprint / "evaluation.json")
    after = results(store, toy_analysis.id)
    assert len(after) == len(before) - 1
    assert {row.id for row in after} < {row.id for row in before}
    for name in ("allocation", "results"):
        assert f"Artifact {key} is damaged" in shown(open_page(name))
    store.delete(unreadable(store)[0][0])
    assert unreadable_warning(store) is None


def test_a_damaged_table_is_as_if_it_were_not_there(store: DirectoryStore, toy_analysis: Analysis) -> None:
    assert unreadable_warning(store) is None
    assert measured_sensitivity(store, toy_analysis.id) is not None
    key = store.keys("sensitivity")[0]
    garble(store.root / "sensitivity" / key.fingerprint / "sensitivity.json")
    assert measured_sensitivity(store, toy_analysis.id) is None
    grow(store.root / "evaluation" / store.keys("evaluation")[0].fingerprint / "evaluation.json")
    warning = unreadable_warning(store)
    assert warning is not None
    assert warning.endswith("1 more cannot be read; `rankscope cache verify` names them.")
