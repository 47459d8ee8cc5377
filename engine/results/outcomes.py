"""What operations return of their measurements, named as their JSON in ``docs/cli.md``; free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from engine.results.rows import PerplexityResult, ResultRow, of_setting


def row_to_json(row: ResultRow) -> dict[str, object]:
    """Return a row as plain JSON, named as in :class:`~engine.results.rows.ResultRow`, without its rank map."""
    document = asdict(replace(row, rank_map=None))
    del document["rank_map"]
    return document


def _without_map(document: Any) -> Any:
    return {**document, "rank_map": None} if isinstance(document, dict) else document


Row = Annotated[ResultRow, BeforeValidator(_without_map), PlainSerializer(row_to_json)]
"""A row whose JSON leaves out the rank map."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Rows of the dense model and of every map that was measured beside it, in their order."""

    analysis: str
    level: str
    dense: Row
    maps: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Refinement:
    """A map before and after its factors were refined.

    Attributes:
        refinement: id of the refined factors.
        training_free: corrected in closed form alone.
        seconds: that the refinement took.
    """

    refinement: str
    training_free: bool
    seconds: float
    before: Row
    after: Row

    @property
    def perplexities(self) -> tuple[PerplexityResult, PerplexityResult]:
        """Before and after, in one setting."""
        after = self.after.perplexities[0]
        before = of_setting(self.before.perplexities, after.setting)
        assert before is not None
        return before, after


@dataclass(frozen=True, slots=True)
class PostTraining:
    """A map before and after two vectors per projection were trained.

    Attributes:
        corpus: the text of the measurements.
        minutes: no step began after these.
        trained_on: the text of the steps.
        id: fingerprint of the stored vectors.
    """

    agreement: float
    analysis: str
    corpus: str
    dense_perplexity: float
    divergence: float
    divergence_before: float
    kept_fraction: float
    method: str
    minutes: float
    n_tokens: int
    perplexity: float
    perplexity_before: float
    steps: int
    trained_on: str
    trained_params: int
    id: str


@dataclass(frozen=True, slots=True)
class MeasuredBlock:
    """What cutting one block alone costs on a text whose tokens are stored beside.

    Attributes:
        block: its name.
        nll_increase: increase of the loss, nats per token.
    """

    block: str
    corpus: str
    n_tokens: int
    nll_increase: float


@dataclass(frozen=True, slots=True)
class MeasuredSensitivity:
    """What cutting each projection alone costs.

    Attributes:
        kept_fraction: that every projection was cut to.
        metric: of the factors.
        nll_increase: projection -> increase of the loss, nats per token.
    """

    corpus: str
    kept_fraction: float
    metric: str
    n_tokens: int
    nll_increase: Mapping[str, float]
