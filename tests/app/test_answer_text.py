"""Marking what two answers differ in, with nothing a model wrote as markup."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wording.answers import compare, ending, framed, numbers, unmarked

TEXTS = st.text(st.sampled_from("ab <>&\"'\n\té"), max_size=30)


def without_marks(html: str) -> str:
    return unescape(re.sub(r"</?mark[^>]*>", "", html))


def marked(html: str) -> list[str]:
    return [unescape(found) for found in re.findall(r"<mark[^>]*>(.*?)</mark>", html, re.S)]


@given(TEXTS, TEXTS)
def test_the_texts_stay_as_they_are_and_only_our_marks_are_markup(first: str, second: str) -> None:
    found = compare(first, second)
    for text, html in ((first, found.first), (second, found.second)):
        assert without_marks(html) == text
        assert set(re.findall(r"</?([a-z]+)", html)) <= {"mark"}
    assert found.is_equal == (first.split() == second.split())


def test_words_are_marked_from_the_first_difference_on() -> None:
    found = compare("the sky is blue because of light", "the sky is red because of dust and light")
    assert found.n_equal == 3
    assert marked(found.first) == ["blue"]
    assert marked(found.second) == ["red", "dust and"]
    assert compare("one two", "one two three").n_equal == 2


def test_what_both_begin_with_is_never_marked() -> None:
    # The longest run that both have lies later, where a matcher alone would begin.
    found = compare("a b x y z", "a b a x y z")
    assert found.n_equal == 2
    assert not marked(found.first)
    assert marked(found.second) == ["a"]


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '<img src=x onerror="alert(1)">', "</div><b>"])
def test_markup_of_a_model_is_text(text: str) -> None:
    for html in (
        compare(text, "x").first,
        unmarked(text, is_growing=True),
        framed("", text),
        numbers([(text, text, text)]),
    ):
        assert not re.search(r"<(script|img|b)\b", html)


def test_texts_with_little_in_common_are_not_marked() -> None:
    found = compare("the old man went home early", "a ship sank near the rocks")
    assert not marked(found.first) + marked(found.second)


def test_an_answer_says_that_it_ended_by_itself() -> None:
    assert ending(8, 100, is_complete=True) == "ended by itself after 8 tokens"
    assert ending(1, 100, is_complete=True) == "ended by itself after 1 token"
    assert ending(100, 100, is_complete=True) == ""
    assert ending(8, 100, is_complete=False) == ""
