"""Rank maps as tables: what is written is read back, and a wrong line is named."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidRankMapError, RankScopeError
from engine.rank_map.document import MAX_BYTES, check_rank_map, parse_rank_map
from engine.rank_map.table import COLUMNS, CsvRanks, parse_rank_csv, rank_map_to_csv
from engine.types import BlockRank, Format, InputGroup, Inventory, Metric, Mlp, Projection
from tests.engine.rank_map.test_document import INVENTORY, OUT, K, Q, of_toy, rank_map
from tests.support.examples import examples
from tests.support.strategies import toy_models

SHARED = BlockRank((Q.name, K.name), Format.SKIP_CAT, 5)
HEADER = "projection,format,rank\n"


@examples(300)
@given(model=toy_models(largest=30, truncated=False), kept=st.floats(0, 1))
def test_json_to_csv_to_json_gives_the_same_blocks(model, kept):
    written = of_toy(model, kept)
    read = parse_rank_map(written.to_json().encode())
    table = rank_map_to_csv(read, model.inventory)
    found = parse_rank_csv(table.encode(), model.inventory)
    assert found == CsvRanks(written.blocks, written.metric)
    assert len(table.splitlines()) == 1 + len(model.inventory.projections)


def test_the_table_has_a_line_per_projection_and_repeats_what_is_shared():
    assert rank_map_to_csv(rank_map(SHARED), INVENTORY) == (
        f"{','.join(COLUMNS[:-1])}\n"
        "layers.0.q,layers.0.q,0,skip+cat,5,loss\n"
        "layers.0.k,layers.0.k,0,skip+cat,5,loss\n"
        "layers.0.o,layers.0.o,0,dense,dense,loss\n"
    )


def test_an_mlp_at_a_width_has_the_same_line_for_every_projection():
    up, down = Projection("mlp.up", 0, "up", 24, 8), Projection("mlp.down", 0, "down", 8, 24)
    inventory = Inventory("Toy", 1, (InputGroup((up,)), InputGroup((down,))), (), 1000, (Mlp((up,), down),))
    narrow = BlockRank(("mlp.up", "mlp.down"), Format.WIDTH, 9)
    table = rank_map_to_csv(rank_map(narrow), inventory)
    assert table.splitlines()[1:] == ["mlp.up,up,0,width,9,loss", "mlp.down,down,0,width,9,loss"]
    assert parse_rank_csv(table.encode(), inventory).blocks == (narrow,)
    for text, sentence in (
        ("mlp.up,width,9\n", "no line has mlp.down, which belongs to the same MLP"),
        ("mlp.up,width,9\nmlp.down,width,8\n", "has width 8 for mlp.down and width 9 for mlp.up"),
    ):
        with pytest.raises(InvalidRankMapError, match=sentence):
            parse_rank_csv((HEADER + text).encode(), inventory)
    for rank, sentence in ((25, "given width 25; expected a number of neurons from 1 to 24"), (24, None)):
        block = rank_map(BlockRank(narrow.members, Format.WIDTH, rank))
        if sentence is None:
            assert check_rank_map(block, inventory, None) == 2 * 24 * 8
        else:
            with pytest.raises(InvalidRankMapError, match=sentence):
                check_rank_map(block, inventory, None)


def test_spreadsheets_may_add_a_mark_spaces_other_line_ends_and_empty_lines():
    text = "\ufeffRank , Format,projection\r\n 5,SKIP+CAT,layers.0.k\r\n\r\n,,\r\n5,skip+cat, layers.0.q\r\n"
    assert parse_rank_csv(text.encode(), INVENTORY) == CsvRanks((SHARED,), None)


@pytest.mark.parametrize("rank", ["", "dense", "Dense"])
def test_dense_projections_have_no_rank(rank):
    found = parse_rank_csv(f"{HEADER}layers.0.o,dense,{rank}\n".encode(), INVENTORY)
    assert found.blocks == (BlockRank((OUT.name,), Format.DENSE, None),)


def test_the_metric_may_be_given():
    text = "projection,format,rank,metric\nlayers.0.q,skip,3,Input\n"
    assert parse_rank_csv(text.encode(), INVENTORY).metric is Metric.INPUT


WRONG = [
    ("", "Line 1 of the table has the columns ''; expected projection, format, rank and perhaps"),
    ("projection,format\n", "Line 1 of the table has the columns 'projection, format'"),
    ("projection;format;rank\n", "separated by commas"),
    ("projection,format,rank,colour\n", "the columns 'projection, format, rank, colour'"),
    ("projection,format,rank,rank\n", "the columns 'projection, format, rank, rank'"),
    (HEADER, "a header but no line below it"),
    (f"{HEADER}layers.0.q,skip\n", "Line 2 of the table has 2 fields; expected 3, as many as the header"),
    (f"{HEADER}layers.0.qq,skip,3\n", "Line 2 of the table has the projection 'layers.0.qq' (did you mean 'layers.0"),
    (f"{HEADER}layers.0.q,skip,3\nlayers.0.q,skip,3\n", "Line 3 of the table has the projection layers.0.q again"),
    (f"{HEADER}layers.0.q,sparse,3\n", "the format 'sparse'; expected one of dense, low-rank, cat, skip, skip+cat"),
    (f"{HEADER}layers.0.q,dense,3\n", "the rank '3' with format dense; expected an empty field or dense"),
    (f"{HEADER}layers.0.q,skip,\n", "the rank '' with format skip; expected a whole number of at least 1"),
    (f"{HEADER}layers.0.q,skip,dense\n", "the rank 'dense' with format skip"),
    (f"{HEADER}layers.0.q,skip,0\n", "the rank '0' with"),
    (f"{HEADER}layers.0.q,skip,-3\n", "the rank '-3' with"),
    (f"{HEADER}layers.0.q,skip,3.0\n", "the rank '3.0' with"),
    (f"{HEADER}layers.0.q,skip,1_0\n", "the rank '1_0' with"),
    (f"{HEADER}layers.0.q,skip,\u0663\n", "with format skip; expected a whole number"),
    (f"{HEADER}layers.0.q,skip,{'9' * 5000}\n", "with format skip; expected a whole number"),
    (f"{HEADER}layers.0.q,cat,3\n", "the format cat for layers.0.q, but no line has layers.0.k, which reads the same"),
    (f"{HEADER}layers.0.q,width,3\n", "the format width for layers.0.q; expected a projection of an MLP, or another"),
    (f"{HEADER}layers.0.q,cat,3\nlayers.0.k,cat,4\n", "Line 3 of the table has cat 4 for layers.0.k and cat 3 for"),
    (f"{HEADER}layers.0.q,cat,3\nlayers.0.k,dense,\n", "Line 3 of the table has dense dense for layers.0.k and cat 3"),
    ("projection,layer,format,rank\nlayers.0.q,1,skip,3\n", "the layer '1' for layers.0.q; expected 0, or an empty"),
    ("projection,kind,format,rank\nlayers.0.q,v,skip,3\n", "the kind 'v' for layers.0.q; expected layers.0.q"),
    ("projection,format,rank,metric\nlayers.0.q,skip,3,losses\n", "the metric 'losses'; expected one of weight, inp"),
    (
        "projection,format,rank,metric\nlayers.0.q,skip,3,loss\nlayers.0.o,skip,3,input\n",
        "Line 3 of the table has the metric input, other lines loss; expected the same metric on every line",
    ),
    (f'{HEADER}"layers.0.q,skip,3\n', "Line 2 of the table cannot be read"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_a_wrong_line_is_named_with_what_was_expected(text, sentence):
    with pytest.raises(InvalidRankMapError, match=re.escape(sentence)) as error:
        parse_rank_csv(text.encode(), INVENTORY)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_size_and_encoding_are_checked_first():
    with pytest.raises(InvalidRankMapError, match="larger than 5 MB"):
        parse_rank_csv(b" " * (MAX_BYTES + 1), INVENTORY)
    with pytest.raises(InvalidRankMapError, match="not UTF-8 text at byte 10"):
        parse_rank_csv(b"projection\xff", INVENTORY)


@examples(300)
@given(data=st.data())
def test_damaged_tables_never_raise_anything_else(data):
    text = bytearray(rank_map_to_csv(rank_map(SHARED), INVENTORY).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    sentence = ""
    try:
        parse_rank_csv(bytes(text), INVENTORY)
    except RankScopeError as error:
        sentence = str(error)
    assert "\n" not in sentence
