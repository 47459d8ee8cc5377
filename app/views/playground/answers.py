"""Part of Playground: both answers while they are written, and how they differ once they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables
from app.services import playground
from app.views.shared.presence import presence
from app.widgets import columns
from app.widgets.errors import errors_shown
from app.wording import answers as answer_text
from app.wording.labels import plain
from engine.playground import SIDES, AnswerStatus, ProgressiveChoice, Side
from engine.results.words import TIMES, counted, percent

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from engine.playground import Answer

_POLL_S = 0.15
_TEXT_HEIGHT = 300
_ENDED_AT_ONCE = "<em>The model returned an empty answer.</em>"


def show_answer(answer_id: str | None, stop_place: DeltaGenerator, titles: tuple[str, str]) -> None:
    """Show an answer, refreshed while it is written.

    Args:
        answer_id: of the answer; ``None`` shows where one will be.
        stop_place: where the button goes that ends it.
        titles: of the two models that would answer now.
    """
    answer = None if answer_id is None else playground.playground().answer(answer_id, presence())
    is_active = answer is not None and not answer.status.is_final
    st.fragment(_show, run_every=_POLL_S if is_active else None)(answer_id, stop_place, titles, is_active)


def _show(answer_id: str | None, stop_place: DeltaGenerator, titles: tuple[str, str], was_active: bool) -> None:
    with errors_shown():
        answer = None if answer_id is None else playground.playground().answer(answer_id, presence())
        is_active = answer is not None and not answer.status.is_final
        if was_active and not is_active:
            st.rerun()  # without refreshing
        stop_place.button(
            "Stop",
            icon=":material/stop:",
            disabled=not is_active,
            on_click=playground.playground().stop,
            args=(answer_id,),
        )
        if answer is not None and answer.status is AnswerStatus.FAILED:
            st.error(plain(answer.note), icon=":material/error:")
        else:
            st.markdown("No question asked yet." if answer is None else _status(answer))
        if answer is not None:
            titles = answer_text.titles_of(answer.question.title, answer.question.instead_title)
        _show_sides(answer, titles)
        if answer is not None and isinstance(answer.question.compressed, ProgressiveChoice):
            _show_schedule(answer, answer.question.compressed)


def _status(answer: Answer) -> str:
    match answer.status:
        case AnswerStatus.WAITING if answer.ahead:
            others = counted(answer.ahead, "other question")
            return f":material/hourglass_top: Waiting behind {others}; the models answer one at a time."
        case AnswerStatus.WAITING:
            return ":material/hourglass_top: Starting the process that runs the models."
        case AnswerStatus.LOADING:
            return f":material/hourglass_top: {plain(answer.note)}. Later answers start sooner."
        case AnswerStatus.WRITING:
            return ":material/edit: Both models generate, one token each in turn."
        case AnswerStatus.STOPPED:
            return f":material/stop_circle: Stopped. {plain(answer.note)}"
        case _:
            return f":material/check_circle: Done. {_difference(answer)}"


def _difference(answer: Answer) -> str:
    compared = answer_text.compare(answer.dense.text, answer.compressed.text)
    if compared.is_equal:
        return "Both answers have the same words."
    n = compared.n_equal
    return "The answers differ " + (f"from word {n + 1} on." if n else "from the first word on.")


def _show_sides(answer: Answer | None, titles: tuple[str, str]) -> None:
    sides = (Side(), Side()) if answer is None else (answer.dense, answer.compressed)
    places = st.columns(2, gap="large")
    for name, place, title, side, text in zip(SIDES, places, titles, sides, _texts(answer), strict=True):
        with place:
            ended = _ending(side, answer)
            st.markdown(f"**{plain(title)}**" + (f" · {ended}" if ended else ""))
            st.container(key=f"numbers-{name}").html(answer_text.numbers(_numbers(side, answer)))
            with st.container(height=_TEXT_HEIGHT, border=True, autoscroll=True):
                st.html(answer_text.framed(text, f"Answer: {title}"))
    st.caption(_about_the_run(answer))


def _texts(answer: Answer | None) -> tuple[str, str]:
    """Return what both models wrote as inner HTML, marked where they differ once nothing is added any more."""
    if answer is None:
        return "", ""
    if answer.status in {AnswerStatus.DONE, AnswerStatus.STOPPED} and answer.dense.text and answer.compressed.text:
        compared = answer_text.compare(answer.dense.text, answer.compressed.text)
        return compared.first, compared.second
    is_writing = answer.status is AnswerStatus.WRITING
    first, second = (
        _ENDED_AT_ONCE
        if side.is_complete and not side.text
        else answer_text.unmarked(side.text, is_growing=is_writing and not side.is_complete)
        for side in (answer.dense, answer.compressed)
    )
    return first, second


def _ending(side: Side, answer: Answer | None) -> str:
    if answer is None or answer.status is not AnswerStatus.DONE:
        return ""
    most = answer.question.spec.max_new_tokens
    return answer_text.ending(len(side.active_params), most, is_complete=side.is_complete)


def _numbers(side: Side, answer: Answer | None) -> list[tuple[str, str, str]]:
    speed, n_tokens = side.tokens_per_s, len(side.active_params)
    kept = "–" if answer is None or not n_tokens else percent(side.active_params[-1] / answer.compressible_params)
    return [
        (
            "Tokens/s",
            "–" if speed is None else f"{speed:.1f}",
            "Tokens after the first one, per second. Each model is timed separately, although they take turns.",
        ),
        (
            "First token",
            f"{side.prefill_s:.2f} s" if n_tokens else "–",
            "Seconds to read the prompt and choose the first token.",
        ),
        ("Tokens", str(n_tokens) if n_tokens else "–", "Tokens written; a token is a piece of a word."),
        (
            "Active",
            kept,
            "Share of the compressible parameters that ran for the last token, each counted once.",
        ),
    ]


def _about_the_run(answer: Answer | None) -> str:
    if answer is None or not answer.n_prompt_tokens:
        return ""
    template = "with" if answer.uses_chat_template else "without"
    said = f"The prompt has {answer.n_prompt_tokens:,} tokens, {template} a chat template. "
    if answer.waited_s is not None:
        said += f"The first word came after {answer.waited_s:.1f} s, loading included. "
    if answer.dense.tokens_per_s and answer.compressed.tokens_per_s:
        ratio = answer.compressed.tokens_per_s / answer.dense.tokens_per_s
        one, other = ("second", "first") if answer.question.instead else ("compressed", "dense")
        said += f"The {one} model writes {ratio:.2f} {TIMES} as fast as the {other} one."
    return said


def _show_schedule(answer: Answer, choice: ProgressiveChoice) -> None:
    st.markdown("**Active parameters, token by token**")
    compressible = max(answer.compressible_params, 1)
    fractions = [params / compressible for params in answer.compressed.active_params]
    figure = charts.active_curve(fractions, choice.schedule, answer.question.spec.max_new_tokens)
    st.plotly_chart(figure, key="playground.active", alt="Active parameters over dense for every generated token")
    with st.expander("As a table"):
        config = {
            "first": st.column_config.NumberColumn("From token", help="The first token that runs at this budget."),
            "budget": columns.share("Budget", help_text="Kept fraction that was allowed."),
            "active": columns.share("Active", help_text="Share of the compressible parameters that ran."),
        }
        stages = columns.in_percent(tables.stages(fractions, choice.schedule), config)
        st.dataframe(stages, hide_index=True, placeholder="–", column_config=config)
