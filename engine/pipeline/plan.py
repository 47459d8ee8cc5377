"""What an analysis will take, told from the headers of a model's files before it is opened; free of torch.

Groups of projections are guessed. Where a model is different the figures are off, and nothing else.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from engine.calibration.sides import is_wide, statistics_bytes
from engine.machine import MOST_LOGITS, free_memory_bytes
from engine.pipeline.bands import bands_of
from engine.pipeline.guessed_groups import guess_groups
from engine.pipeline.runs import RUN_LENGTH
from engine.results.words import megabytes
from engine.specs import Fisher
from engine.types import Metric

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from engine.model.headers import ModelHeader
    from engine.specs import AnalysisSpec
    from engine.types import InputGroup

_PROGRAM_BYTES: Final = 800_000_000
"""Of Python, torch and transformers, and of what passes hold for a moment."""
_BARE_PROGRAM_BYTES: Final = 600_000_000
"""Of Python, torch and transformers once a model is open and has run, as measured at two sizes."""
_NEURON_MATRICES: Final = 4
"""Of float64 that ordering the neurons of an MLP holds at once, as measured at 4,096 neurons."""
_EIGEN_MATRICES: Final = 8
"""Of float64 that an eigendecomposition holds: whitening factor, product, its symmetric part, vectors, two of work, and
what the one before returned."""
_INPUT_MATRICES: Final = 5
"""Of float64 on the side of an input that several projections read: moments as they are, in the metric and of the loss,
and what the projections together make of them, in the metric and of the loss."""
_CUBES_OF_A_BLOCK: Final = 2.5
_CUBES_OF_A_SPECTRUM: Final = 1.3
_CUBES_OF_NEURONS: Final = 1.15
"""Seconds of a block's factors in one metric, of its singular values alone where no factors are stored, and of an order
of neurons, over those of an eigendecomposition."""
_CUBES_OF_APPLYING: Final = 0.5
"""Of a block in a map that is weighed."""
_PASS_OVERHEAD: Final = 2.4
_FORWARD_OVERHEAD: Final = 2.1
"""Seconds of calibration passes, and of passes that only measure, over those of their products at full pace."""
N_SEQUENCES: Final = 4
"""Of the calibration text, after those that the analysis reads, on which predictions are weighed."""
_SAVED: Final = 0.3
"""Of the parameters of a band of layers, which are compressed together there."""
_SHARE_OF_FREE_MEMORY: Final = 0.25
"""That what layers return may take before it goes to disk."""


@dataclass(frozen=True, slots=True)
class Work:
    """What an analysis computes.

    Attributes:
        pass_flops: of the model's own products, forward and backward.
        single_flops: of second moments, which are in float32.
        eigen_cubes: n^3 of eigendecompositions, and of products and eliminations beside them in the same unit.
    """

    pass_flops: float
    single_flops: float
    eigen_cubes: float


@dataclass(frozen=True, slots=True)
class AnalysisPlan:
    """What an analysis will take.

    Attributes:
        streams: the model stays in its files, and layers are read one at a time.
        memory_bytes: at the peak.
        disk_bytes: what is kept: of ``statistics``, and of the factors of every metric.
        scratch_bytes: on disk while it runs.
        work: what is computed.
    """

    streams: bool
    memory_bytes: int
    disk_bytes: Mapping[str, int]
    scratch_bytes: int
    work: Work

    @property
    def kept_bytes(self) -> int:
        """Of all that is kept."""
        return sum(self.disk_bytes.values())

    def disk_shortage(self, folder: Path, stored: Mapping[str, float] = MappingProxyType({})) -> str | None:
        """Say what is missing if the disk has too little room.

        Args:
            folder: where artifacts are kept; it may not exist yet.
            stored: what is kept already, as a share of each part.
        """
        existing = next(one for one in (folder, *folder.parents) if one.exists())
        free = shutil.disk_usage(existing).free
        left = sum(n * (1 - stored.get(what, 0.0)) for what, n in self.disk_bytes.items()) + self.scratch_bytes
        if left <= free:
            return None
        return (
            f"The analysis takes about {megabytes(left)} of disk, and {megabytes(free)} are free at {existing}; make "
            "room, or store factors in fewer metrics (--metrics loss)."
        )


def plan_analysis(
    header: ModelHeader, spec: AnalysisSpec, memory_bytes: int, *, stream: bool = False, n_workers: int = 1
) -> AnalysisPlan:
    """Return what an analysis will take.

    Args:
        header: of the model.
        spec: what is asked.
        memory_bytes: statistics held at once.
        stream: layer by layer, also if the model fits.
        n_workers: layers that are decomposed side by side.
    """
    groups, downs = guess_groups(header)
    # Counted, not listed: a number that somebody typed may be of any size.
    n_runs, n_of_run = -(-spec.corpus.n_sequences // RUN_LENGTH), min(RUN_LENGTH, spec.corpus.n_sequences)
    tokens = n_of_run * spec.corpus.length
    of_layers = defaultdict(list)
    for group in groups:
        of_layers[group.layer].append(group)
    moments = [statistics_bytes(of_layer, n_of_run, downs) for of_layer in of_layers.values()]
    is_single = header.opens_wider or spec.calibration.compute_dtype == "float32"
    opened = 4 * header.n_params if is_single else header.weight_bytes
    layer_params = header.n_matrix_params / max(header.n_layers, 1)
    of_entry = opened / max(header.n_params, 1)
    layer = int(layer_params * of_entry)
    batch = min(spec.calibration.batch_size, n_of_run) * spec.corpus.length
    # Of one layer: its states, in a few copies, and of the head: logits in five.
    running = batch * int(_active_params(header, groups) / max(header.n_layers * header.width, 1)) * 3 * 2
    head = 5 * 4 * min(batch * header.vocabulary, MOST_LOGITS)
    band = max((len(band) for band in bands_of(header.n_layers)), default=0) * layer
    weighing = int((1 - _SAVED) * band) + head if Metric.LOSS in spec.metrics else 0
    neurons = max((p.in_features for g in groups for p in g.members if p.name in downs), default=0)
    decomposing = min(n_runs, 2) * max(moments, default=0) + 8 * _NEURON_MATRICES * neurons**2
    held = min(memory_bytes, sum(moments))
    whole = opened + max(held + header.n_layers * running + head, n_workers * decomposing, weighing)
    ends = opened - header.n_layers * layer
    # A weight has its gradient for a moment; float32 weights have copies in the type of the passes meanwhile.
    gradient = int(of_entry * max((p.params for g in groups for p in g.members), default=0))
    casts = 2 * int(layer_params) if is_single and spec.calibration.compute_dtype != "float32" else 0
    passing = max(moments, default=0) + running + gradient + casts
    read_again = min(n_runs, 2) * max(moments, default=0)
    of_one = max((_decomposing_bytes(of_layer, spec.metrics, downs) for of_layer in of_layers.values()), default=0)
    by_layer = ends + max(layer + max(passing, read_again + of_one), head) + _BARE_PROGRAM_BYTES
    streams = stream or whole + _PROGRAM_BYTES > free_memory_bytes()
    disk = {"statistics": n_runs * sum(moments)}
    entry = 2 if header.is_half else 4
    disk |= {metric: entry * sum(_factor_entries(g, metric, downs) for g in groups) for metric in spec.metrics}
    states = int((header.n_layers + 1) * tokens * header.width * of_entry) if streams else 0
    kept = states if states_in_memory(states) else 0
    memory = by_layer + kept if streams else whole + _PROGRAM_BYTES
    work = _work(header, spec, groups, downs, streams=streams)
    return AnalysisPlan(streams, memory, disk, states - kept, work)


def _decomposing_bytes(groups: Sequence[InputGroup], metrics: Collection[Metric], downs: Collection[str]) -> int:
    """Return what the decomposition of a layer holds beside weights and moments.

    The factors of all blocks wait in float32 until they are written; each group is decomposed in float64.
    """
    neurons = [p.in_features for g in groups for p in g.members if p.name in downs and Metric.LOSS in metrics]
    ordering = 8 * _NEURON_MATRICES * max(neurons, default=0) ** 2
    triangles = 4 * sum(n**2 for n in neurons)
    factors = 4 * sum(_factor_entries(group, Metric.LOSS, ()) for group in groups)
    return max(ordering, triangles + factors + 8 * max(map(_entries_of_decomposing, groups), default=0))


def _entries_of_decomposing(group: InputGroup) -> int:
    """Return the entries in float64: weights, moments on both sides, and those of the block that needs the most."""
    weights = sum(p.params for p in group.members)
    sides = [min(p.out_features, p.in_features) for p in group.members]
    moments = sum(p.matrices * side**2 for p, side in zip(group.members, sides, strict=True))
    of_input = group.in_features**2
    if len(group.members) > 1:
        return weights + moments + _INPUT_MATRICES * of_input + _EIGEN_MATRICES * max(*sides, group.in_features) ** 2
    # The moment of its outputs may be made from that of its inputs.
    return weights + moments + sides[0] ** 2 + max(_EIGEN_MATRICES * sides[0] ** 2, of_input + weights)


def states_in_memory(n_bytes: int) -> bool:
    """Whether what layers return is kept in memory, not on disk, where layers are read one at a time."""
    return n_bytes <= free_memory_bytes() * _SHARE_OF_FREE_MEMORY


def _work(
    header: ModelHeader,
    spec: AnalysisSpec,
    groups: Sequence[InputGroup],
    downs: Collection[str],
    *,
    streams: bool,
) -> Work:
    tokens = spec.corpus.n_sequences * spec.corpus.length
    backward = 2 if spec.calibration.fisher is Fisher.EMPIRICAL else 4
    head = header.vocabulary * header.width
    active, n_of_run = _active_params(header, groups), min(RUN_LENGTH, spec.corpus.n_sequences)
    of_token = (1 + streams + backward) * active + (1 + backward // 2) * head
    of_passes = _PASS_OVERHEAD * 2 * tokens * of_token
    moments = (statistics_bytes([group], n_of_run, downs) * group.members[0].active_fraction for group in groups)
    of_moments = tokens * sum(moments) / 4
    kinds = (1 + bool(downs)) * (Metric.LOSS in spec.metrics)  # ranks, and widths where there are some
    cubes, n_stored = 0.0, len(spec.metrics)
    of_block = _CUBES_OF_A_BLOCK * n_stored + _CUBES_OF_A_SPECTRUM * (len(Metric) - n_stored)
    of_block += _CUBES_OF_APPLYING * (kinds > 0)
    for group in groups:
        sides = [min(p.out_features, p.in_features) for p in group.members]
        sides += [group.in_features] if len(group.members) > 1 else []
        cubes += of_block * group.members[0].matrices * sum(float(side) ** 3 for side in sides)
        if Metric.LOSS in spec.metrics:
            cubes += _CUBES_OF_NEURONS * sum(float(p.in_features) ** 3 for p in group.members if p.name in downs)
    bands = bands_of(header.n_layers)  # a run begins with the first layer of its band
    of_bands = (bool(kinds) + kinds * (sum(1 - band[0] / header.n_layers for band in bands) - _SAVED)) * active
    of_weighing = _FORWARD_OVERHEAD * 2 * N_SEQUENCES * spec.corpus.length
    of_weighing *= of_bands + (bool(kinds) + kinds * len(bands)) * head
    return Work(of_passes + of_weighing, of_moments, cubes)


def _active_params(header: ModelHeader, groups: Sequence[InputGroup]) -> float:
    """Return the parameters in matrices of the layers that a token is multiplied with."""
    of_others = sum(p.params * (1 - p.active_fraction) for group in groups for p in group.members)
    return header.n_matrix_params - of_others


def fits_whole(header: ModelHeader, dtype: str, copies: float = 1.0) -> bool:
    """Whether a model fits into the free memory in a type, ``auto`` for that of its files, ``copies`` times."""
    usual = 4 if header.opens_wider else 2
    n_bytes = header.n_params * {"float32": 4, "bfloat16": 2, "float16": 2}.get(dtype, usual)
    return copies * n_bytes + _PROGRAM_BYTES <= free_memory_bytes()


def _factor_entries(group: InputGroup, metric: Metric, downs: Collection[str]) -> int:
    """Return the entries of the stored factors of a group's members, and of all of them together."""
    total = sum(
        p.matrices * _block_entries(p.out_features, p.in_features, metric, on_output_side=is_wide(p))
        for p in group.members
    )
    if len(group.members) > 1:
        total += _block_entries(group.out_features, group.in_features, metric, on_output_side=False)
    if metric is Metric.LOSS:
        total += sum(p.in_features**2 // 2 for p in group.members if p.name in downs)
    return total


def _block_entries(out_features: int, in_features: int, metric: Metric, *, on_output_side: bool) -> int:
    """Return the entries of basis and dual; that of an orthonormal basis is not stored."""
    width = out_features if on_output_side else in_features
    rank = min(out_features, in_features)
    is_orthonormal = metric is Metric.WEIGHT or (on_output_side and metric is not Metric.LOSS)
    return width * rank * (1 if is_orthonormal else 2)


def described(plan: AnalysisPlan) -> str:
    """Return the plan in words."""
    how = "layer by layer from the files" if plan.streams else "the whole model in memory"
    parts = ", ".join(f"{what} {megabytes(n)}" for what, n in plan.disk_bytes.items())
    scratch = f", and up to {megabytes(plan.scratch_bytes)} while it runs" if plan.scratch_bytes else ""
    free = megabytes(free_memory_bytes())
    return (
        f"{how}; memory up to about {megabytes(plan.memory_bytes)} ({free} free); disk about "
        f"{megabytes(plan.kept_bytes)} ({parts}){scratch}"
    )
