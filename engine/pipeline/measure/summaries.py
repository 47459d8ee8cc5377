"""Summaries by the dense model and by rank maps, their texts and their ROUGE."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from cache import fingerprint
from engine.evaluation.bootstrap import bootstrap_difference
from engine.evaluation.summaries import MEASURES, Summaries, build_prompts, write_summaries
from engine.model.sources import corpus_fingerprint, resolve_texts
from engine.pipeline.measure.part import write_part
from engine.precision import ROUNDINGS
from engine.rank_map.identity import ARTICLES, part_key
from engine.text.pairs import TextPair, load_pairs

if TYPE_CHECKING:
    from cache import Key
    from engine.evaluation.specs import SummarySpec
    from engine.pipeline.opened import OpenedAnalysis
    from engine.progress import Report
    from engine.rank_map.document import RankMap


def summaries_part(opened: OpenedAnalysis, spec: SummarySpec, report: Report) -> SummariesPart:
    """Return the part that summarises; its articles are read, so that what is wrong with them comes first.

    Raises:
        CorpusError: the articles cannot be read, or are too few.
    """
    texts = resolve_texts(opened.home, spec.corpus, report)
    return SummariesPart(opened, spec, tuple(load_pairs(spec.corpus, spec.reference_field, texts)))


@dataclass(frozen=True, slots=True)
class SummariesPart:
    """Summaries of the same articles; article, reference and the dense model's summary are stored once."""

    opened: OpenedAnalysis
    spec: SummarySpec
    pairs: tuple[TextPair, ...]

    @property
    def weight(self) -> int:
        """About the tokens read, and five times those written one by one."""
        return self.spec.corpus.n_sequences * (self.spec.corpus.length + 5 * self.spec.max_new_tokens)

    def key(self, rank_map: RankMap | None) -> Key:
        """Return where the summaries are stored; how many are generated at once does not matter."""
        anonymous = replace(self.spec, corpus=replace(self.spec.corpus, location=""), batch_size=1)
        subject = None if rank_map is None else (self.opened.analysis.id, rank_map)
        model, rounding = self.opened.folder.fingerprint, ROUNDINGS.get(self.opened.weight_bits)
        return part_key("summaries", anonymous, model, self._data, subject, rounding)

    def is_stored(self, rank_map: RankMap | None) -> bool:
        """Return whether the summaries are there."""
        return self.key(rank_map) in self.opened.store

    def measure(self, rank_map: RankMap | None, report: Report) -> None:
        """Generate, score and store.

        Raises:
            InvalidSpecError: a prompt does not fit the model.
            NumericalError: the model's numbers are not finite.
        """
        begun = time.monotonic()
        spec, opened = self.spec, self.opened
        prompts = build_prompts(opened.dense, self.pairs, spec)
        references = [pair.reference for pair in self.pairs]
        module = opened.module(rank_map)
        written = write_summaries(module, opened.dense.tokenizer, prompts, references, spec, report)
        document = {
            **self._scored(written, rank_map),
            "data_fingerprint": self._data,
            "setting": fingerprint("summary-setting", replace(spec, batch_size=1), [self._data], schema_version=1),
            "seed": spec.seed,
            "seconds": round(time.monotonic() - begun, 2),
            "text": spec.corpus.label,
            "template": spec.template,
            "chat": opened.dense.tokenizer.chat_template is not None if spec.chat is None else spec.chat,
            "max_new_tokens": spec.max_new_tokens,
            "mean_new_tokens": float(written.n_tokens.mean()),
            "summaries": list(written.texts),
        }
        write_part(opened, self.key(rank_map), rank_map, document, {ARTICLES: written.scores})

    @property
    def _data(self) -> str:
        return corpus_fingerprint(self.spec.corpus)

    def _scored(self, written: Summaries, rank_map: RankMap | None) -> dict[str, object]:
        rouge = {measure: asdict(written.interval(measure, self.spec)) for measure in MEASURES}
        if rank_map is None:
            articles, references = [pair.text for pair in self.pairs], [pair.reference for pair in self.pairs]
            return {"rouge": rouge, "differences": {}, "articles": articles, "references": references}
        dense = self.opened.store.read(self.key(None)).arrays(ARTICLES)
        resampling = {"n_resamples": self.spec.n_resamples, "seed": self.spec.seed}
        differences = {
            measure: asdict(bootstrap_difference(written.scores[measure], dense[measure], **resampling))
            for measure in MEASURES
        }
        return {"rouge": rouge, "differences": differences, "dense": self.key(None).fingerprint}
