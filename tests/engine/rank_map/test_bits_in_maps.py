"""Bits of blocks in rank maps: files and tables carry them, and maps without them stay what they were."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.errors import InvalidRankMapError, InvalidSpecError
from engine.precision import ROUNDINGS, model_bytes
from engine.rank_map.document import RankMap, parse_rank_map
from engine.rank_map.identity import map_id
from engine.rank_map.table import parse_rank_csv, rank_map_to_csv
from engine.types import BlockRank, Format, InputGroup, Inventory, Metric, Projection

Q, K, O = (Projection(name, 0, name, 64, 48) for name in ("q", "k", "o"))  # noqa: E741
INVENTORY = Inventory("Toy", 1, (InputGroup((Q, K)), InputGroup((O,))), (), 3 * 64 * 48 + 100)
CAT = BlockRank(("q", "k"), Format.CAT, 5, 8)
DENSE = BlockRank(("o",), Format.DENSE, None, 4)
MAP = RankMap("Toy", "0" * 64, None, "by hand", Metric.LOSS, None, (CAT, DENSE))
PLAIN = replace(MAP, blocks=tuple(replace(block, bits=None) for block in MAP.blocks))


def test_files_and_tables_carry_the_bits():
    assert parse_rank_map(MAP.to_json().encode()) == MAP
    table = rank_map_to_csv(MAP, INVENTORY)
    assert table.splitlines()[0].endswith(",bits")
    assert parse_rank_csv(table.encode(), INVENTORY).blocks == MAP.blocks
    with pytest.raises(InvalidRankMapError, match="the bits '5'; expected 16, 8, 4 or an empty field"):
        parse_rank_csv(table.replace("loss,4", "loss,5").encode(), INVENTORY)
    with pytest.raises(InvalidRankMapError, match="bits"):
        parse_rank_map(MAP.to_json().replace('"bits": 4', '"bits": 3').encode())
    with pytest.raises(InvalidSpecError, match="3 bits"):
        BlockRank(("o",), Format.DENSE, None, 3)


def test_bits_make_another_map_unless_they_are_the_model_s():
    assert "bits" not in PLAIN.to_json()
    whole = replace(MAP, blocks=tuple(replace(block, bits=16) for block in MAP.blocks))
    assert map_id(whole) == map_id(PLAIN) != map_id(MAP)
    assert not whole.is_rounded
    assert MAP.is_rounded


def test_a_block_takes_the_bytes_of_its_own_bits_whatever_the_model_s():
    by_hand = ROUNDINGS[8].matrix_bytes(5, 48) + ROUNDINGS[8].matrix_bytes(128, 5) + ROUNDINGS[4].matrix_bytes(64, 48)
    assert model_bytes("float16", MAP.blocks, INVENTORY) == by_hand + 2 * 100
    assert model_bytes("int4", MAP.blocks, INVENTORY) == by_hand + 2 * 100
    assert model_bytes("float32", MAP.blocks, INVENTORY) == by_hand + 4 * 100
    assert model_bytes("float16", (CAT,), INVENTORY) > by_hand + 2 * 100
