"""What is sent to the rank board; that the browser makes the same maps of it is tested in ``tests.browser``."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import replace

import numpy as np

from app.components.rank_board.curves import MOST_VALUES, board_step, encode_curves, presets_json
from engine.methods.presets import PRESETS
from engine.types import DistortionCurve, GroupCurves, Metric
from tests.support.strategies import toy_model


def decode(content: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """Read the documented layout, value by value."""
    (length,) = struct.unpack_from("<I", content)
    header, offset, values = json.loads(content[4 : 4 + length]), 4 + length, {}
    for metric in header["metrics"]:
        stream = zlib.decompress(content[offset : offset + metric["n_bytes"]])
        offset += metric["n_bytes"]
        n = len(stream) // 8
        values[metric["name"]] = np.frombuffer(bytes(stream[b * n + i] for i in range(n) for b in range(8)), "<f8")
    assert offset == len(content)
    return header, values


def test_curves_arrive_as_they_were() -> None:
    model = toy_model(3, 4, 9, None)
    header, values = decode(encode_curves({Metric.LOSS: model.groups, Metric.INPUT: model.groups}, 1, "a.1"))
    curves = [c for g in model.groups for c in [*g.separate, *([g.shared] if g.shared else [])]]
    expected = np.concatenate([c.nats for c in curves])
    assert (header["name"], header["rank_step"]) == ("a.1", 1)
    assert np.array_equal(values["loss"], expected)
    assert np.array_equal(values["input"], expected)
    assert [m["reaches"] for m in header["metrics"]] == [[c.max_rank for c in curves]] * 2
    assert [name for g in header["groups"] for name, _, _ in g["members"]] == [c.name for c in model.curves]


def test_widths_are_sent_in_the_metrics_that_have_them() -> None:
    model = toy_model(5, 4, 9, None, mlps=True)
    (width, *_), down = model.widths, [group for group in model.groups if group.width is not None]
    without = [replace(group, width=None) for group in model.groups]
    header, values = decode(encode_curves({Metric.INPUT: without, Metric.LOSS: model.groups}, 1, "a.1"))
    n_values = [sum(reach + 1 for reach in m["reaches"] if reach is not None) for m in header["metrics"]]
    assert n_values == [len(values["input"]), len(values["loss"])]
    assert n_values[1] - n_values[0] == sum(len(w.nats) for w in model.widths)
    assert [m["reaches"].count(None) for m in header["metrics"]] == [len(down), 0]
    sent = next(g["width"] for g in header["groups"] if g["width"] is not None)
    assert sent == [list(width.members), width.out_features]


def test_a_coarser_step_sends_its_multiples_only() -> None:
    model = toy_model(4, 3, 30, "spectrum")
    _, values = decode(encode_curves({Metric.LOSS: model.groups}, 4, "a.4"))
    curves = [c for g in model.groups for c in [*g.separate, *([g.shared] if g.shared else [])]]
    assert np.array_equal(values["loss"], np.concatenate([c.nats[::4] for c in curves]))


def test_a_large_model_stays_below_two_megabytes() -> None:
    rng = np.random.default_rng(0)

    def curve(name: str) -> DistortionCurve:
        nats = np.append(np.cumsum(np.sort(rng.lognormal(-9, 1, 4096)))[::-1], 0.0)
        return DistortionCurve((name,), 4096, 4096, nats, 1.0)

    groups = [GroupCurves((curve(f"p{i}"),), None) for i in range(224)]
    step = board_step(groups)
    assert step == 8
    assert 224 * (4096 // step + 1) <= MOST_VALUES
    assert len(encode_curves({Metric.LOSS: groups, Metric.INPUT: groups}, step, "x")) <= 2e6


def test_every_method_is_told() -> None:
    assert [m["name"] for m in presets_json(PRESETS.values())] == list(PRESETS)
    json.dumps(presets_json(PRESETS.values()))
