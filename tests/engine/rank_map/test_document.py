"""Rank maps as files: what is written is read back, and nothing else is read."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.allocation import allocate_by_water_filling
from engine.errors import InvalidRankMapError, RankScopeError
from engine.formats import allocated_params
from engine.rank_map.ceiling import ByteCeiling, TimeCeiling
from engine.rank_map.document import (
    MAX_BYTES,
    RankMap,
    check_rank_map,
    parse_rank_map,
    rank_map_schema,
)
from engine.types import BlockRank, Format, InputGroup, Inventory, Metric, Projection
from tests.support.examples import examples
from tests.support.strategies import FACTORED, ToyModel, floor_params, toy_models

SCHEMA_FILE = Path(__file__).parents[3] / "docs" / "schemas" / "rank-map.schema.json"
VALIDATOR = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
MODEL = "ab" * 32
Q, K, OUT = (Projection(name, 0, name, 8, 16) for name in ("layers.0.q", "layers.0.k", "layers.0.o"))
INVENTORY = Inventory("Toy", 1, (InputGroup((Q, K)), InputGroup((OUT,))), (), 1000)


def document() -> dict:
    return {
        "schema": "rankscope/rank-map/1",
        "model": {"name": "toy", "fingerprint": MODEL},
        "analysis": None,
        "method": "by hand",
        "metric": "loss",
        "budget": {"params": 384},
        "blocks": [
            {"projections": ["layers.0.q", "layers.0.k"], "format": "skip+cat", "rank": 5},
            {"projections": ["layers.0.o"], "format": "dense", "rank": None},
        ],
    }


def encoded(**changes: object) -> bytes:
    return json.dumps(document() | changes).encode()


def rank_map(*blocks: BlockRank, budget: int | None = None) -> RankMap:
    return RankMap("toy", MODEL, None, "by hand", Metric.LOSS, budget, blocks)


def of_toy(model: ToyModel, kept: float) -> RankMap:
    floor = floor_params(model, frozenset(FACTORED), (), 1, force=False)
    budget = model.budget(max(int(kept * model.total), floor))
    found = allocate_by_water_filling(model.groups, budget, formats=frozenset(FACTORED))
    return RankMap(
        model_name='tøy / "model"\n',
        model_fingerprint=MODEL,
        analysis="cd" * 32,
        method="water-filling",
        metric=Metric.LOSS,
        budget_params=budget.params,
        blocks=found.blocks,
    )


@examples(150)
@given(model=toy_models(largest=30, truncated=False), kept=st.floats(0, 1))
def test_an_allocation_survives_the_file_and_fits_its_model(model, kept):
    written = of_toy(model, kept)
    text = written.to_json()
    assert parse_rank_map(text.encode()) == written
    assert parse_rank_map(text.encode()).to_json() == text
    VALIDATOR.validate(json.loads(text))
    allocated = allocate_by_water_filling(
        model.groups, model.budget(written.budget_params), formats=frozenset(FACTORED)
    )
    assert check_rank_map(written, model.inventory, MODEL) == allocated.params


def test_the_text_is_in_the_order_of_the_published_form():
    parsed = parse_rank_map(encoded())
    assert json.loads(parsed.to_json()) == document()
    assert list(json.loads(parsed.to_json())) == list(document())
    assert parsed.blocks[0] == BlockRank((Q.name, K.name), Format.SKIP_CAT, 5)


def test_the_published_schema_is_up_to_date():
    written = SCHEMA_FILE.read_text()
    assert written == rank_map_schema(), "run: python -m engine.rank_map.document > docs/schemas/rank-map.schema.json"
    jsonschema.Draft202012Validator.check_schema(json.loads(written))


def block(**changes: object) -> dict:
    return {"blocks": [{"projections": ["layers.0.q"], "format": "skip", "rank": 5} | changes]}


OUTSIDE_THE_SCHEMA = [
    (encoded(schema="rankscope/rank-map/2"), "at 'schema': input should be"),
    (encoded(extra=1), "at 'extra': extra inputs are not permitted"),
    (encoded(**{"x" * 9999 + "\n": 1}), "at 'xxx"),
    (
        json.dumps({k: v for k, v in document().items() if k != "metric"}).encode(),
        "at 'metric': field required",
    ),
    (encoded(model={"name": "toy", "fingerprint": "AB" * 32}), "at 'model.fingerprint'"),
    (encoded(model={"name": "toy", "fingerprint": MODEL + "\n"}), "at 'model.fingerprint'"),
    (encoded(model={"name": "", "fingerprint": MODEL}), "at 'model.name'"),
    (encoded(analysis="short"), "at 'analysis'"),
    (encoded(metric="losses"), "at 'metric'"),
    (encoded(budget={"params": -1}), "at 'budget.params'"),
    (encoded(budget={"params": 1.5}), "at 'budget.params'"),
    (encoded(budget=5), "at 'budget'"),
    (encoded(budget={"bytes": -1}), "at 'budget.bytes'"),
    (encoded(budget={"seconds_per_token": 0.1}), "at 'budget.device'"),
    (encoded(blocks={}), "at 'blocks'"),
    (encoded(**block(rank=True)), "at 'blocks[0].skip.rank'"),
    (encoded(**block(rank=5.5)), "at 'blocks[0].skip.rank'"),
    (encoded(**block(rank="5")), "at 'blocks[0].skip.rank'"),
    (encoded(**block(rank=0)), "at 'blocks[0].skip.rank'"),
    (encoded(**block(rank=10**30)), "at 'blocks[0].skip.rank'"),
    (encoded(**block(rank=None)), "at 'blocks[0].skip.rank'"),
    (encoded(**block(format="dense")), "at 'blocks[0].dense.rank'"),
    (encoded(**block(format="sparse")), "at 'blocks[0]'"),
    (encoded(**block(projections=[])), "at 'blocks[0].skip.projections'"),
    (encoded(**block(projections=["x" * 600])), "at 'blocks[0].skip.projections[0]'"),
    (encoded(**block(projections="layers.0.q")), "at 'blocks[0].skip.projections'"),
    (b"[]", "at its top"),
    (b"null", "at its top"),
]


@pytest.mark.parametrize(("data", "sentence"), OUTSIDE_THE_SCHEMA)
def test_what_the_schema_refuses_is_refused_with_its_place(data, sentence):
    with pytest.raises(InvalidRankMapError, match=re.escape(sentence)) as error:
        parse_rank_map(data)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    if b'fingerprint": "' + MODEL.encode() + b'\\n"' not in data:  # Python's `$` matches before a newline
        assert not VALIDATOR.is_valid(json.loads(data))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (encoded() + b"x", "not JSON"),
        (b"\xff\xfe", "not UTF-8 text at byte 0"),
        (encoded().replace(b"toy", b"t\xe9y"), "not UTF-8"),
        (b"\xef\xbb\xbf" + encoded(), "not JSON"),
        (encoded().replace(b"384", b"NaN"), "has the number NaN"),
        (encoded().replace(b"384", b"-Infinity"), "has the number -Infinity"),
        (encoded().replace(b"384", b"1e999"), "at 'budget.params'"),
        (encoded().replace(b"384", b"9" * 5000), "not JSON"),
        (encoded().replace(b'"method"', b'"metric": "loss", "method"'), "the key 'metric' twice"),
        (encoded().replace(b'"rank": 5', b'"rank": 5, "rank": 6'), "the key 'rank' twice"),
        (encoded().replace(b"layers.0.k", b"layers.0.q"), "'layers.0.q' is in the rank map twice"),
        (encoded().replace(b"layers.0.o", b"layers.0.q"), "'layers.0.q' is in the rank map twice"),
        (b"[" * 200_000 + b"]" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (encoded().replace(b"toy", rb"\ud800"), "The rank map is wrong at"),
        (b" " * (MAX_BYTES + 1), "larger than 5 MB"),
    ],
)
def test_what_is_no_rank_map_is_one_sentence(data, sentence):
    with pytest.raises(InvalidRankMapError, match=re.escape(sentence)) as error:
        parse_rank_map(data)
    assert "\n" not in str(error.value)


@examples(500)
@given(data=st.data())
def test_damaged_files_never_raise_anything_else(data):
    text = bytearray(encoded())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    sentence = ""
    try:
        parse_rank_map(bytes(text))
    except RankScopeError as error:
        sentence = str(error)
    assert "\n" not in sentence


def test_many_keys_and_names_are_read_in_linear_time():
    names = [f"p{i}" for i in range(300_000)]
    many = {"blocks": [{"projections": names, "format": "dense", "rank": None}]}
    assert len(parse_rank_map(encoded(**many)).blocks[0].members) == 300_000
    repeated = b"{" + b",".join(b'"%d":1' % i for i in range(300_000)) + b',"7":1}'
    with pytest.raises(InvalidRankMapError, match="the key '7' twice"):
        parse_rank_map(repeated)


def test_what_is_not_mentioned_stays_dense():
    one = rank_map(BlockRank((Q.name,), Format.SKIP, 3))
    assert check_rank_map(one, INVENTORY, MODEL) == 3 * 24 - 9 + 2 * 128
    assert allocated_params(one.blocks, INVENTORY) == 3 * 24 - 9 + 2 * 128
    assert check_rank_map(rank_map(), INVENTORY, None) == 3 * 128
    group = rank_map(BlockRank((Q.name, K.name), Format.DENSE, None))
    assert check_rank_map(group, INVENTORY, MODEL) == 3 * 128


@pytest.mark.parametrize(
    ("blocks", "sentence"),
    [
        ([BlockRank(("layers.0.qq",), Format.SKIP, 3)], "'layers.0.qq' (did you mean 'layers.0.q'?)"),
        ([BlockRank((Q.name,), Format.SKIP, 9)], "rank 9; expected a rank from 1 to 8"),
        ([BlockRank((Q.name, K.name), Format.CAT, 17)], "rank 17; expected a rank from 1 to 16"),
        ([BlockRank((Q.name,), Format.CAT, 3)], "name them all or use low-rank"),
        ([BlockRank((K.name, Q.name), Format.CAT, 3)], "expected layers.0.q+layers.0.k in this order"),
        ([BlockRank((Q.name, OUT.name), Format.CAT, 3)], "neither one projection nor a whole input group"),
        ([BlockRank((Q.name, K.name), Format.SKIP, 3)], "which holds one projection"),
        ([BlockRank((Q.name,), Format.SKIP, 3)] * 2, "layers.0.q is in more than one block"),
    ],
)
def test_a_map_that_does_not_fit_the_model_is_refused(blocks, sentence):
    with pytest.raises(InvalidRankMapError, match=re.escape(sentence)):
        check_rank_map(rank_map(*blocks), INVENTORY, MODEL)


def test_ranks_at_the_ends_of_the_range_fit():
    for rank in (1, 8):
        check_rank_map(rank_map(BlockRank((Q.name,), Format.LOW_RANK, rank)), INVENTORY, MODEL)
    check_rank_map(rank_map(BlockRank((Q.name, K.name), Format.CAT, 16)), INVENTORY, MODEL)
    check_rank_map(rank_map(BlockRank((OUT.name,), Format.CAT, 2)), INVENTORY, MODEL)


def test_a_map_of_another_model_is_refused():
    with pytest.raises(InvalidRankMapError, match=r"is for the model 'toy' .abababababab., but this one is ffffff"):
        check_rank_map(rank_map(), INVENTORY, "ff" * 32)
    assert check_rank_map(replace(rank_map(), model_fingerprint="ee" * 32), INVENTORY, None) == 384


@pytest.mark.parametrize(
    ("ceiling", "entry"),
    [
        (ByteCeiling(116_000_000), {"bytes": 116_000_000}),
        (
            TimeCeiling(0.025, "h100", "float16", 8, 4096),
            {"seconds_per_token": 0.025, "device": "h100", "dtype": "float16", "batch": 8, "context": 4096},
        ),
    ],
)
def test_a_map_says_what_it_was_made_for(ceiling, entry):
    made = replace(rank_map(BlockRank(("q",), Format.LOW_RANK, 4)), ceiling=ceiling)
    assert json.loads(made.to_json())["budget"] == entry
    assert parse_rank_map(made.to_json().encode()) == made
    VALIDATOR.validate(json.loads(made.to_json()))


def test_a_map_over_its_own_budget_is_refused():
    blocks = [BlockRank((Q.name,), Format.LOW_RANK, 2)]
    assert check_rank_map(rank_map(*blocks, budget=304), INVENTORY, MODEL) == 304
    with pytest.raises(InvalidRankMapError, match="keeps 304 parameters, but its budget is 303"):
        check_rank_map(rank_map(*blocks, budget=303), INVENTORY, MODEL)
