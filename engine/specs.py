"""Frozen descriptions of what each stage computes; a stage's artifact is keyed by its whole spec."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, get_args

from engine.errors import InvalidSpecError
from engine.paths import given_path, is_confined
from engine.types import Metric

LARGEST_SEED = 2**32 - 1
"""Of what draws at random here, numpy's older generators take the smallest seeds."""

Dtype = Literal["float32", "bfloat16", "float16"]
"""A number type that a model can compute in."""

AutoDtype = Literal["auto", Dtype]
"""With ``auto``, whose choice each setting states."""

DTYPES: Final[tuple[str, ...]] = get_args(Dtype)
AUTO_DTYPES: Final[tuple[str, ...]] = get_args(AutoDtype)


class ModelSource(StrEnum):
    """Where a model comes from."""

    DEMO = "demo"
    HUB = "hub"
    FOLDER = "folder"
    GGUF = "gguf"


class CorpusSource(StrEnum):
    """Where text comes from."""

    DEMO = "demo"
    HUB = "hub"
    FILE = "file"


class Fisher(StrEnum):
    """What the backward pass behind the gradients' second moments starts from at the logits.

    The loss of the true next tokens, that of tokens drawn from the model, or random signs whose second moment is the
    Gauss-Newton matrix of the softmax, which is the drawn tokens' too, with less variance.
    """

    EMPIRICAL = "empirical"
    SAMPLED = "sampled"
    GGN = "ggn"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model, and how it is opened.

    Attributes:
        source: demo, hub, folder or gguf.
        location: hub id, folder, or GGUF file; empty for the demo.
        revision: hub revision (branch, tag or commit); ``None`` is the default branch.
        trust_remote_code: run Python code that comes with the model; only on the user's explicit wish.
    """

    source: ModelSource
    location: str = ""
    revision: str | None = None
    trust_remote_code: bool = False

    @classmethod
    def parse(cls, text: str, *, trust_remote_code: bool = False) -> ModelSpec:
        """Read what a user types: ``demo``, a folder, a ``.gguf`` file, or ``owner/name[@revision]``.

        Raises:
            InvalidSpecError: the text is none of these.
        """
        text = text.strip()
        if text == "demo":
            return cls(ModelSource.DEMO)
        if trust_remote_code and is_confined():
            raise InvalidSpecError(
                f"Python code that comes with {text!r} is not run for visitors of a dashboard; analyse the model on "
                "the machine itself, with rankscope analyse --trust-remote-code."
            )
        path = given_path(text)
        if path.is_dir():
            return cls(ModelSource.FOLDER, str(path.resolve()), trust_remote_code=trust_remote_code)
        if path.suffix == ".gguf" and path.is_file():
            return cls(ModelSource.GGUF, str(path.resolve()))
        name, _, revision = text.partition("@")
        looks_like_path = path.is_absolute() or text.startswith((".", "~")) or text.endswith(".gguf")
        if not name or looks_like_path or name.count("/") > 1 or any(c.isspace() for c in name):
            raise InvalidSpecError(
                f"No model was found at {text!r}; expected 'demo', an existing folder, an existing .gguf "
                "file, or a hub id such as HuggingFaceTB/SmolLM2-135M, optionally with @revision."
            )
        return cls(ModelSource.HUB, name, revision or None, trust_remote_code)

    @property
    def is_path(self) -> bool:
        """Whether the location is a folder or file of this machine, which can be moved."""
        return self.source in {ModelSource.FOLDER, ModelSource.GGUF}

    @property
    def label(self) -> str:
        """A short name for people."""
        if self.source is ModelSource.DEMO:
            return "SmolLM2-135M-Instruct (demo)"
        if self.source is ModelSource.HUB:
            return self.location + (f"@{self.revision}" if self.revision else "")
        return Path(self.location).name


DEMO_TEXTS = ("wikipedia", "news")


@dataclass(frozen=True, slots=True)
class CorpusSpec:
    """Which text, cut to how many token sequences.

    Attributes:
        source: demo, hub or file.
        location: demo text name (``wikipedia`` or ``news``), hub data set id, or file.
        part: ``calibration`` or ``evaluation`` of the demo's Wikipedia text (disjoint), or the
            split of a hub data set; ignored for a file.
        config: hub configuration name, if the data set has several.
        text_field: column or JSON key holding the text (or a list of chat messages).
        n_sequences: sequences wanted; fewer available is an error.
        length: tokens per sequence.
    """

    source: CorpusSource
    location: str
    part: str = "calibration"
    config: str | None = None
    text_field: str = "text"
    n_sequences: int = 64
    length: int = 512

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.n_sequences < 1 or self.length < 8:
            raise InvalidSpecError(
                f"A corpus of {self.n_sequences} sequences of {self.length} tokens was asked for; "
                "expected at least 1 sequence of at least 8 tokens."
            )

    @classmethod
    def parse(cls, text: str, *, part: str, n_sequences: int, length: int, text_field: str = "text") -> CorpusSpec:
        """Read what a user types: ``demo[:wikipedia|:news]``, a .txt/.jsonl file, or ``id[:config][@split]``.

        Raises:
            InvalidSpecError: the text is none of these.
        """
        name, _, rest = text.strip().partition(":")
        if name == "demo":
            chosen = rest or "wikipedia"
            if chosen not in DEMO_TEXTS:
                raise InvalidSpecError(
                    f"The demo text {chosen!r} does not exist; expected one of {', '.join(DEMO_TEXTS)}."
                )
            return cls(CorpusSource.DEMO, chosen, part, n_sequences=n_sequences, length=length)
        path = given_path(text)
        if path.suffix in {".txt", ".jsonl", ".json"}:
            if not path.is_file():
                raise InvalidSpecError(f"The text file {text} does not exist; give the path of a .txt or .jsonl file.")
            return cls(
                CorpusSource.FILE,
                str(path.resolve()),
                part,
                text_field=text_field,
                n_sequences=n_sequences,
                length=length,
            )
        data_set, _, split = text.strip().partition("@")
        identifier, _, config = data_set.partition(":")
        if not identifier or any(c.isspace() for c in identifier):
            raise InvalidSpecError(
                f"No text was found at {text!r}; expected 'demo', 'demo:news', a .txt or .jsonl file, or a hub "
                "data set such as Salesforce/wikitext:wikitext-2-raw-v1@test."
            )
        default_split = "train" if part == "calibration" else "test"
        return cls(
            CorpusSource.HUB,
            identifier,
            split or default_split,
            config or None,
            text_field,
            n_sequences,
            length,
        )

    @property
    def label(self) -> str:
        """A short name for people."""
        if self.source is CorpusSource.DEMO:
            return {"wikipedia": f"Wikipedia passages ({self.part})", "news": "BBC news (XSum)"}[self.location]
        name = Path(self.location).name if self.source is CorpusSource.FILE else self.location
        return f"{name} ({self.part})" if self.source is CorpusSource.HUB else name


@dataclass(frozen=True, slots=True)
class CalibrationSpec:
    """How statistics are collected over a corpus.

    Attributes:
        fisher: what the gradients behind the second moments are taken of.
        batch_size: sequences per forward and backward pass.
        compute_dtype: autocast type of the passes; moments are float32 whatever it is. ``auto`` is what the machine is
            faster in, and what an analysis states it was made in.
        seed: of drawn labels and signs.
    """

    fisher: Fisher = Fisher.EMPIRICAL
    batch_size: int = 2
    compute_dtype: str = "bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.batch_size < 1:
            raise InvalidSpecError(f"Batch size {self.batch_size} was given; expected at least 1.")
        if self.compute_dtype not in AUTO_DTYPES:
            raise InvalidSpecError(
                f"Compute dtype {self.compute_dtype!r} was given; expected one of {', '.join(AUTO_DTYPES)}."
            )


DEFAULT_METRICS = (Metric.INPUT, Metric.FEATURE, Metric.LOSS)


@dataclass(frozen=True, slots=True)
class AnalysisSpec:
    """Everything that decides the outcome of an analysis.

    Attributes:
        model: the model as the user named it.
        corpus: the calibration text.
        calibration: how statistics are taken from it.
        metrics: whose factors are stored; the spectra of all four are always computed.
        damping: first relative damping added to a second moment before its Cholesky factorisation.
        gradient_shrinkage: how far the gradients' second moments are shrunk towards a multiple of the identity
            before anything is factorised or predicted with them.
        around_kept_fraction: the statistics are taken on the model that water-filling compressed to this
            kept fraction, after an analysis of the dense model; ``None``: on the dense model.
        feature_groups: groups of neighbouring sequences around whose means the feature metric's pooled
            covariance is taken; ``None`` makes every sequence a group.
    """

    model: ModelSpec
    corpus: CorpusSpec
    calibration: CalibrationSpec = field(default_factory=CalibrationSpec)
    metrics: tuple[Metric, ...] = DEFAULT_METRICS
    damping: float = 1e-6
    gradient_shrinkage: float = 0.05
    around_kept_fraction: float | None = None
    feature_groups: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.damping <= 0.1:
            raise InvalidSpecError(
                f"Damping {self.damping} was given; expected a number above 0 and at most 0.1, for example 1e-6."
            )
        if not 0 <= self.gradient_shrinkage < 1:
            raise InvalidSpecError(
                f"Gradient shrinkage {self.gradient_shrinkage} was given; expected a number from 0 to below 1, for "
                "example 0.05."
            )
        if not self.metrics:
            raise InvalidSpecError("No metric was given; expected at least one of input, feature, loss, weight.")
        groups = self.feature_groups
        if groups is not None and (groups < 1 or self.corpus.n_sequences % groups):
            raise InvalidSpecError(
                f"{groups} feature groups were asked for; expected a number that divides the "
                f"{self.corpus.n_sequences} calibration sequences, so that every group is as large."
            )
        if self.around_kept_fraction is None:
            return
        if not 0 < self.around_kept_fraction < 1:
            raise InvalidSpecError(
                f"Statistics around the kept fraction {self.around_kept_fraction} were asked for; expected a number "
                "between 0 and 1, for example 0.8."
            )
        if Metric.LOSS not in self.metrics:
            raise InvalidSpecError(
                "Statistics around a compressed model need the loss metric, which is not among "
                f"{', '.join(self.metrics)}; add it to --metrics."
            )

    def with_pass_type(self, dtype: str) -> AnalysisSpec:
        """Return the same with passes in a type."""
        return replace(self, calibration=replace(self.calibration, compute_dtype=dtype))

    def candidates(self) -> tuple[AnalysisSpec, ...]:
        """Return what this spec may stand for: itself, or where the type of passes is open one for each."""
        if self.calibration.compute_dtype != "auto":
            return (self,)
        return tuple(self.with_pass_type(dtype) for dtype in ("bfloat16", "float32"))


@dataclass(frozen=True, slots=True)
class EvaluationSpec:
    """How a (compressed) model is measured.

    Attributes:
        corpus: held-out text.
        dtype: weights and arithmetic of both models.
        batch_size: sequences per forward pass.
        top_k: dense log-probabilities kept per position for the divergence; the rest is one bucket.
    """

    corpus: CorpusSpec
    dtype: str = "float32"
    batch_size: int = 4
    top_k: int = 256


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """How factors are trained to predict what the dense model predicts.

    Attributes:
        n_sequences: of the calibration text, from its beginning; where it is shorter, all there is.
        epochs: passes over them.
        learning_rate: of Adam at its highest, in relation to the size of each entry's row and column; rises over ten
            steps and falls to 0 by a cosine.
        seed: of the order of the batches.
        minutes: training ends when these are over; the rate falls in time for that.
    """

    n_sequences: int = 1024
    epochs: int = 1
    learning_rate: float = 3e-4
    seed: int = 0
    minutes: float = 30.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.n_sequences < 2 or self.epochs < 1 or not 0 < self.learning_rate < 1 or not self.minutes > 0:
            raise InvalidSpecError(
                f"Training on {self.n_sequences:,} sequences with {self.epochs} epochs, the relative learning rate "
                f"{self.learning_rate:g} and {self.minutes:g} minutes was asked for; expected at least 2 sequences, 1 "
                "epoch, a rate between 0 and 1, and some time."
            )


@dataclass(frozen=True, slots=True)
class RefinementSpec:
    """How a compressed model is refined on the text its analysis was made on.

    Attributes:
        training: how factors are trained afterwards; ``None``: not at all.
        correct: whether left factors are first corrected in closed form.
        damping: of the correction, relative; a ridge towards the factors as they were.
        batch_size: sequences per pass.
        compute_dtype: autocast type of passes, ``auto`` for what the machine is faster in; factors are float32 whatever
            it is.
    """

    training: TrainingSpec | None = None
    correct: bool = True
    damping: float = 1e-3
    batch_size: int = 4
    compute_dtype: str = "bfloat16"

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.damping <= 1 or self.batch_size < 1:
            raise InvalidSpecError(
                f"A refinement with damping {self.damping} and {self.batch_size} sequences per pass was asked for; "
                "expected a damping above 0 and at most 1, and at least one sequence."
            )
        if not self.correct and self.training is None:
            raise InvalidSpecError("A refinement without correction and training changes nothing; ask for one of them.")

    @property
    def kind(self) -> str:
        """``corrected`` (closed form, no training) or ``trained``."""
        return "corrected" if self.training is None else "trained"


@dataclass(frozen=True, slots=True)
class PostTrainingSpec:
    """How diagonals are trained.

    Attributes:
        minutes: no step begins after this long.
        max_steps: at most.
        learning_rate: of Adam.
        batch_size: sequences per step.
        seed: of the order of the sequences.
    """

    minutes: float = 5.0
    max_steps: int = 1000
    learning_rate: float = 1e-3
    batch_size: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.minutes > 0 or self.max_steps < 1 or not self.learning_rate > 0 or self.batch_size < 1:
            raise InvalidSpecError(
                f"Post-training for {self.minutes} minutes, {self.max_steps} steps of {self.batch_size} sequences at "
                f"rate {self.learning_rate} was asked for; expected positive numbers."
            )


@dataclass(frozen=True, slots=True)
class GenerationSpec:
    """How tokens are chosen.

    Attributes:
        max_new_tokens: most tokens generated for a prompt; the end-of-text token counts.
        temperature: 0 takes the likeliest token; above, tokens are drawn from the whole distribution
            sharpened (below 1) or flattened by it.
        seed: of the draws.
        min_new_tokens: tokens before which the text cannot end.
    """

    max_new_tokens: int = 100
    temperature: float = 0.0
    seed: int = 0
    min_new_tokens: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.max_new_tokens < 1:
            raise InvalidSpecError(f"{self.max_new_tokens} new tokens were asked for; expected at least 1.")
        if not 0 <= self.min_new_tokens <= self.max_new_tokens:
            raise InvalidSpecError(
                f"At least {self.min_new_tokens} and at most {self.max_new_tokens} new tokens were asked for; expected "
                "a minimum from 0 to the maximum."
            )
        if not 0 <= self.seed <= LARGEST_SEED:
            raise InvalidSpecError(f"The seed {self.seed} was given; expected a number from 0 to {LARGEST_SEED}.")
        if not 0 <= self.temperature <= 100:
            raise InvalidSpecError(
                f"The temperature was given as {self.temperature}; expected 0 for the likeliest token, or a number "
                "up to 100, for example 0.7."
            )


def require_prompt(text: str) -> None:
    """Check that there is something to go on from.

    Raises:
        InvalidSpecError: there is only white space.
    """
    if not text.strip():
        raise InvalidSpecError("The prompt is empty; give some text to continue.")
