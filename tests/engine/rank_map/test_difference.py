"""Differences of rank maps: nothing is lost, nothing unchanged is listed."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from engine.formats import allocated_params
from engine.rank_map.difference import Decision, difference_to_csv, params_moved, rank_map_difference
from engine.types import BlockRank, Format
from tests.engine.rank_map.test_document import INVENTORY, K, Q, of_toy, rank_map
from tests.support.examples import examples
from tests.support.strategies import toy_models

kept = st.floats(0, 1)


@examples(200)
@given(model=toy_models(largest=30, truncated=False), low=kept, high=kept)
def test_moved_parameters_add_up_to_the_difference_of_the_maps(model, low, high):
    before, after = of_toy(model, low), of_toy(model, high)
    changes = rank_map_difference(before, after, model.inventory)
    gained, lost = params_moved(changes)
    expected = allocated_params(after.blocks, model.inventory) - allocated_params(before.blocks, model.inventory)
    assert gained - lost == expected
    back = rank_map_difference(after, before, model.inventory)
    assert [replace(c, before=c.after, after=c.before) for c in back] == list(changes)
    assert not rank_map_difference(before, before, model.inventory)


def test_a_shared_block_is_told_member_by_member():
    shared = rank_map(BlockRank((Q.name, K.name), Format.CAT, 5))
    changes = rank_map_difference(rank_map(), shared, INVENTORY)
    assert [(c.projection, c.before, c.after) for c in changes] == [
        (name, Decision(Format.DENSE, None, 128), Decision(Format.CAT, 5, 80)) for name in (Q.name, K.name)
    ]
    assert params_moved(changes) == (0, 96)
    rows = list(csv.DictReader(io.StringIO(difference_to_csv(changes))))
    assert rows[0] == {
        **{"projection": Q.name, "kind": Q.kind, "layer": "0", "params_gained": "-48"},
        **{"format_before": "dense", "rank_before": "dense", "params_before": "128"},
        **{"format_after": "cat", "rank_after": "5", "params_after": "80"},
    }
