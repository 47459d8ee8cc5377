"""ROUGE of generated summaries against written ones.

References:
    Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"; scored by the package rouge-score.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.decoding.generation import encode_prompt, generate_tokens, require_positions
from engine.evaluation.bootstrap import Interval, bootstrap_difference, bootstrap_mean
from engine.evaluation.specs import ARTICLE
from engine.model.module import require_embedded
from engine.specs import GenerationSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from engine.decoding.generation import Decoder
    from engine.evaluation.specs import SummarySpec
    from engine.model.opening import OpenModel
    from engine.progress import Report
    from engine.text.pairs import TextPair

MEASURES = ("rouge1", "rouge2", "rougeL")


@dataclass(frozen=True, slots=True, eq=False)
class Summaries:
    """What a model wrote, and how it compares.

    Attributes:
        texts: one summary per article.
        n_tokens: (n,) tokens generated for each, the end-of-text token included.
        scores: measure -> (n,) F1 of each summary in [0, 1], words stemmed.
        seconds: that generation took.
    """

    texts: tuple[str, ...]
    n_tokens: NDArray[np.int64]
    scores: dict[str, NDArray[np.float64]]
    seconds: float

    def interval(self, measure: str, spec: SummarySpec) -> Interval:
        """Return the mean score with its bootstrap interval over articles."""
        return bootstrap_mean(self.scores[measure], n_resamples=spec.n_resamples, seed=spec.seed)

    def difference(self, other: Summaries, measure: str, spec: SummarySpec) -> Interval:
        """Return the mean of this model's score minus the other's, paired by article."""
        first, second = self.scores[measure], other.scores[measure]
        return bootstrap_difference(first, second, n_resamples=spec.n_resamples, seed=spec.seed)


def build_prompts(model: OpenModel, pairs: Sequence[TextPair], spec: SummarySpec) -> list[list[int]]:
    """Return the token ids of the prompt of each article.

    Raises:
        InvalidSpecError: a prompt does not fit the model, or a chat template is asked for and there is none.
        ModelError: the tokenizer makes tokens of an article that the model does not know.
    """
    tokenizer = model.tokenizer
    prompts = []
    for pair in pairs:
        ids = tokenizer(pair.text, add_special_tokens=False, verbose=False)["input_ids"][: spec.corpus.length]
        article = tokenizer.decode(ids, skip_special_tokens=True)
        prompts.append(encode_prompt(tokenizer, spec.template.replace(ARTICLE, article), chat=spec.chat))
        require_embedded(model.module, prompts[-1])
    require_positions(model.module, max(map(len, prompts)), spec.max_new_tokens)
    return prompts


def write_summaries(
    decoder: Decoder,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    references: Sequence[str],
    spec: SummarySpec,
    report: Report,
) -> Summaries:
    """Let a model summarise and score what it writes.

    Args:
        decoder: the model.
        tokenizer: its own.
        prompts: from :func:`build_prompts`.
        references: the written summaries, in the same order.
        spec: how.
        report: told after every batch.

    Raises:
        NumericalError: the model's numbers are not finite.
    """
    begun = time.monotonic()
    # Longest first, so that little is padded and memory is known after the first batch.
    order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
    written: list[list[int]] = [[] for _ in prompts]
    settings = GenerationSpec(spec.max_new_tokens, min_new_tokens=spec.min_new_tokens)
    for start in range(0, len(order), spec.batch_size):
        batch = order[start : start + spec.batch_size]
        generated = generate_tokens(decoder, [prompts[i] for i in batch], settings)
        for index, tokens in zip(batch, generated, strict=True):
            written[index] = tokens
        done = start + len(batch)
        report("summaries", done / len(order), f"Summaries: {done} of {len(order)} articles")
    seconds = time.monotonic() - begun
    texts = tuple(tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in written)
    n_tokens = np.array([len(tokens) for tokens in written], dtype=np.int64)
    return Summaries(texts, n_tokens, score_summaries(texts, references), seconds)


def score_summaries(texts: Sequence[str], references: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return measure -> (n,) F1 in [0, 1] of ROUGE-1, ROUGE-2 and ROUGE-L, words stemmed."""
    from rouge_score.rouge_scorer import RougeScorer  # brings nltk and scipy.stats

    scorer = RougeScorer(list(MEASURES), use_stemmer=True)
    found = [scorer.score(reference, text) for text, reference in zip(texts, references, strict=True)]
    return {m: np.array([scores[m].fmeasure for scores in found], dtype=np.float64) for m in MEASURES}
