"""Costs of the formats against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.formats import (
    INDEX_BYTES,
    all_rank_params,
    block_params,
    index_bytes,
    largest_rank,
    max_useful_rank,
    rank_params,
    uniform_rank,
)
from engine.types import BlockRank, Format, Projection
from tests.support.examples import examples
from tests.support.strategies import FACTORED

every_format = pytest.mark.parametrize("storage", FACTORED)
sides = st.integers(1, 60)


def stored_entries(storage: Format, rank: int, n_in: int, n_out: int) -> int:
    """Count the entries of the factors that are stored."""
    left, right = np.ones((n_out, rank)), np.ones((rank, n_in))
    if storage.skips:
        right = right[:, rank:]  # the identity block is not stored
    return left.size + right.size


@every_format
@given(n_in=sides, n_out=sides)
@examples(100)
def test_parameters_are_the_entries_stored(storage, n_in, n_out):
    top = min(n_in, n_out)
    expected = [stored_entries(storage, rank, n_in, n_out) for rank in range(top + 1)]
    assert [rank_params(storage, rank, n_in, n_out) for rank in range(top + 1)] == expected
    assert all_rank_params(storage, top, n_in, n_out).tolist() == expected


@every_format
@given(n_in=sides, n_out=sides)
@examples(100)
def test_the_largest_useful_rank_is_the_last_that_saves(storage, n_in, n_out):
    saving = [rank for rank in range(1, min(n_in, n_out) + 1) if rank_params(storage, rank, n_in, n_out) < n_in * n_out]
    assert max_useful_rank(storage, n_in, n_out) == max(saving, default=0)


@every_format
@given(n_in=sides, n_out=sides, part=st.floats(0, 1))
@examples(200)
def test_the_largest_rank_within_a_number_of_parameters(storage, n_in, n_out, part):
    allowed = round(part * n_in * n_out)
    fitting = [r for r in range(min(n_in, n_out) + 1) if rank_params(storage, r, n_in, n_out) <= allowed]
    assert largest_rank(storage, allowed, n_in, n_out) == max(fitting)
    assert uniform_rank(storage, part, n_in, n_out) == largest_rank(storage, int(part * n_in * n_out), n_in, n_out)


@pytest.mark.parametrize(
    ("storage", "qkv", "gate_up"),
    [
        (Format.LOW_RANK, (4096, 1638), (11008, 2388)),
        (Format.CAT, (3 * 4096, 2457), (2 * 11008, 2762)),
        (Format.SKIP, (4096, 2264), (11008, 2973)),
        (Format.SKIP_CAT, (3 * 4096, 3010), (2 * 11008, 3140)),
    ],
)
def test_uniform_ranks_of_llama_2_7b(storage, qkv, gate_up):
    for n_out, rank in (qkv, gate_up):
        assert uniform_rank(storage, 0.8, 4096, n_out) == rank


def test_everything_kept_is_no_overflow():
    assert uniform_rank(Format.SKIP, 1.0, 64, 64) == 64
    assert uniform_rank(Format.SKIP, 1.0, 64, 100) == 64
    assert uniform_rank(Format.LOW_RANK, 1.0, 64, 64) == 32


def test_blocks_count_their_members():
    q, k = Projection("q", 0, "q", 8, 16), Projection("k", 0, "k", 4, 16)
    both = {"q": q, "k": k}
    assert block_params(BlockRank(("q", "k"), Format.DENSE, None), both) == 16 * 12
    assert block_params(BlockRank(("q", "k"), Format.CAT, 3), both) == 3 * (16 + 12)
    assert block_params(BlockRank(("q", "k"), Format.SKIP_CAT, 3), both) == 3 * (16 + 12) - 9
    assert block_params(BlockRank(("q",), Format.SKIP, 3), both) == 3 * (16 + 8) - 9


def test_only_skip_stores_an_order_of_columns():
    assert index_bytes(BlockRank(("q",), Format.SKIP, 3), 16) == 16 * INDEX_BYTES
    assert index_bytes(BlockRank(("q", "k"), Format.SKIP_CAT, 3), 16) == 16 * INDEX_BYTES
    assert index_bytes(BlockRank(("q",), Format.LOW_RANK, 3), 16) == 0
    assert index_bytes(BlockRank(("q",), Format.DENSE, None), 16) == 0
