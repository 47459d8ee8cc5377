"""What several operations are about: a text, an analysis, a rank map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field

from engine.operations._base import Operation
from engine.paths import given_path
from engine.pipeline.reading.analyses import find_analysis
from engine.rank_map.document import check_rank_map, parse_rank_map
from engine.results.json_form import from_json
from engine.results.words import method_title, percent
from engine.specs import LARGEST_SEED, CorpusSpec
from engine.types import Inventory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cache import Store
    from engine.rank_map.document import RankMap


def absolute_if_there(text: str) -> str:
    """Return a path that means the same in a job's process; anything else as it is."""
    if text in {"", "demo"}:
        return text
    path = given_path(text)
    return str(path.resolve()) if path.exists() else text


Source = Annotated[str, AfterValidator(absolute_if_there)]
MOST_NAMED: Final = 3
"""Maps in the title of a job."""
MOST_SEQUENCES: Final = 1_000_000
"""Torch counts in 64 bits, and what is stored for a text lists its runs."""

TextSource = Annotated[
    Source, Field(description="demo, demo:news, a .txt or .jsonl file, or a hub data set ID[:CONFIG][@SPLIT].")
]
OtherText = Annotated[Source, Field(description="A text of another domain; '' for none.")]
Sequences = Annotated[int, Field(ge=1, le=MOST_SEQUENCES)]
Length = Annotated[int, Field(ge=8, description="Tokens per sequence.")]
KeptFraction = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Device = Annotated[str, Field(description="auto (CUDA, else MPS, else CPU), cpu, mps, cuda or cuda:N.")]
Analysed = Annotated[str, Field(description="Id of an analysis.")]


class OnText(Operation):
    """An operation that reads a text."""

    text: TextSource = "demo"
    text_field: str = Field(default="text", description="Column or key that holds the text or the chat messages.")
    n_sequences: Sequences
    length: Length = 512

    def corpus(self, part: str) -> CorpusSpec:
        """Return the text, for calibration or evaluation.

        Raises:
            InvalidSpecError: there is no such text.
        """
        return CorpusSpec.parse(
            self.text, part=part, n_sequences=self.n_sequences, length=self.length, text_field=self.text_field
        )


class OnTexts(OnText):
    """An operation that reads a text, and perhaps one of another domain."""

    other_text: OtherText
    other_n_sequences: Sequences = Field(default=10, description="Sequences of the other text.")

    def corpora(self) -> tuple[CorpusSpec, ...]:
        """Return the one or two texts, for evaluation.

        Raises:
            InvalidSpecError: there is no such text.
        """
        other = {"text": self.other_text, "n_sequences": self.other_n_sequences}
        asked = (self, self.model_copy(update=other)) if self.other_text else (self,)
        return tuple(one.corpus("evaluation") for one in asked)


class OnRankMap(Operation):
    """An operation on one rank map of an analysis."""

    analysis: Analysed
    rank_map: str = Field(description="The rank map, as JSON.")

    def parsed_map(self) -> RankMap:
        """Return the rank map.

        Raises:
            InvalidRankMapError: the text is none.
        """
        return parse_rank_map(self.rank_map.encode())


def analysed_model(store: Store, analysis_id: str) -> str:
    """Return the name of an analysed model.

    Raises:
        RankScopeError: there is no such analysis.
    """
    return str(store.read(find_analysis(store, analysis_id)).manifest.about["model"])


def named_maps(store: Store, analysis_id: str, rank_maps: Sequence[RankMap]) -> str:
    """Return method and kept fraction of maps, and of which model: Water-filling at 80.0 % of SmolLM2.

    Raises:
        RankScopeError: there is no such analysis, or a map does not fit it.
    """
    artifact = store.read(find_analysis(store, analysis_id))
    inventory = from_json(Inventory, artifact.json("analysis.json")["inventory"])
    names = []
    for rank_map in rank_maps:
        kept = check_rank_map(rank_map, inventory, None) / inventory.compressible_params
        names.append(f"{method_title(rank_map.method)} at {percent(kept)}")
    more = len(names) - MOST_NAMED
    listed = ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{listed} of {artifact.manifest.about['model']}"
