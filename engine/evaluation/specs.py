"""How a model is measured beside its perplexity; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engine.errors import InvalidSpecError
from engine.specs import AUTO_DTYPES

if TYPE_CHECKING:
    from engine.specs import CorpusSpec

ARTICLE: Final = "{article}"
"""Where the article goes in the prompt of a summary."""


@dataclass(frozen=True, slots=True)
class SummarySpec:
    """How summaries are generated and scored; greedy, so that nothing is random but the resampling.

    Attributes:
        corpus: the articles; ``n_sequences`` of them, each cut to ``length`` tokens.
        reference_field: column of the written summaries; not used for the demo.
        template: the prompt, with ``{article}`` where the article goes.
        chat: whether the prompt goes through the model's chat template; ``None``: if it has one.
        max_new_tokens: longest summary.
        min_new_tokens: shortest summary; a damaged model that would end at once then has to write.
        dtype: weights and arithmetic.
        batch_size: articles per pass, of similar length.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    corpus: CorpusSpec
    reference_field: str = "summary"
    template: str = f"Article: {ARTICLE}\n\nSummarize the article in one sentence."
    chat: bool | None = None
    max_new_tokens: int = 40
    min_new_tokens: int = 0
    dtype: str = "float32"
    batch_size: int = 10
    n_resamples: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the template and the ranges."""
        if self.template.count(ARTICLE) != 1:
            raise InvalidSpecError(
                f"The prompt template {self.template!r} was given; expected {ARTICLE} in it exactly once, where the "
                "article goes."
            )
        if self.max_new_tokens < 1 or self.batch_size < 1:
            raise InvalidSpecError(
                f"Summaries of {self.max_new_tokens} tokens in batches of {self.batch_size} were asked for; expected "
                "at least 1 of each."
            )


@dataclass(frozen=True, slots=True)
class CostSpec:
    """On what a model is run.

    Attributes:
        prompt_tokens: read at once.
        new_tokens: generated one by one after them.
        batch_sizes: sequences at once.
        repetitions: of every measurement, after one that is not counted.
        seed: of the random prompt.
    """

    prompt_tokens: int = 128
    new_tokens: int = 16
    batch_sizes: tuple[int, ...] = (1, 8)
    repetitions: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if min(self.prompt_tokens, self.new_tokens, self.repetitions, *self.batch_sizes) < 1 or not self.batch_sizes:
            raise InvalidSpecError(
                f"Speed over {self.prompt_tokens} prompt tokens, {self.new_tokens} new ones, {self.repetitions} "
                f"repetitions and batches of {self.batch_sizes} was asked for; expected at least 1 of each."
            )


@dataclass(frozen=True, slots=True)
class MemorySpec:
    """How a folder is run, on the CPU.

    Attributes:
        dtype: the weights are loaded as; ``auto``: as they are stored. Where the two differ, the stored weights count
            as well while they are converted, so compare folders of one stored type.
        n_tokens: of the prompt.
    """

    dtype: str = "auto"
    n_tokens: int = 128

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.dtype not in AUTO_DTYPES or self.n_tokens < 1:
            raise InvalidSpecError(
                f"Memory in {self.dtype!r} over {self.n_tokens} tokens was asked for; expected one of "
                f"{', '.join(AUTO_DTYPES)}, and at least 1 token."
            )
