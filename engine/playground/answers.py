"""What is known of an answer while it is written, and how an event from the host changes it; free of torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.playground.questions import Question

SIDES = ("dense", "compressed")


class AnswerStatus(StrEnum):
    """How far an answer is."""

    WAITING = "waiting"
    LOADING = "loading"
    WRITING = "writing"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing will be added."""
        return self in {AnswerStatus.DONE, AnswerStatus.STOPPED, AnswerStatus.FAILED}


@dataclass(frozen=True, slots=True)
class Side:
    """What one of the two models has written; times are its own, without those in which the other one ran.

    Attributes:
        text: so far.
        active_params: parameters of the compressible projections that produced each token.
        prefill_s: seconds until the first token; 0 while there is none.
        decode_s: seconds from the first token to the last.
        is_complete: it will write no more.
    """

    text: str = ""
    active_params: tuple[int, ...] = ()
    prefill_s: float = 0.0
    decode_s: float = 0.0
    is_complete: bool = False

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens after the first one per second; ``None`` while there is only one."""
        return (len(self.active_params) - 1) / self.decode_s if self.decode_s > 0 else None


@dataclass(frozen=True, slots=True)
class Answer:
    """Both models' answers to a question.

    Attributes:
        question: what was asked.
        status: how far it is.
        ahead: how many visitors' questions come before a waiting one.
        note: what is being loaded, or why the answer ended early, in words.
        n_prompt_tokens: of the prompt as the models saw it; 0 until that is known.
        uses_chat_template: whether the prompt went through one.
        compressible_params: of the dense model; 0 until that is known.
        waited_s: seconds from asking to the first token of either model; ``None`` until there is one.
        dense: the side of the dense model, or of the one that the question names instead.
        compressed: the other one.
    """

    question: Question
    status: AnswerStatus = AnswerStatus.WAITING
    ahead: int = 0
    note: str = ""
    n_prompt_tokens: int = 0
    uses_chat_template: bool = False
    compressible_params: int = 0
    waited_s: float | None = None
    dense: Side = Side()
    compressed: Side = Side()


def updated(answer: Answer, event: Mapping[str, Any]) -> Answer:
    """Return an answer after an event; a final one stays as it is."""
    if answer.status.is_final:
        return answer
    match event["event"]:
        case "loading":
            return replace(answer, status=AnswerStatus.LOADING, note=event["message"])
        case "prompt":
            return replace(
                answer,
                status=AnswerStatus.WRITING,
                note="",
                n_prompt_tokens=event["n_tokens"],
                uses_chat_template=event["chat"],
                compressible_params=event["compressible_params"],
            )
        case "token":
            return _with_side(answer, event, ended=False)
        case "side":
            return _with_side(answer, event, ended=True)
        case "end":
            return replace(answer, status=AnswerStatus(event["status"]), note=event["note"])
        case other:
            raise ValueError(f"The host sent an event {other!r} that does not exist.")


def _with_side(answer: Answer, event: Mapping[str, Any], *, ended: bool) -> Answer:
    before = answer.dense if event["side"] == "dense" else answer.compressed
    side = Side(
        before.text + event["text"],
        (*before.active_params, *event["active_params"]),
        event["prefill_s"],
        event["decode_s"],
        ended,
    )
    return replace(answer, dense=side) if event["side"] == "dense" else replace(answer, compressed=side)
