from __future__ import annotations

import pytest

from engine.errors import InvalidSpecError
from engine.registry import Registry, did_you_mean, shown


def registry() -> Registry[object]:
    things: Registry[object] = Registry("thing")
    things.register("water-filling")("w")
    things.register("uniform")("u")
    return things


def test_what_was_registered_is_found_in_order():
    things = registry()
    assert things.get("uniform") == "u"
    assert things.names() == ("water-filling", "uniform")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(InvalidSpecError) as error:
        registry().get("waterfilling")
    assert str(error.value) == (
        "The thing 'waterfilling' does not exist (did you mean 'water-filling'?); choose one of water-filling, uniform."
    )
    with pytest.raises(InvalidSpecError, match="'xyz' does not exist; choose one of"):
        registry().get("xyz")


def test_a_name_is_registered_once():
    with pytest.raises(InvalidSpecError, match="'uniform' is registered already"):
        registry().register("uniform")("v")


def test_untrusted_names_are_quoted_cut_and_not_compared_at_length():
    assert shown("a\nb") == r"'a\nb'"
    assert len(shown("x" * 10_000)) < 130
    assert did_you_mean("x" * 10**6, ["x" * 600]) == ""
