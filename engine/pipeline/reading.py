"""What can be answered from the store alone, without torch: analyses, allocations, past measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cache import Key, MissingArtifactError
from engine.allocation import EvaluatedMap
from engine.analysis import Analysis, inventory_from_json
from engine.curves import group_curves
from engine.errors import RankScopeError
from engine.formats import index_bytes
from engine.pipeline.predicting import fit_predictor, runs_on_newest_text, with_predictions
from engine.presets import DEFAULT_SETTINGS, AllocationSettings, allocate_preset, get_preset
from engine.rank_map import RankMap, parse_rank_map, rank_map_params
from engine.types import Budget, Format, Importance, Metric, block_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cache import Store
    from engine.prediction import Predictor
    from engine.types import Allocation, BlockRank, GroupCurves


@dataclass(frozen=True, slots=True)
class AnalysisHeading:
    """What a list of analyses shows."""

    id: str
    created: str
    about: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Model, text and its amount, for people."""
        corpus = self.about["spec"]["corpus"]
        amount = f"{corpus['n_sequences']} × {corpus['length']} tokens"
        around = self.about["spec"].get("around_kept_fraction")
        where = "" if around is None else f", around {around:.0%} kept"
        return f"{self.about['model']} on {self.about['corpus']}, {amount}{where} ({self.id[:8]})"


@dataclass(frozen=True, slots=True)
class RankMapCost:
    """What a rank map costs, and the half discarded energy that predictions start from.

    Attributes:
        params: of all compressible projections under the map.
        kept_fraction: of their dense parameters.
        model_params: of the whole model under the map.
        index_bytes: column orders that skip formats store beside the parameters.
        nats: half the discarded energy of the loss metric, in nats per token.
    """

    params: int
    kept_fraction: float
    model_params: int
    index_bytes: int
    nats: float

    def bytes_at(self, bytes_per_param: int) -> int:
        """Return the bytes of the whole model's weights."""
        return self.model_params * bytes_per_param + self.index_bytes


def analysis_headings(store: Store) -> list[AnalysisHeading]:
    """Return every analysis in the store, newest first."""
    manifests = [store.read(key).manifest for key in store.keys("analysis")]
    headings = [AnalysisHeading(m.key.fingerprint, m.created, m.about) for m in manifests]
    return sorted(headings, key=lambda h: h.created, reverse=True)


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
    artifact = store.read(find_analysis(store, prefix))
    document = artifact.json("analysis.json")
    arrays = artifact.arrays("spectra.safetensors")
    energies: dict[Metric, dict[str, Any]] = {}
    nats: dict[Metric, dict[str, Any]] = {}
    importances: dict[str, Any] = {}
    for name, values in arrays.items():
        what, metric, block = name.split("/", 2)
        if what == "importance":
            importances[block] = values
        else:
            (energies if what == "energies" else nats).setdefault(Metric(metric), {})[block] = values
    inventory = inventory_from_json(document.pop("inventory"))
    about = {**artifact.manifest.about, **document, "created": artifact.manifest.created}
    return Analysis(artifact.key.fingerprint, about, inventory, energies, nats, importances)


def curves_by_metric(
    analysis: Analysis, importance: Importance = Importance.TAYLOR2
) -> dict[Metric, list[GroupCurves]]:
    """Return the curves of every metric whose factors are stored, with one of FLRC's importances."""
    return {metric: group_curves(analysis, metric, importance) for metric in analysis.nats}


def allocate_rank_map(
    analysis: Analysis,
    curves: Mapping[Metric, Sequence[GroupCurves]],
    method: str,
    budget: Budget,
    locks: Sequence[BlockRank] = (),
    formats: frozenset[Format] | None = None,
    settings: AllocationSettings = DEFAULT_SETTINGS,
    evaluated: Sequence[EvaluatedMap] = (),
) -> RankMap:
    """Allocate with a preset and return the rank map.

    ``evaluated`` is what :func:`evaluated_maps` returns, for presets that choose among measured maps.

    Raises:
        RankScopeError: unknown method, metric not analysed, infeasible budget, or locks that do not fit.
    """
    allocation = allocate_preset(method, curves, budget, locks, formats, settings, evaluated)
    return rank_map_of(analysis, allocation, method, budget)


def rank_map_of(analysis: Analysis, allocation: Allocation, method: str, budget: Budget) -> RankMap:
    """Return an allocation as the rank map of a preset."""
    return RankMap.from_allocation(
        allocation,
        model_name=analysis.about["model"],
        model_fingerprint=analysis.about["model_fingerprint"],
        analysis=analysis.id,
        method=method,
        metric=get_preset(method).metric,
        budget=budget,
    )


def cost_of(analysis: Analysis, rank_map: RankMap) -> RankMapCost:
    """Return what a checked rank map costs and discards.

    Raises:
        RankScopeError: the analysis stored no factors in the map's metric.
    """
    analysis.require_factors(rank_map.metric)
    curves = analysis.nats[rank_map.metric]
    params = rank_map_params(rank_map, analysis.inventory)
    factored = [b for b in rank_map.blocks if b.rank is not None]
    nats = sum(float(curves[block_name(b.members)][b.rank]) for b in factored)
    indices = sum(index_bytes(b, analysis.projections[b.members[0]].in_features) for b in factored)
    dense = analysis.inventory.compressible_params
    whole = analysis.inventory.total_params - dense + params
    return RankMapCost(params, params / dense, whole, indices, nats)


def evaluations(store: Store, analysis_id: str | None = None) -> list[dict[str, Any]]:
    """Return the measured rank maps, newest first, each as documented for ``rankscope evaluate --json``.

    Each comes with the prediction that the other runs on the same text make of it.
    """
    return with_predictions(measurements(store, analysis_id))


def newest_predictor(store: Store, analysis_id: str) -> tuple[Predictor, str | None]:
    """Return the predictor calibrated on the text that was measured last, and that text (``None``: nothing was)."""
    runs = measurements(store, analysis_id)
    if not runs:
        return fit_predictor([]), None
    return fit_predictor(runs_on_newest_text(runs)), runs[0]["corpus"]


def refined_evaluations(store: Store, analysis_id: str) -> list[dict[str, Any]]:
    """Return the measured rank maps whose factors were refined, newest first; nothing predicts those."""
    return [run for run in _measurements(store, analysis_id) if run.get("refinement")]


def measurements(store: Store, analysis_id: str | None = None) -> list[dict[str, Any]]:
    """Return the rank maps measured as they are, newest first, without predictions."""
    return [run for run in _measurements(store, analysis_id) if not run.get("refinement")]


def _measurements(store: Store, analysis_id: str | None) -> list[dict[str, Any]]:
    results = []
    for key in store.keys("evaluation"):
        try:
            artifact = store.read(key)
        except MissingArtifactError:
            continue
        if analysis_id in {None, artifact.manifest.about["analysis"]}:
            document = artifact.json("evaluation.json")
            results.append({**document, "id": key.fingerprint, "created": artifact.manifest.created})
    return sorted(results, key=lambda r: r["created"], reverse=True)


def trials(store: Store, analysis_id: str) -> list[dict[str, Any]]:
    """Return what searches have measured so far, newest first, also while they run.

    Each has ``objective``, ``perplexity``, ``kept_fraction`` and the like, on a subset that is named but not held out.
    """
    return [document for document, _ in _read_trials(store, analysis_id)]


def evaluated_maps(store: Store, analysis_id: str) -> list[EvaluatedMap]:
    """Return the maps that searches have measured, newest first."""
    return [
        EvaluatedMap(
            parse_rank_map(content).blocks,
            document["params"],
            document["objective"],
            f"{document['subset']} {document['divergence_weight']}",
            document["created"],
        )
        for document, content in _read_trials(store, analysis_id)
    ]


def _read_trials(store: Store, analysis_id: str) -> list[tuple[dict[str, Any], bytes]]:
    found = []
    for key in store.keys("trial"):
        try:
            artifact = store.read(key)
        except MissingArtifactError:
            continue
        if artifact.manifest.about["analysis"] == analysis_id:
            document = {**artifact.json("trial.json"), "id": key.fingerprint, "created": artifact.manifest.created}
            found.append((document, artifact.path("rank-map.json").read_bytes()))
    return sorted(found, key=lambda pair: pair[0]["created"], reverse=True)


def newest_comparison(store: Store, analysis_id: str) -> dict[str, Any] | None:
    """Return the newest table of methods of an analysis, as ``rankscope compare --json`` gave it, or ``None``."""
    artifacts = [store.read(key) for key in store.keys("comparison")]
    fitting = [a for a in artifacts if a.manifest.about["analysis"] == analysis_id]
    if not fitting:
        return None
    newest = max(fitting, key=lambda a: a.manifest.created)
    document: dict[str, Any] = newest.json("comparison.json")
    return document


def measured_sensitivity(store: Store, analysis_id: str) -> dict[str, Any] | None:
    """Return the newest measured sensitivity of an analysis, or ``None``."""
    artifacts = [store.read(key) for key in store.keys("sensitivity")]
    fitting = [a for a in artifacts if a.manifest.about["analysis"] == analysis_id]
    if not fitting:
        return None
    newest = max(fitting, key=lambda a: a.manifest.created)
    document: dict[str, Any] = newest.json("sensitivity.json")
    return document
