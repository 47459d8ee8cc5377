"""Both models write, token by token in turn."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from engine.playground.answers import SIDES, AnswerStatus
from engine.playground.turns import Runner, Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from engine.pipeline.generate import GenerationSession, Variant
    from engine.playground.models import Models
    from engine.playground.questions import Question
    from engine.specs import GenerationSpec

    Tell = Callable[..., None]


class Writer:
    """Answers questions with the models that are open.

    Args:
        models: where they are opened.
        stopped: ids of questions that are not to be answered any further; grows while the writer works.
    """

    def __init__(self, models: Models, stopped: Container[str]) -> None:
        self._models = models
        self._stopped = stopped
        self._pool = ThreadPoolExecutor(len(SIDES), "writer")

    def write(self, question_id: str, question: Question, tell: Tell) -> AnswerStatus:
        """Answer a question and return how that ended.

        Args:
            question_id: of the question.
            question: what is asked.
            tell: called with an event and its values, by several threads but never by two at once.

        Raises:
            RankScopeError: a model cannot be opened, the prompt does not fit, or numbers are not finite.
        """

        def is_stopped() -> bool:
            return question_id in self._stopped

        def report(stage: str, fraction: float | None, message: str) -> None:  # noqa: ARG001 - a progress report
            tell("loading", message=message)

        if is_stopped():
            return AnswerStatus.STOPPED
        report("model", 0.0, "Starting")
        session = self._models.session(question.analysis, report)
        prompt = session.encode(question.prompt, question.spec, chat=question.chat)
        instead = question.instead
        first = session.dense() if instead is None else self._models.variant(session, instead, report)
        variants = (first, self._models.variant(session, question.compressed, report))
        tell(
            "prompt",
            n_tokens=len(prompt),
            chat=question.chat is not False and session.model.tokenizer.chat_template is not None,
            compressible_params=session.analysis.inventory.compressible_params,
        )
        if is_stopped():
            return AnswerStatus.STOPPED
        turns = Turns()
        running = []
        for name, variant in zip(SIDES, variants, strict=True):
            side = _Side(name, variant, Runner(turns), tell, is_stopped)
            running.append(self._pool.submit(side.write, session, prompt, question.spec))
        failures = [failure for side in running if (failure := side.exception()) is not None]
        if failures:
            raise failures[0]
        return AnswerStatus.STOPPED if is_stopped() else AnswerStatus.DONE


class _Side:
    """One model's part in an answer."""

    def __init__(self, name: str, variant: Variant, runner: Runner, tell: Tell, is_stopped: Callable[[], bool]) -> None:
        self._name = name
        self._variant = variant
        self._runner = runner
        self._tell = tell
        self._is_stopped = is_stopped
        self._pieces: list[str] = []
        self._n_tokens = 0
        self._begun = self._first = 0.0

    def write(self, session: GenerationSession, prompt: list[int], spec: GenerationSpec) -> None:
        with self._runner as runner:
            self._begun = runner.clock()
            found = session.complete(self._variant, prompt, spec, self._pieces.append, self._after_token, runner.clock)
            self._send("side", found.prefill_s, found.decode_s)

    def _after_token(self) -> bool:
        now = self._runner.clock()
        self._first = self._first or now
        self._n_tokens += 1
        self._send("token", self._first - self._begun, now - self._first)
        if self._is_stopped():
            return False
        self._runner.let_others()
        return not self._is_stopped()

    def _send(self, event: str, prefill_s: float, decode_s: float) -> None:
        text = "".join(self._pieces)
        self._pieces.clear()
        active = self._variant.active_params(self._n_tokens)[-1:] if event == "token" else []
        self._tell(event, side=self._name, text=text, active_params=active, prefill_s=prefill_s, decode_s=decode_s)
