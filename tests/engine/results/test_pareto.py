"""The front against its definition, point by point."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from engine.results.pareto import pareto_front
from tests.support.examples import examples

coarse = st.integers(0, 6).map(float)
number = st.one_of(coarse, st.floats(allow_nan=True, allow_infinity=True))


def beats(a, b):
    return a[0] <= b[0] and a[1] <= b[1] and a != b


@examples(2000)
@given(st.lists(st.tuples(number, number), max_size=12))
def test_the_front_is_what_nothing_beats(points):
    finite = [p for p in points if all(map(math.isfinite, p))]
    expected = [all(map(math.isfinite, p)) and not any(beats(other, p) for other in finite) for p in points]
    assert pareto_front(points) == expected


def test_equal_points_stand_or_fall_together():
    assert pareto_front([(1, 2), (2, 1), (1, 2), (2, 2), (3, 1)]) == [True, True, True, False, False]
    assert pareto_front([]) == []
