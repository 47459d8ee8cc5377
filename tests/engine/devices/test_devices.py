"""What a token costs on a device: counted by hand, and the answers that follow."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from engine.devices.known import MEASURED_TYPES, THIS_MACHINE, devices, get_device, write_measured
from engine.devices.measuring import line, measure_this_machine
from engine.devices.roofline import OTHER_KERNELS, answer, cache_bytes_per_token, forecast, n_kernels
from engine.devices.value import Device, presets
from engine.errors import InvalidSpecError
from engine.precision import ROUNDINGS
from engine.settings import Home
from engine.types import BlockRank, Format, InputGroup, Inventory, Projection, SkippedWeight

K, V, UP = (Projection(name, 0, name, out, 1000) for name, out in (("k", 200), ("v", 200), ("up", 3000)))
SKIPPED = (SkippedWeight("embed", 50_000, "embedding"),)
INVENTORY = Inventory("Toy", 1, (InputGroup((K, V)), InputGroup((UP,))), SKIPPED, 3_450_000)
DEVICE = Device("a device", 1e9, 1e9, 1e12, 1e-6, "made up")
LOW = (BlockRank(("up",), Format.LOW_RANK, 250),)


def cost(blocks=(), device=DEVICE, **changed):
    return forecast(blocks, INVENTORY, device, **{"dtype": "float16", "batch": 1, "context": 0, **changed})


def test_a_token_reads_every_weight_once_and_starts_every_operation():
    read = 2 * 3_450_000 / 1e9
    assert cost().step_s == pytest.approx(read + (3 + 1 + OTHER_KERNELS) * 1e-6)
    fewer = 2 * (3_450_000 - 3_000_000 + 250 * 4000) / 1e9
    assert cost(LOW).step_s == pytest.approx(fewer + (4 + 1 + OTHER_KERNELS) * 1e-6)
    eight = sum(ROUNDINGS[8].matrix_bytes(p.out_features, 1000) for p in (K, V, UP)) + 2 * 50_000
    assert cost(dtype="int8").step_s == pytest.approx(eight / 1e9 + (4 + OTHER_KERNELS) * 1e-6)
    own = tuple(BlockRank((p.name,), Format.DENSE, None, 8) for p in (K, V, UP))
    assert cost(own) == cost(dtype="int8")


def test_many_sequences_are_bound_by_arithmetic():
    slow = replace(DEVICE, multiply_adds_per_s=1e9)
    assert cost(device=slow, batch=8).step_s == pytest.approx(8 * 3_450_000 / 1e9 + (4 + OTHER_KERNELS) * 1e-6)


def test_the_cache_is_counted_read_and_part_of_what_must_fit():
    assert cache_bytes_per_token(INVENTORY) == 2 * 400
    found = cost(batch=2, context=100)
    assert found.cache_bytes == 2 * 100 * 800
    assert found.step_s - cost(batch=2).step_s == pytest.approx(found.cache_bytes / 1e9)
    assert not cost(device=replace(DEVICE, memory_bytes=found.weight_bytes + 1), batch=2, context=100).fits
    unknown = replace(INVENTORY, groups=INVENTORY.groups[1:])
    assert cache_bytes_per_token(unknown) is None
    assert forecast((), unknown, DEVICE, dtype="float16", batch=1, context=9).cache_bytes == 0


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (BlockRank(("k", "v"), Format.CAT, 5), 3),
        (BlockRank(("k", "v"), Format.SKIP_CAT, 5), 5),
        (BlockRank(("up",), Format.DENSE, None), 1),
        (BlockRank(("k", "v"), Format.WIDTH, 5), 2),
    ],
)
def test_a_shared_inner_factor_is_one_operation(block, expected):
    assert n_kernels(block.format, len(block.members)) == expected


def test_the_answer_says_when_it_will_not_be_faster():
    assert "will be faster" in answer(cost(), cost(LOW), DEVICE)
    slow_to_start = replace(DEVICE, bytes_per_s=1e15, kernel_s=1e-3)
    assert "will be slower" in answer(cost(device=slow_to_start), cost(LOW, slow_to_start), slow_to_start)
    assert "about as fast" in answer(cost(), cost(), DEVICE)
    small = replace(DEVICE, memory_bytes=5e6)
    assert "does not" in answer(cost(device=small), cost(LOW, small), small)
    assert "does not fit" in answer(cost(device=small), cost(device=small), small)


def test_presets_have_sources_and_this_machine_is_asked_for_by_its_type(tmp_path):
    home = Home(tmp_path)
    assert all(device.source for device in presets().values())
    assert THIS_MACHINE not in devices(home, "float16")
    with pytest.raises(InvalidSpecError, match="rankscope devices --measure"):
        get_device(home, THIS_MACHINE, "float16")
    with pytest.raises(InvalidSpecError, match="h100"):
        get_device(home, "h10", "float16")
    write_measured(home, {dtype: replace(DEVICE, title=dtype) for dtype in MEASURED_TYPES})
    assert [get_device(home, THIS_MACHINE, dtype).title for dtype in ("float32", "int4")] == ["float32", "bfloat16"]
    with pytest.raises(InvalidSpecError, match="kernel_s 0"):
        replace(DEVICE, kernel_s=0)


def test_an_operation_takes_no_less_than_the_smallest_product():
    n_bytes = np.array([1e5, 1e6, 1e7])
    assert line(n_bytes, 1e-9 * n_bytes + 5e-6, 1e-6) == pytest.approx((1e-9, 5e-6))
    disturbed = np.array([5e-5, 1e-3, 1.2e-2])
    slope, intercept = line(n_bytes, disturbed, 4e-6)
    assert intercept == 4e-6
    assert 0.4e-9 < slope < 1.3e-9


def test_this_machine_is_measured(tmp_path):
    home = Home(tmp_path)
    write_measured(home, measure_this_machine())
    found = json.loads((tmp_path / "this-machine.json").read_text())
    assert list(found) == list(MEASURED_TYPES)
    assert all(1e8 < one["bytes_per_s"] < 1e13 and 1e-8 < one["kernel_s"] < 1e-2 for one in found.values())
