"""Analyses in the store; free of torch."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cache import Key, read_stage
from engine.analysis.curves import group_curves
from engine.analysis.value import Analysis
from engine.errors import RankScopeError
from engine.export.narrowed import is_narrowed_on_the_way
from engine.pipeline.reading.rounding import read_rounding
from engine.results.json_form import from_json
from engine.results.words import percent
from engine.specs import AnalysisSpec
from engine.types import Importance, Inventory, Metric, block_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from cache import Artifact, Store
    from engine.types import GroupCurves

ANALYSIS: Final = "analysis.json"
SPECTRA: Final = "spectra.safetensors"
DEPTH_WEIGHTS: Final = "depth_weights"
"""What nats of ranks and of widths count, by decoder layer, in the document of an analysis."""


@dataclass(frozen=True, slots=True)
class AnalysisHeading:
    """What a list of analyses shows.

    Attributes:
        id: of the analysis.
        created: ISO 8601, UTC.
        about: of its artifact.
        replaces: ids of analyses that stored the same factors of fewer metrics.
        name: that people gave it; empty: none.
        has_twin: whether another one in the list is of the same model, text and amount.
    """

    id: str
    created: str
    about: Mapping[str, Any]
    replaces: tuple[str, ...] = ()
    name: str = ""
    has_twin: bool = False

    @property
    def is_on_the_way(self) -> bool:
        """Whether it is of a model that ``compress`` narrowed on the way to a smaller one."""
        return is_narrowed_on_the_way(self.about["spec"]["model"].get("location", ""))

    @property
    def label(self) -> str:
        """Its name if it has one, what it is of, and when it was made if that is all that tells it from another."""
        name = f"{self.name}: " if self.name else ""
        made = f", {datetime.fromisoformat(self.created).astimezone():%d %b %Y, %H:%M}" if self.has_twin else ""
        return f"{name}{self.subject}{made} ({self.id[:8]})"

    @property
    def subject(self) -> str:
        """Model, text and its amount, for people."""
        corpus = self.about["spec"]["corpus"]
        amount = f"{corpus['n_sequences']} × {corpus['length']} tokens"
        around = self.about["spec"].get("around_kept_fraction")
        where = "" if around is None else f", around {percent(around)} kept"
        return f"{self.about['model']} on {self.about['corpus']}, {amount}{where}"


def analysis_headings(store: Store) -> list[AnalysisHeading]:
    """Return the analyses in the store that can be read, newest first; those of models on the way to others at the end.

    Of those that stored the same factors only the one with the most metrics is listed; it shows what was measured
    with the others.
    """
    families = _families(store)
    headings = []
    for family in families:
        first, *others = sorted(family, key=lambda artifact: len(_spec_of(artifact)["metrics"]), reverse=True)
        replaced = tuple(other.key.fingerprint for other in others)
        headings.append(AnalysisHeading(first.key.fingerprint, first.manifest.created, first.manifest.about, replaced))
    subjects = Counter(heading.subject for heading in headings)
    headings = [replace(heading, has_twin=subjects[heading.subject] > 1) for heading in headings]
    return sorted(headings, key=lambda h: (not h.is_on_the_way, h.created), reverse=True)


def same_factors(store: Store, analysis_id: str) -> frozenset[str]:
    """Return the ids of the analyses with one's factors, its own among them.

    They differ in the metrics whose factors are stored, and what is measured in a metric of both is the same.
    """
    families = ({artifact.key.fingerprint for artifact in family} for family in _families(store))
    return frozenset({analysis_id}.union(*(ids for ids in families if analysis_id in ids)))


def _families(store: Store) -> list[list[Artifact]]:
    """Return the readable analyses, those together that stored the same factors of some metric."""
    artifacts, _ = read_stage(store, "analysis", lambda artifact: artifact)
    families: dict[str, list[Artifact]] = {}
    for artifact in artifacts:
        settings = {name: value for name, value in _spec_of(artifact).items() if name != "metrics"}
        families.setdefault(json.dumps(settings, sort_keys=True), []).append(artifact)
    return [family for alike in families.values() for family in _of_same_factors(alike)]


def _spec_of(artifact: Artifact) -> Mapping[str, Any]:
    about: Mapping[str, Any] = artifact.manifest.about
    spec: Mapping[str, Any] = about["spec"]
    return spec


def _of_same_factors(alike: list[Artifact]) -> list[list[Artifact]]:
    """Divide analyses made with equal settings by their factors: a file under the same name may have changed."""
    if len(alike) == 1:
        return [alike]
    families: list[tuple[set[str], list[Artifact]]] = []
    for artifact in alike:
        factors = {key for of_metric in artifact.json(ANALYSIS)["factors"].values() for key in of_metric}
        known = next((family for family in families if family[0] & factors), None)
        if known is None:
            families.append((factors, [artifact]))
        else:
            known[0].update(factors)
            known[1].append(artifact)
    return [artifacts for _, artifacts in families]


def is_analysis_of(store: Store, analysis_id: str, name: str) -> bool:
    """Return whether an analysis is of the model in a folder of that name; of one no longer stored that may be so."""
    key = Key("analysis", analysis_id)
    return key not in store or Path(_spec_of(store.read(key))["model"].get("location", "")).name == name


def find_analysis(store: Store, prefix: str) -> Key:
    """Return the key of the analysis whose id starts with ``prefix``.

    Raises:
        RankScopeError: none or several do.
    """
    matching = [key for key in store.keys("analysis") if prefix and key.fingerprint.startswith(prefix)]
    if len(matching) == 1:
        return matching[0]
    known = ", ".join(h.id[:12] for h in analysis_headings(store)) or "none yet; run 'rankscope analyse demo'"
    how_many = "Several analyses start" if matching else "No analysis starts"
    raise RankScopeError(f"{how_many} with {prefix!r}; the analyses here are: {known}.")


def load_analysis(store: Store, prefix: str) -> Analysis:
    """Read an analysis by the start of its id.

    Raises:
        RankScopeError: there is none.
        DamagedArtifactError: its files are not what was written.
    """
    analysis = read_analysis(store.read(find_analysis(store, prefix)))
    return replace(analysis, rounding=read_rounding(store, analysis.id))


def read_analysis(artifact: Artifact) -> Analysis:
    """Read the artifact of an analysis, without what rounding is predicted to do.

    Raises:
        DamagedArtifactError: its files are not what was written.
    """
    about = {**artifact.manifest.about, "created": artifact.manifest.created}
    return analysis_of(artifact.key, about, artifact.json(ANALYSIS), artifact.arrays(SPECTRA))


def analysis_of(
    key: Key, about: Mapping[str, Any], document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> Analysis:
    """Return an analysis of the parts of its artifact; nats of the loss metric count what the document says."""
    energies: dict[Metric, dict[str, NDArray[np.float64]]] = {}
    nats: dict[Metric, dict[str, NDArray[np.float64]]] = {}
    importances: dict[str, NDArray[np.float64]] = {}
    for name, values in arrays.items():
        what, metric, block = name.split("/", 2)
        if what == "importance":
            importances[block] = values
        else:
            (energies if what == "energies" else nats).setdefault(Metric(metric), {})[block] = values
    inventory = from_json(Inventory, document["inventory"])
    of_loss = nats.get(Metric.LOSS, {})
    of_loss.update({name: weight * of_loss[name] for name, weight in _weights(inventory, document) if name in of_loss})
    about = {**about, **{name: value for name, value in document.items() if name != "inventory"}}
    return Analysis(key.fingerprint, about, inventory, energies, nats, importances)


def _weights(inventory: Inventory, document: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the name of every block and what its nats count."""
    layers = sorted({group.layer for group in inventory.groups})
    weights = depth_weights(document, len(layers))
    of_kinds = {kind: dict(zip(layers, of_layers, strict=True)) for kind, of_layers in weights.items()}
    for group in inventory.groups if "ranks" in of_kinds else ():
        members = [p.name for p in group.members]
        yield from ((name, of_kinds["ranks"][group.layer]) for name in {*members, block_name(members)})
    yield from ((mlp.name, of_kinds["widths"][mlp.layer]) for mlp in inventory.mlps)


def depth_weights(document: Mapping[str, Any], n_layers: int = 1) -> Mapping[str, Sequence[float]]:
    """Return what nats of ranks and of widths count by layer; analyses of before weigh widths alone, or nothing."""
    weights: Mapping[str, Sequence[float]] = document.get(
        DEPTH_WEIGHTS, {"widths": [document.get("width_weight", 1.0)] * n_layers}
    )
    return weights


def curves_by_metric(
    analysis: Analysis, importance: Importance = Importance.TAYLOR2
) -> dict[Metric, list[GroupCurves]]:
    """Return the curves of every metric whose factors are stored, with one of FLRC's importances."""
    return {metric: group_curves(analysis, metric, importance) for metric in analysis.nats}


def analysis_spec(analysis: Analysis) -> AnalysisSpec:
    """Return the spec an analysis was made from; the first analyses did not say that they shrank nothing."""
    return from_json(AnalysisSpec, {"gradient_shrinkage": 0.0, **analysis.about["spec"]})
