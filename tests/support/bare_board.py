"""The rank board on an empty page: the real component in a real browser, without a dashboard around it.

Python is not asked here, so that what people see and touch can be tested and timed in milliseconds.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.components import rank_board
from app.components.rank_board.curves import board_step, encode_curves, evaluated_json
from app.components.rank_board.data import BoardInput, BoardState
from engine.allocation import EvaluatedMap
from engine.analysis.curves import group_curves
from engine.analysis.value import Analysis
from engine.search.predicted import search_predictions
from engine.types import (
    BlockRank,
    Format,
    GroupCurves,
    Importance,
    InputGroup,
    Inventory,
    Metric,
    Mlp,
    Projection,
    block_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import Page, Route

    from app.costed_maps import CostedMap

FOLDER = Path(rank_board.__file__).parent / "board"
KINDS = (("q", "k", "v"), ("o",), ("gate", "up"), ("down",))
METRICS = (Metric.LOSS, Metric.INPUT, Metric.FEATURE)

PAGE = """<!doctype html><title>board</title><style>body { margin: 16px; font-family: sans-serif } %s</style>%s
<script type="module">
  const load = (name) => import(`./${name}.js`);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const [{ default: deliver }, { default: show }] = await Promise.all([load("curves"), load("board")]);
  const { data, curves } = await (await fetch("./data.json")).json();
  deliver({ data: bytes(curves) });
  globalThis.reports = [];
  globalThis.sent = data;
  globalThis.send = (changes) => show({
    data: Object.assign(globalThis.sent, changes),
    parentElement: document.body,
    setStateValue: (_, state) => globalThis.reports.push(state),
  });
  globalThis.send({});
</script>"""


def made_up_analysis(n_layers: int, width: int, *, mlps: bool = False) -> Analysis:
    """Return an analysis of seven projections a layer with spectra that fall as real ones do.

    With ``mlps`` the loss metric has curves of widths, too.
    """
    rng = np.random.default_rng(n_layers)
    nats: dict[Metric, dict[str, Any]] = {metric: {} for metric in METRICS}
    groups = []
    outs = {"q": width, "k": width // 4, "v": width // 4, "o": width, "gate": 3 * width, "up": 3 * width, "down": width}
    for layer in range(n_layers):
        for kinds in KINDS:
            n_in = 3 * width if kinds == ("down",) else width
            members = tuple(Projection(f"layers.{layer}.{kind}", layer, kind, outs[kind], n_in) for kind in kinds)
            groups.append(InputGroup(members))
            together = [(block_name(p.name for p in members), sum(p.out_features for p in members))]
            for name, n_out in [(p.name, p.out_features) for p in members] + (together if len(members) > 1 else []):
                energies = np.arange(1, min(n_in, n_out) + 1) ** -rng.uniform(0.5, 1.5)
                for metric in METRICS:
                    noisy = np.sort(energies * rng.lognormal(-6, 0.3) * rng.lognormal(0, 0.01, len(energies)))
                    nats[metric][name] = np.append(np.cumsum(noisy)[::-1], 0.0)
    importances = {p.name: rng.lognormal(0, 1, len(Importance)) for group in groups for p in group.members}
    n_params = sum(p.params for group in groups for p in group.members)
    found = tuple(Mlp(up.members, down.members[0]) for up, down in zip(groups[2::4], groups[3::4], strict=True))
    for mlp in found if mlps else ():
        # In every other layer dearer than ranks.
        spent = sum(nats[Metric.LOSS][p.name][0] for p in mlp.members)
        nats[Metric.LOSS][mlp.name] = spent * (2.0 if mlp.layer % 2 else 0.2) * np.linspace(1, 0, mlp.neurons + 1) ** 3
    inventory = Inventory("MadeUpForCausalLM", n_layers, tuple(groups), (), n_params + 10**6, found if mlps else ())
    about = {"model": "made up", "model_fingerprint": "0" * 64}
    return Analysis(f"made-up-{n_layers}", about, inventory, {}, nats, importances)


def searched_maps(groups: Sequence[GroupCurves], n: int) -> list[EvaluatedMap]:
    """Return measured maps as a search leaves them: one kept fraction for all."""
    found = []
    curves = [curve for group in groups for curve in group.separate]
    for kept in np.linspace(0.3, 0.9, n):
        sides = [curve.in_features + curve.out_features for curve in curves]
        ranks = [max(int(kept * c.dense_params / side), 1) for c, side in zip(curves, sides, strict=True)]
        blocks = tuple(BlockRank(c.members, Format.LOW_RANK, rank) for c, rank in zip(curves, ranks, strict=True))
        params = sum(rank * side for rank, side in zip(ranks, sides, strict=True))
        found.append(EvaluatedMap(blocks, params, 1 - float(kept), "m", "1"))
    return found


def open_board(
    page: Page, analysis: Analysis, state: BoardState, opened: CostedMap | None = None, query: str = ""
) -> None:
    """Show the board of an analysis on an empty page, perhaps with a saved map that is open, at an address.

    In the page ``reports`` holds what Python would be sent, and ``send(changes)`` is what it answers.
    """
    curves = {metric: group_curves(analysis, metric) for metric in analysis.nats}
    step = max(map(board_step, curves.values()))
    board = BoardInput(
        analysis=analysis,
        curves=analysis.id,
        state=state,
        opened=opened,
        searched=evaluated_json(searched_maps(curves[Metric.FEATURE], 12), curves[Metric.FEATURE]),
        dense_perplexity=20.5,
        basis="Made up.",
    )
    predicted = search_predictions(analysis.inventory, analysis.nats[Metric.FEATURE])
    packed = encode_curves(curves, step, analysis.id, predicted)
    sent = {"data": board.to_json(), "curves": base64.b64encode(packed).decode()}
    html = (FOLDER / "board.html").read_text(encoding="utf-8")
    css = (FOLDER / "board.css").read_text(encoding="utf-8")
    bodies = {
        "": PAGE % (css, html),
        "data.json": json.dumps(sent),
        "curves.js": rank_board.CURVES_SCRIPT,
        "board.js": rank_board.BOARD_SCRIPT,
    }

    def serve(route: Route) -> None:
        name = route.request.url.rsplit("/", 1)[1].partition("?")[0]
        kind = {"js": "text/javascript", "json": "application/json"}.get(name.rsplit(".", 1)[-1], "text/html")
        route.fulfill(body=bodies.get(name, ""), content_type=f"{kind}; charset=utf-8")

    page.route("http://board.test/**", serve)
    page.goto(f"http://board.test/?{query}")
    page.wait_for_selector("[data-testid=rank-board][data-ready=true]")
