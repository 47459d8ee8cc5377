"""What a visitor asks, as it goes through a pipe; free of torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from engine.decoding.schedules import RankSchedule, ScheduleKind
from engine.specs import GenerationSpec, require_prompt

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class MapChoice:
    """The model under a rank map.

    Attributes:
        rank_map: its JSON document.
        refinement: id of refined factors for this very map.
    """

    rank_map: str
    refinement: str | None = None


@dataclass(frozen=True, slots=True)
class ProgressiveChoice:
    """The model whose ranks go down while it writes.

    Attributes:
        schedule: the budgets.
        method: preset that allocates each of them.
    """

    schedule: RankSchedule
    method: str = "flrc"


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt for the dense model and for a compressed one, or for two compressed ones.

    Attributes:
        analysis: id of the analysis whose model and factors are used.
        prompt: what the visitor wrote.
        chat: whether it goes through the model's chat template; ``None``: if the model has one.
        spec: how tokens are chosen; the same draws for both models.
        compressed: the model beside the dense one.
        title: what people call that.
        instead: a compressed model in the place of the dense one; ``None``: the dense one.
        instead_title: what people call that.
    """

    analysis: str
    prompt: str
    chat: bool | None
    spec: GenerationSpec
    compressed: MapChoice | ProgressiveChoice
    title: str = ""
    instead: MapChoice | ProgressiveChoice | None = None
    instead_title: str = ""

    def __post_init__(self) -> None:
        """Check the prompt; the rest was checked when it was made."""
        require_prompt(self.prompt)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values that :meth:`from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Question:
        """Read what :meth:`to_json` returned."""
        instead = document.get("instead")
        models = {
            "compressed": _choice_of(document["compressed"]),
            "instead": None if instead is None else _choice_of(instead),
        }
        return cls(**{**document, "spec": GenerationSpec(**document["spec"]), **models})


def _choice_of(document: Mapping[str, Any]) -> MapChoice | ProgressiveChoice:
    if "schedule" not in document:
        return MapChoice(**document)
    schedule = {**document["schedule"], "kind": ScheduleKind(document["schedule"]["kind"])}
    return ProgressiveChoice(RankSchedule(**schedule), document["method"])
