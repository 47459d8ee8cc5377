"""An analysis that was made and measured on one machine is explored on another one."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from cache import DirectoryStore, Key, NotPortableError, export_artifacts
from engine.errors import RankScopeError
from engine.pipeline.keys import refined_layer_key
from engine.pipeline.portable import export_analysis, import_analysis
from engine.pipeline.reading.analyses import load_analysis
from engine.pipeline.reading.results import results
from engine.pipeline.refine import refine
from engine.pipeline.rounding import predict_rounding
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import RefinementSpec
from tests.support.analysed_toy import N_LAYERS
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.measured_toy import MeasuredToy


def test_everything_that_was_measured_is_there(measured_toy: MeasuredToy, tmp_path: Path) -> None:
    here, elsewhere, file = Terminal(measured_toy.home), Terminal(tmp_path / "laptop"), tmp_path / "toy.tar"
    written = here.json("analysis", "export", measured_toy.analysis.id[:12], file)
    assert written == {"out": str(file), "bytes": file.stat().st_size}
    taken = elsewhere.json("analysis", "import", file)
    assert taken["analysis"] == measured_toy.analysis.id
    store = DirectoryStore(elsewhere.home / "artifacts")
    assert (taken["added"], taken["known"]) == (len(store.keys()), 0)
    assert results(store, taken["analysis"]) == results(measured_toy.store, taken["analysis"])
    words = ("allocate", taken["analysis"], "--method", "water-filling", "--keep", 0.8, "--out")
    assert elsewhere.json(*words, tmp_path / "b.json") | {"out": ""} == here.json(*words, tmp_path / "a.json") | {
        "out": ""
    }
    again = elsewhere.json("analysis", "import", file)
    assert (again["added"], again["bytes"]) == (0, 0)
    assert "is here already" in elsewhere("analysis", "import", file).stdout


def test_without_factors_it_is_small_and_they_can_come_later(measured_toy: MeasuredToy, tmp_path: Path) -> None:
    store, known = DirectoryStore(tmp_path / "artifacts"), measured_toy.analysis.id
    whole, small = (
        export_analysis(measured_toy.store, known, tmp_path / f"{with_factors}.tar", with_factors=with_factors)
        for with_factors in (True, False)
    )
    assert small < whole
    import_analysis(store, tmp_path / "False.tar")
    assert store.keys("factors") == []
    assert load_analysis(store, known).inventory == measured_toy.analysis.inventory
    _, later = import_analysis(store, tmp_path / "True.tar")
    assert {key.stage for key in later.added} == {"factors"}


def test_what_it_cannot_compute_again_elsewhere_goes_along(measured_toy: MeasuredToy, tmp_path: Path) -> None:
    """Refined layers, of which those that were only corrected do not say of which analysis, and what rounding does."""
    shutil.copytree(measured_toy.home, tmp_path / "home")
    here, known = Home(tmp_path / "home"), measured_toy.analysis.id
    corrected = refine(here, known, measured_toy.maps[0], RefinementSpec(), ignore_progress, device="cpu")
    predicted = predict_rounding(here, known, ignore_progress)
    layers = {refined_layer_key(corrected, layer) for layer in range(N_LAYERS)}
    for with_factors in (False, True):
        export_analysis(here.store, known, tmp_path / "toy.tar", with_factors=with_factors)
        store = DirectoryStore(tmp_path / f"{with_factors}")
        import_analysis(store, tmp_path / "toy.tar")
        assert predicted in store
        assert store.keys("refinement") == [corrected] * with_factors
        assert set(store.keys("refined-layer")) == (layers if with_factors else set())


@pytest.mark.parametrize("kind", ["special", "folder", "link"])
def test_only_a_regular_file_is_replaced(measured_toy: MeasuredToy, tmp_path: Path, kind: str) -> None:
    file, known = tmp_path / "toy.tar", measured_toy.analysis.id
    if kind == "link":
        file.symlink_to("elsewhere.tar")
        export_analysis(measured_toy.store, known, file, with_factors=False)
        assert (tmp_path / "elsewhere.tar").is_file()
        assert file.is_symlink()
        return
    {"special": os.mkfifo, "folder": os.mkdir}[kind](file)
    with pytest.raises(RankScopeError, match=r"toy\.tar is no regular file"):
        export_analysis(measured_toy.store, known, file, with_factors=False)
    assert file.exists()
    assert not file.is_file()


@pytest.mark.parametrize("stage", ["demo-model", "statistics", "factors", "evaluation", "refined-layer"])
def test_what_does_not_belong_to_the_analysis_is_not_taken_over(
    measured_toy: MeasuredToy, tmp_path: Path, stage: str
) -> None:
    foreign, theirs = Key(stage, "ab" * 32), DirectoryStore(tmp_path / "theirs")
    export_analysis(measured_toy.store, measured_toy.analysis.id, tmp_path / "toy.tar", with_factors=False)
    known, _ = import_analysis(theirs, tmp_path / "toy.tar")
    # A layer belongs to its refinement, whatever it says.
    with theirs.writing(foreign, {"analysis": known if stage == "refined-layer" else "other"}) as into:
        (into / "x.json").write_text("{}")
    export_artifacts(theirs, [foreign, Key("analysis", known)], tmp_path / "forged.tar")
    store = DirectoryStore(tmp_path / "ours")
    with pytest.raises(NotPortableError, match=f"{foreign} does not belong to its analysis"):
        import_analysis(store, tmp_path / "forged.tar")
    assert store.keys() == []


@pytest.mark.parametrize("change", [{"inventory": None}, {"factors": 7}, {"model_fingerprint": ...}, {"inventory": {}}])
def test_an_analysis_that_cannot_be_read_is_not_taken_over(
    measured_toy: MeasuredToy, tmp_path: Path, change: dict[str, object]
) -> None:
    made, theirs = (
        measured_toy.store.read(Key("analysis", measured_toy.analysis.id)),
        DirectoryStore(tmp_path / "theirs"),
    )
    document = {name: value for name, value in (made.json("analysis.json") | change).items() if value is not ...}
    with theirs.writing(made.key, made.manifest.about) as into:
        (into / "analysis.json").write_text(json.dumps(document))
        (into / "spectra.safetensors").write_bytes(made.path("spectra.safetensors").read_bytes())
    export_artifacts(theirs, [made.key], tmp_path / "forged.tar")
    store = DirectoryStore(tmp_path / "ours")
    with pytest.raises(NotPortableError, match="its analysis cannot be read"):
        import_analysis(store, tmp_path / "forged.tar")
    assert store.keys() == []


def test_files_that_are_not_there_are_named(measured_toy: MeasuredToy, tmp_path: Path) -> None:
    terminal = Terminal(measured_toy.home)
    assert "nowhere.tar cannot be imported (No such file" in terminal.error(
        "analysis", "import", tmp_path / "nowhere.tar"
    )
    known = measured_toy.analysis.id
    assert "cannot be written (No such file" in terminal.error("analysis", "export", known, tmp_path / "no" / "x.tar")
    with pytest.raises(RankScopeError, match="No analysis starts with 'zz'"):
        export_analysis(measured_toy.store, "zz", tmp_path / "x.tar")
