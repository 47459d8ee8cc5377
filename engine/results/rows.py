"""What was measured of a rank map or of the dense model, each number with where it comes from; free of torch.

Two numbers of the same kind may be put side by side when their ``setting`` is equal: the same text or items, in the
same amount, in the same type, scored by the same versions.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from engine.evaluation.bootstrap import Interval
from engine.precision import STORED_AS
from engine.rank_map.document import RankMap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DENSE = "dense"
"""Id and method of the row of the dense model."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a number comes from.

    Attributes:
        artifact: ``stage/fingerprint`` of the stored measurement; perplexity and cost of the dense model are stored
            with a rank map's.
        created: ISO 8601, UTC.
        model: for people.
        model_fingerprint: of its content, or of its hub id and commit.
        model_revision: the hub revision the user named, if any.
        analysis: whose factors were used; ``None`` for the dense model.
        data_fingerprint: of the text or of the items; ``None`` where there are none, or in older measurements.
        seed: of what was drawn at random; ``None``: nothing was.
        dtype: weights and arithmetic.
        device: where it ran.
        versions: package -> version.
        seconds: the measurement took; ``None`` where that was not recorded.
    """

    artifact: str
    created: str
    model: str
    model_fingerprint: str
    model_revision: str | None
    analysis: str | None
    data_fingerprint: str | None
    seed: int | None
    dtype: str
    device: str
    versions: Mapping[str, str]
    seconds: float | None

    @property
    def fingerprint(self) -> str:
        """Of the stored measurement, without its stage."""
        return self.artifact.partition("/")[2]


@dataclass(frozen=True, slots=True)
class PredictedPerplexity:
    """The perplexity that was to be expected of a map from all other maps measured on the same text.

    Attributes:
        perplexity: expected.
        low: lower end of the 90 % interval.
        high: upper end.
        calibrated_on: number of other measured maps; 0: the interval is wide.
    """

    perplexity: float
    low: float
    high: float
    calibrated_on: int


def text_title(text: str, *, calibration_text: bool) -> str:
    """Return what people call a text, who have to know where it is not held out."""
    return f"{text} (calibration text)" if calibration_text else text


@dataclass(frozen=True, slots=True)
class PerplexityResult:
    """How well a text is predicted.

    Attributes:
        text: for people.
        n_sequences: of equal length.
        n_tokens: scored.
        perplexity: exp of the mean loss.
        dense_perplexity: of the dense model on the same tokens.
        divergence: KL(dense || model), nats per token; 0 for the dense model.
        agreement: fraction of positions where both put the same token first; 1 for the dense model.
        prediction: from all other maps measured on this text; ``None`` for the dense model and for refined factors,
            and before it is read together with the other maps.
        setting: equal where two perplexities compare.
        calibration_text: measured on the very text of the analysis, where a compressed model does better than on new
            text; results of jobs of 0.1.0 do not say.
    """

    text: str
    n_sequences: int
    n_tokens: int
    perplexity: float
    dense_perplexity: float
    divergence: float
    agreement: float
    prediction: PredictedPerplexity | None
    setting: tuple[Hashable, ...]
    provenance: Provenance
    calibration_text: bool = False

    @property
    def text_title(self) -> str:
        """The text for people, who have to know where it is not held out."""
        return text_title(self.text, calibration_text=self.calibration_text)

    @property
    def ratio(self) -> float:
        """Perplexity over the dense model's."""
        return self.perplexity / self.dense_perplexity

    @property
    def increase(self) -> float:
        """Of the loss over the dense model's, nats per token."""
        return math.log(self.ratio)

    @property
    def measured_on(self) -> str:
        """The text with its amount and type, for people."""
        return f"{self.text_title}, {self.n_tokens:,} tokens, {self.provenance.dtype}"


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over items with lm-eval's standard error (``None`` if it gives none)."""

    value: float
    stderr: float | None


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The score of one lm-eval task.

    Attributes:
        task: its name.
        metrics: lm-eval's name of a metric -> score; accuracies are ``acc`` and ``acc_norm`` in [0, 1].
        differences: metric -> mean of (this model - dense), paired by item; empty for the dense model.
        n: items scored, the first ones of the task.
        n_available: items the task has; larger than ``n`` if a limit was set.
        config: the task as lm-eval describes it: prompt, choices, split, metrics, version.
        setting: equal where two scores compare.
    """

    task: str
    metrics: Mapping[str, Score]
    differences: Mapping[str, Interval]
    n: int
    n_available: int
    config: Mapping[str, Any]
    setting: tuple[Hashable, ...]
    provenance: Provenance

    @property
    def acc(self) -> Score | None:
        """Fraction of items whose likeliest choice is right."""
        return self.metrics.get("acc")

    @property
    def acc_norm(self) -> Score | None:
        """The same with log-likelihoods per character of the choice; some tasks have none."""
        return self.metrics.get("acc_norm")

    @property
    def is_limited(self) -> bool:
        """Whether only a part of the task was scored."""
        return self.n < self.n_available


@dataclass(frozen=True, slots=True)
class SummaryResult:
    """ROUGE of generated summaries.

    Attributes:
        text: where the articles come from, for people.
        n: articles.
        rouge: ``rouge1``, ``rouge2``, ``rougeL`` -> mean F1 in [0, 1] with its bootstrap interval.
        differences: the same of (this model - dense), paired by article; empty for the dense model.
        mean_new_tokens: tokens per summary.
        template: the prompt.
        chat: whether it went through the model's chat template.
        max_new_tokens: longest summary.
        setting: equal where two results compare.
    """

    text: str
    n: int
    rouge: Mapping[str, Interval]
    differences: Mapping[str, Interval]
    mean_new_tokens: float
    template: str
    chat: bool
    max_new_tokens: int
    setting: tuple[Hashable, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class SummaryTexts:
    """One article, the summary somebody wrote, and what the models wrote."""

    article: str
    reference: str
    dense: str
    compressed: str


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the quartiles around it."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SpeedResult:
    """Tokens per second of a model beside the dense one, both measured in turns in one process.

    Attributes:
        batch_size: sequences at once; the figures are tokens of all of them together.
        prefill: reading the prompt.
        decode: tokens generated after it, one per sequence and step.
        prefill_ratio: over the dense model's, of the same repetition; 1 for the dense model.
        decode_ratio: the same.
    """

    batch_size: int
    prefill: Spread
    decode: Spread
    prefill_ratio: Spread
    decode_ratio: Spread


@dataclass(frozen=True, slots=True)
class CostResult:
    """What running a model costs.

    Attributes:
        prompt_tokens: length of the prompt behind the figures.
        new_tokens: generated after it.
        repetitions: of every speed.
        prefill_multiply_adds: per token of the prompt, the attention to the others included.
        decode_multiply_adds: per generated token.
        cache_bytes_per_token: keys and values kept for one token of one sequence.
        speeds: one per batch size.
        threads: that computed.
        setting: equal where two costs compare.
        machine: id of the one that computed; ``None``: an earlier version measured it.
    """

    prompt_tokens: int
    new_tokens: int
    repetitions: int
    prefill_multiply_adds: float
    decode_multiply_adds: float
    cache_bytes_per_token: float
    speeds: tuple[SpeedResult, ...]
    threads: int
    setting: tuple[Hashable, ...]
    provenance: Provenance
    machine: str | None = None


@dataclass(frozen=True, slots=True)
class MemoryResult:
    """Peak resident memory of a fresh process that only loads a model folder and runs it.

    Attributes:
        peak_bytes: with the model, its cache and its activations.
        base_bytes: of the same process before the model was loaded: Python and its packages.
        n_tokens: that were run.
        setting: equal where two figures compare.
    """

    peak_bytes: int
    base_bytes: int
    n_tokens: int
    setting: tuple[Hashable, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class SizeResult:
    """What follows from the rank map alone, without measuring.

    Attributes:
        params: of the compressible projections under the map.
        kept_fraction: of their dense parameters.
        model_params: of the whole model.
        index_bytes: column orders of the skip formats, on top of the parameters.
        model_bytes: type -> bytes of the whole model stored so; as int8 or int4 its projections, with their scales,
            and everything else in 16 bits.
        predicted_nats: half the discarded energy of the loss metric, weighed by depth, in nats per token; what
            predictions start from.
    """

    params: int
    kept_fraction: float
    model_params: int
    index_bytes: int
    model_bytes: Mapping[str, int]
    predicted_nats: float


@dataclass(frozen=True, slots=True)
class ResultRow:
    """Everything measured of one rank map, or of the dense model; the newest first of each kind.

    Attributes:
        id: of the rank map (and of its refinement), or ``dense``; stays the same whatever is measured later.
        method: as the map says, or ``dense``.
        metric: of the factors; ``None`` for the dense model.
        refinement: ``corrected``, ``trained`` or ``None``.
        rank_map: ``None`` for the dense model; that of rounding alone has no block.
        weight_bits: of the projections; below 16 their weights were rounded.
    """

    id: str
    method: str
    metric: str | None
    refinement: str | None
    rank_map: RankMap | None
    size: SizeResult
    perplexities: tuple[PerplexityResult, ...] = ()
    tasks: tuple[TaskResult, ...] = ()
    summaries: tuple[SummaryResult, ...] = ()
    costs: tuple[CostResult, ...] = ()
    memories: tuple[MemoryResult, ...] = ()
    weight_bits: int = 16

    @property
    def is_dense(self) -> bool:
        """Whether this is the dense model, not rounded."""
        return self.id == DENSE

    @property
    def is_plain(self) -> bool:
        """Whether this is a rank map as computed: neither refined nor rounded."""
        return not self.is_dense and self.refinement is None and not self.rounded_to

    @property
    def rounded_to(self) -> str:
        """What the weights of the projections were rounded to, for people; empty: nothing was rounded."""
        if self.rank_map is not None and self.rank_map.is_rounded:
            return "bits per block"
        return "" if self.weight_bits == max(STORED_AS) else f"{self.weight_bits} bits"

    @property
    def model_bytes(self) -> int:
        """Of the whole model in 16 bits, with its projections in fewer where they were rounded."""
        return self.size.model_bytes[STORED_AS[self.weight_bits]]

    @property
    def map_id(self) -> str:
        """Of the rank map, whichever factors it was measured with."""
        return self.id.partition("@")[0].partition("+")[0]

    @property
    def refinement_id(self) -> str:
        """Of the refined factors; empty where they are as computed."""
        return self.id.partition("@")[0].partition("+")[2]


class Measured(Protocol):
    """A stored number that knows what it may be compared with."""

    @property
    def setting(self) -> tuple[Hashable, ...]:
        """Equal where two numbers compare."""
        ...


M = TypeVar("M", bound=Measured)


def by_setting(found: Iterable[M]) -> list[M]:
    """Return one of every setting, in the order they come."""
    first: dict[tuple[Hashable, ...], M] = {}
    for one in found:
        first.setdefault(one.setting, one)
    return list(first.values())


def of_setting(found: Sequence[M], setting: tuple[Hashable, ...]) -> M | None:
    """Return the newest measurement in a setting; rows have the newest first."""
    return next((one for one in found if one.setting == setting), None)
