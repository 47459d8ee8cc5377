"""All stored measurements of an analysis: a row per rank map and one for the dense model; without torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cache import Key, read_stage
from engine.methods.cost import cost_of
from engine.pipeline.reading.analyses import load_analysis, same_factors
from engine.pipeline.reading.documents import read_cost, read_memory, read_perplexity, read_summaries, read_task
from engine.precision import SIZE_TYPES, STORED_AS, model_bytes
from engine.prediction.runs import with_predictions
from engine.rank_map.document import parse_rank_map
from engine.rank_map.identity import EVALUATION, MEASUREMENT, map_id
from engine.results.rows import DENSE, ResultRow, SizeResult, SummaryTexts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cache import Artifact, Store
    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap
    from engine.results.rows import CostResult, PerplexityResult, SummaryResult
    from engine.results.texts import MeasuredText


def results(store: Store, analysis_id: str) -> list[ResultRow]:
    """Return what was measured of every rank map of an analysis: the dense model first, then the largest map first.

    Rank maps of other factors do not appear; what was measured with an analysis of the same factors does. The dense
    model's measurements are shared by all analyses of the model.
    Within a row the newest measurement of each kind comes first.

    Args:
        store: holds the analysis.
        analysis_id: its id, or the start of it.

    Raises:
        RankScopeError: there is no such analysis.
        DamagedArtifactError: the analysis is not what was written; a measurement that is not is left out.
    """
    analysis = load_analysis(store, analysis_id)
    rows = {DENSE: ResultRow(DENSE, DENSE, None, None, None, _size(analysis, None))}
    known = same_factors(store, analysis.id)
    for artifact in _newest_first(store, "evaluation", analysis, known):
        _add_perplexity(rows, analysis, artifact)
    for stage, column, read in _PARTS:
        for artifact in _newest_first(store, stage, analysis, known):
            document = artifact.json(MEASUREMENT)
            row = _row_of(rows, analysis, artifact, document)
            rows[row.id] = _with(row, column, read(document, artifact))
            if stage == "cost":
                _add_dense_once(rows, column, read_cost(document, artifact, "dense"))
    ordered = sorted(
        rows.values(), key=lambda row: (not row.is_dense, -row.size.params, row.method, -row.weight_bits, row.id)
    )
    return with_predictions(ordered)


def measured_row(rows: Sequence[ResultRow], rank_map: RankMap, refinement: str | None = None) -> ResultRow | None:
    """Return what was measured of exactly this rank map, by what it does and nothing else; ``None``: nothing was.

    Args:
        rows: of the map's analysis.
        rank_map: whatever its name and method are.
        refinement: id of refined factors; ``None``: the factors as they were computed.
    """
    wanted = map_id(rank_map, refinement)
    return next((row for row in rows if row.id == wanted), None)


def row_of(
    analysis: Analysis, rows: Sequence[ResultRow], rank_map: RankMap, weight_bits: int = max(STORED_AS)
) -> ResultRow:
    """Return the row of a rank map at a number of bits, without a measurement where there is none.

    Args:
        analysis: of the model.
        rows: what was measured with it.
        rank_map: whatever its name and method are.
        weight_bits: of whatever has no bits of its own.
    """
    own = map_id(rank_map, weight_bits=weight_bits)
    found = next((row for row in rows if row.id == own), None)
    return found or new_row(analysis, own, rank_map, weight_bits=weight_bits)


def measured_on(text: MeasuredText, rank_map: RankMap) -> PerplexityResult | None:
    """Return what was measured of exactly this rank map on a text, without refinement; ``None``: nothing was."""
    row = measured_row(text.rows, rank_map)
    return None if row is None else text.of(row)


def summary_texts(store: Store, summaries: SummaryResult) -> list[SummaryTexts]:
    """Return the articles with what people, the dense model and this model wrote of them."""
    document = store.read(Key("summaries", summaries.provenance.fingerprint)).json(MEASUREMENT)
    written = document["summaries"]
    dense = document if document["map"] is None else store.read(Key("summaries", document["dense"])).json(MEASUREMENT)
    rows = zip(dense["articles"], dense["references"], dense["summaries"], written, strict=True)
    return [SummaryTexts(*row) for row in rows]


def _newest_first(store: Store, stage: str, analysis: Analysis, known: frozenset[str]) -> list[Artifact]:
    """Return the artifacts of one stage that are whole and about factors of this analysis or about its dense model.

    Args:
        store: holds them.
        stage: which.
        analysis: whose factors.
        known: the analyses with the same.
    """

    def wanted(artifact: Artifact) -> Artifact | None:
        about = artifact.manifest.about
        of_dense = about["analysis"] is None and about["model_fingerprint"] == analysis.about["model_fingerprint"]
        if not of_dense and about["analysis"] not in known:
            return None
        artifact.verify()
        is_elsewhere = not of_dense and about["analysis"] != analysis.id
        if is_elsewhere and parse_rank_map(artifact.path("rank-map.json").read_bytes()).metric not in analysis.nats:
            return None
        return artifact

    artifacts, _ = read_stage(store, stage, wanted)
    return sorted(artifacts, key=lambda artifact: artifact.manifest.created, reverse=True)


def _row_of(
    rows: dict[str, ResultRow], analysis: Analysis, artifact: Artifact, document: Mapping[str, Any]
) -> ResultRow:
    row_id = document["map"]
    if row_id is None:
        return rows[DENSE]
    if row_id not in rows:
        rank_map = parse_rank_map(artifact.path("rank-map.json").read_bytes())
        rows[row_id] = new_row(analysis, row_id, rank_map, weight_bits=document.get("weight_bits", 16))
    return rows[row_id]


def new_row(
    analysis: Analysis, row_id: str, rank_map: RankMap, refinement: str | None = None, weight_bits: int = 16
) -> ResultRow:
    """Return the row of a rank map of which nothing was measured."""
    size = _size(analysis, rank_map)
    method, metric = rank_map.method, rank_map.metric
    return ResultRow(row_id, method, metric, refinement, rank_map, size, weight_bits=weight_bits)


def _size(analysis: Analysis, rank_map: RankMap | None) -> SizeResult:
    blocks = () if rank_map is None else rank_map.blocks
    stored = {name: model_bytes(name, blocks, analysis.inventory) for name in SIZE_TYPES}
    if rank_map is None:
        return SizeResult(analysis.inventory.compressible_params, 1.0, analysis.inventory.total_params, 0, stored, 0.0)
    cost = cost_of(analysis, rank_map)
    return SizeResult(cost.params, cost.kept_fraction, cost.model_params, cost.index_bytes, stored, cost.nats)


def _with(row: ResultRow, column: str, value: object) -> ResultRow:
    longer: Any = (*getattr(row, column), value)
    return replace(row, **{column: longer})


def _add_perplexity(rows: dict[str, ResultRow], analysis: Analysis, artifact: Artifact) -> None:
    """Enter a measured text, and the dense model's perplexity on it once."""
    rank_map = parse_rank_map(artifact.path("rank-map.json").read_bytes())
    run = artifact.json(EVALUATION)
    refinement, bits = run.get("refinement") or {}, run.get("weight_bits", 16)
    row_id = map_id(rank_map, refinement.get("id"), bits)
    result = read_perplexity(analysis, artifact)
    row = rows.get(row_id) or new_row(analysis, row_id, rank_map, refinement.get("kind"), bits)
    rows[row_id] = _with(row, "perplexities", result)
    dense = replace(result, perplexity=result.dense_perplexity, divergence=0.0, agreement=1.0)
    _add_dense_once(rows, "perplexities", dense)


def _add_dense_once(rows: dict[str, ResultRow], column: str, measured: PerplexityResult | CostResult) -> None:
    """Enter what was measured of the dense model beside a rank map, unless a newer one is there."""
    if measured.setting not in {known.setting for known in getattr(rows[DENSE], column)}:
        provenance = replace(measured.provenance, analysis=None, seconds=None)
        rows[DENSE] = _with(rows[DENSE], column, replace(measured, provenance=provenance))


_PARTS: tuple[tuple[str, str, Callable[[Mapping[str, Any], Artifact], object]], ...] = (
    ("task-scores", "tasks", read_task),
    ("summaries", "summaries", read_summaries),
    ("cost", "costs", read_cost),
    ("memory", "memories", read_memory),
)
