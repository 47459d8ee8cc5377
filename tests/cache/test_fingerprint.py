"""Equal specifications have equal fingerprints, and nothing else has."""

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cache import canonical_json, fingerprint, fingerprint_bytes, fingerprint_file
from tests.support.examples import examples

plain_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | plain_text
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_text, inner, max_size=4),
    max_leaves=12,
)


@dataclass(frozen=True, slots=True)
class Corpus:
    name: str
    n_tokens: int


@dataclass(frozen=True, slots=True)
class Spec:
    corpus: Corpus
    damping: float = 0.01
    layers: tuple[int, ...] = ()
    dtype: str | None = None
    extra: dict[str, int] = field(default_factory=dict)


def reordered(value):
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(list(value))}
    return [reordered(part) for part in value] if isinstance(value, list) else value


@given(values)
@examples(500)
def test_canonical_json_is_json_that_reads_back(value):
    encoded = canonical_json(value)
    assert json.loads(encoded) == value
    assert canonical_json(json.loads(encoded)) == encoded


@given(values)
def test_the_order_of_fields_does_not_matter(value):
    assert canonical_json(reordered(value)) == canonical_json(value)


@given(values, values)
@examples(500)
def test_different_values_differ(first, second):
    assume(json.dumps(first, sort_keys=True) != json.dumps(second, sort_keys=True))
    assert fingerprint("s", first, schema_version=1) != fingerprint("s", second, schema_version=1)


def test_the_exact_form():
    value = {"b": (1, 2.5, True, None), "a": 'é\n"', "A": {}}
    assert canonical_json(value) == '{"A":{},"a":"é\\n\\"","b":[1,2.5,true,null]}'.encode()


def test_a_fingerprint_is_the_hash_of_all_four_parts():
    """Written out once: a change here silently orphans every stored artifact."""
    text = b'{"schema_version":3,"spec":{"rank":8},"stage":"spectrum","upstream":["aa","bb"]}'
    expected = hashlib.sha256(text).hexdigest()
    assert fingerprint("spectrum", {"rank": 8}, ["aa", "bb"], schema_version=3) == expected
    assert fingerprint("spectrum", {"rank": 8}, ("aa", "bb"), schema_version=3) == expected
    assert len(expected) == 64


def test_a_dataclass_is_the_mapping_of_its_fields():
    spec = Spec(Corpus("demo", 100), layers=(1, 2), extra={"k": 1})
    assert canonical_json(spec) == canonical_json(asdict(spec))
    assert json.loads(canonical_json(spec))["corpus"] == {"name": "demo", "n_tokens": 100}


BASE = ("spectrum", Spec(Corpus("demo", 100)), ("aa", "bb"), 1)


@pytest.mark.parametrize(
    ("stage", "spec", "upstream", "schema_version"),
    [
        ("spectra", *BASE[1:]),
        (BASE[0], Spec(Corpus("dem0", 100)), *BASE[2:]),
        (BASE[0], Spec(Corpus("demo", 101)), *BASE[2:]),
        (BASE[0], Spec(Corpus("demo", 100), damping=0.010000000000000002), *BASE[2:]),
        (BASE[0], Spec(Corpus("demo", 100), layers=(0,)), *BASE[2:]),
        (BASE[0], Spec(Corpus("demo", 100), dtype="float32"), *BASE[2:]),
        (BASE[0], Spec(Corpus("demo", 100), extra={"k": 0}), *BASE[2:]),
        (*BASE[:2], ("bb", "aa"), 1),
        (*BASE[:2], ("aa",), 1),
        (*BASE[:2], ("aabb",), 1),
        (*BASE[:2], (), 1),
        (*BASE[:3], 2),
    ],
)
def test_a_change_of_any_part_changes_it(stage, spec, upstream, schema_version):
    base = fingerprint(*BASE[:3], schema_version=BASE[3])
    assert fingerprint(stage, spec, upstream, schema_version=schema_version) != base


def test_it_is_the_same_in_every_process():
    code = "import cache; print(cache.fingerprint('s', {'b': 1, 'a': {'x', }.pop()}, ['u'], schema_version=1))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == fingerprint("s", {"a": "x", "b": 1}, ["u"], schema_version=1)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_what_is_not_finite_is_refused_with_its_place(number):
    with pytest.raises(ValueError, match=r"value\.corpus\.name\[1\] is -?(nan|inf); JSON holds finite numbers only"):
        canonical_json(Spec(Corpus(["x", number], 1)))


class Color(Enum):
    RED = 1


@pytest.mark.parametrize(
    "value",
    [Path("x"), {1}, b"x", np.float32(1), np.int64(1), np.ones(2), Color.RED, Spec, object(), iter([])],
)
def test_other_types_are_refused_with_their_place(value):
    with pytest.raises(TypeError, match=r"value\.model is a .*; expected None, bool"):
        canonical_json({"model": value})


@pytest.mark.parametrize("name", [1, None, True, ("a",)])
def test_names_that_are_not_text_are_refused(name):
    with pytest.raises(TypeError, match=r"value\.a has the key .*strings as keys"):
        canonical_json({"a": {name: 1}})


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        canonical_json("\ud800")


def test_one_string_is_not_a_sequence_of_fingerprints():
    with pytest.raises(TypeError, match="upstream is the string 'aa'"):
        fingerprint("s", {}, "aa", schema_version=1)


@pytest.mark.parametrize("n_bytes", [0, 1, 1_000_003])
def test_files_and_bytes_of_the_same_content_agree(tmp_path, n_bytes):
    content = np.random.default_rng(0).bytes(n_bytes)
    (tmp_path / "file").write_bytes(content)
    assert fingerprint_file(tmp_path / "file") == fingerprint_bytes(content) == hashlib.sha256(content).hexdigest()
