"""Values survive the way to disk and back bit for bit, and equal values give equal bytes."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import save_file

from cache import StoreError, read_arrays, read_as_float32, read_json, write_arrays, write_json
from tests.support.examples import examples

dtypes = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.unsigned_integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | hnp.complex_number_dtypes(endianness="?", sizes=(64,))
)
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
arrays = st.dictionaries(st.text("abc.", min_size=1, max_size=3), hnp.arrays(dtypes, shapes), max_size=4)


@given(arrays)
@settings(examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arrays_round_trip_bit_for_bit(tmp_path, arrays):
    write_arrays(tmp_path / "a", arrays)
    back = read_arrays(tmp_path / "a")
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype.newbyteorder("=")
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


def test_float64_keeps_every_bit(tmp_path):
    values = np.array([0.1, np.pi, 5e-324, -0.0, 1.7976931348623157e308, np.nan, np.inf])
    write_arrays(tmp_path / "a", {"values": values})
    back = read_arrays(tmp_path / "a")["values"]
    assert back.dtype == np.float64
    assert back.tobytes() == values.tobytes()


@pytest.mark.parametrize("view", [lambda a: a.T, lambda a: a[::2], lambda a: a[:, ::-1], np.asfortranarray])
def test_views_are_written_in_their_own_order(tmp_path, view):
    array = view(np.arange(12.0).reshape(4, 3))
    write_arrays(tmp_path / "a", {"view": array})
    assert np.array_equal(read_arrays(tmp_path / "a")["view"], array)


def test_equal_arrays_give_equal_bytes(tmp_path):
    first, second = np.arange(6.0).reshape(2, 3), np.arange(3)
    write_arrays(tmp_path / "a", {"x": first, "y": second, "z": first})
    write_arrays(tmp_path / "b", {"z": np.asfortranarray(first), "y": second.astype(">i8"), "x": first.copy()})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_arrays_that_were_read_can_be_changed_without_changing_the_file(tmp_path):
    write_arrays(tmp_path / "a", {"x": np.zeros(5)})
    read_arrays(tmp_path / "a")["x"][:] = 7
    assert np.array_equal(read_arrays(tmp_path / "a")["x"], np.zeros(5))


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([None]), np.zeros(2, np.complex128)])
def test_other_element_types_are_refused_by_name(tmp_path, array):
    with pytest.raises(TypeError, match=r"Array 'labels' has element type .*; expected one of bool, complex64"):
        write_arrays(tmp_path / "a", {"labels": array})
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("content", [b"", b"junk", b"\x08\0\0\0\0\0\0\0{}      x"])
def test_a_file_without_arrays_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"a\.json does not hold arrays"):
        read_arrays(tmp_path / "a.json")


def test_element_types_numpy_lacks_are_named(tmp_path):
    header = b'{"w":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(StoreError, match=r"w does not hold arrays that numpy can read .*bfloat16"):
        read_arrays(tmp_path / "w")


@dataclass(frozen=True)
class Shape:
    rows: int
    names: tuple[str, ...]


def test_numbers_of_bfloat16_are_read_in_float32(tmp_path):
    values = {"half": torch.randn(3, 5).bfloat16(), "whole": torch.randn(4), "counts": torch.arange(3)}
    save_file(values, tmp_path / "mixed.safetensors")
    found = read_as_float32(tmp_path / "mixed.safetensors", ["half", "whole", "missing"])
    assert found.keys() == {"half", "whole"}
    for name, array in found.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, values[name].float().numpy())
    with pytest.raises(StoreError, match="of type I64"):
        read_as_float32(tmp_path / "mixed.safetensors", ["counts"])


def test_json_round_trips_and_takes_dataclasses(tmp_path):
    write_json(tmp_path / "a", {"shape": Shape(3, ("é", "b")), "x": 0.1})
    assert read_json(tmp_path / "a") == {"shape": {"rows": 3, "names": ["é", "b"]}, "x": 0.1}
    write_json(tmp_path / "b", {"x": 0.1, "shape": {"names": ["é", "b"], "rows": 3}})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match=r"value\.x is nan"):
        write_json(tmp_path / "a", {"x": float("nan")})
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\xfa"])
def test_a_file_that_is_not_json_is_named(tmp_path, content):
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(StoreError, match=r"a\.bin does not hold JSON"):
        read_json(tmp_path / "a.bin")
