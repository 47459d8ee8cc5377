"""What running the dense model and rank maps costs: counted, timed in turns, and weighed in a process of its own."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from engine.evaluation.cost import Seconds, count_token_cost, spread, time_beside
from engine.evaluation.memory import measure_peak_memory
from engine.export.dense import export_dense
from engine.export.factored import export_factored
from engine.machine import machine_id
from engine.model.module import device_of
from engine.pipeline.measure.part import write_part
from engine.progress import part_of
from engine.rank_map.identity import part_key

if TYPE_CHECKING:
    from torch import nn

    from cache import Key
    from engine.evaluation.specs import CostSpec, MemorySpec
    from engine.pipeline.opened import OpenedAnalysis
    from engine.progress import Report
    from engine.rank_map.document import RankMap


@dataclass(frozen=True, slots=True)
class CostPart:
    """Multiply-adds and tokens per second of a rank map, with those of the dense model from the same minutes."""

    opened: OpenedAnalysis
    spec: CostSpec

    @property
    def weight(self) -> int:
        """About the tokens run."""
        spec = self.spec
        return sum(
            b * 2 * (spec.repetitions + 1) * (spec.prompt_tokens + 3 * spec.new_tokens) for b in spec.batch_sizes
        )

    def key(self, rank_map: RankMap) -> Key:
        """Return where the cost is stored."""
        spec = {**asdict(self.spec), "dtype": self.opened.dtype}
        subject = self.opened.analysis.id, rank_map
        return part_key("cost", spec, self.opened.folder.fingerprint, "", subject)

    def is_stored(self, rank_map: RankMap | None) -> bool:
        """Return whether the cost is there; the dense model's comes with every map's."""
        return rank_map is None or self.key(rank_map) in self.opened.store

    def measure(self, rank_map: RankMap | None, report: Report) -> None:
        """Count, time and store."""
        assert rank_map is not None
        begun = time.monotonic()
        modules = self.opened.module(rank_map), self.opened.dense.module
        times: list[tuple[int, tuple[Seconds, ...]]] = []
        for index, batch_size in enumerate(self.spec.batch_sizes):
            n = len(self.spec.batch_sizes)
            within = part_of(report, index / n, (index + 1) / n)
            times.append((batch_size, time_beside(modules, batch_size, self.spec, within)))
        document = {
            "data_fingerprint": None,
            "setting": f"{self.spec} on {device_of(modules[0])}",
            "seed": self.spec.seed,
            "seconds": round(time.monotonic() - begun, 2),
            **{name: getattr(self.spec, name) for name in ("prompt_tokens", "new_tokens", "repetitions")},
            "threads": torch.get_num_threads(),
            "machine": machine_id(),
            "own": self._side(modules[0], [(b, own, dense) for b, (own, dense) in times]),
            "dense": self._side(modules[1], [(b, dense, dense) for b, (_, dense) in times]),
        }
        write_part(self.opened, self.key(rank_map), rank_map, document)

    def _side(self, module: nn.Module, times: list[tuple[int, Seconds, Seconds]]) -> dict[str, object]:
        speeds = []
        for batch_size, own, dense in times:
            prompt, new = batch_size * self.spec.prompt_tokens, batch_size * self.spec.new_tokens
            speeds.append(
                {
                    "batch_size": batch_size,
                    "prefill": spread([prompt / s for s in own.prefill]),
                    "decode": spread([new / s for s in own.decode]),
                    "prefill_ratio": spread([d / s for s, d in zip(own.prefill, dense.prefill, strict=True)]),
                    "decode_ratio": spread([d / s for s, d in zip(own.decode, dense.decode, strict=True)]),
                }
            )
        return {**asdict(count_token_cost(module, self.spec)), "speeds": speeds}


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """Peak memory of the dense model and of rank maps, each written to a folder of its own in the same type.

    Attributes:
        opened: what is written.
        spec: how they are run.
    """

    opened: OpenedAnalysis
    spec: MemorySpec

    @property
    def weight(self) -> int:
        """Starting a process takes about as long as running that many tokens."""
        return 2000

    def key(self, rank_map: RankMap | None) -> Key:
        """Return where the peak is stored."""
        subject = None if rank_map is None else (self.opened.analysis.id, rank_map)
        return part_key("memory", self.spec, self.opened.folder.fingerprint, "", subject)

    def is_stored(self, rank_map: RankMap | None) -> bool:
        """Return whether the peak is there."""
        return self.key(rank_map) in self.opened.store

    def measure(self, rank_map: RankMap | None, report: Report) -> None:
        """Measure and store."""
        report("memory", None, "Memory: a process that only loads and runs the model")
        begun = time.monotonic()
        module, tokenizer = self.opened.module(rank_map), self.opened.dense.tokenizer
        scratch = self.opened.home.downloads
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch) as name:
            folder = Path(name)
            if rank_map is None:
                export_dense(module, tokenizer, folder)
            else:
                export_factored(module, tokenizer, folder)
            # Code in the folder is the dense model's, which the user allowed or there is none, or our own.
            peak = measure_peak_memory(folder, self.spec, trust_remote_code=True)
        document = {
            **asdict(peak),
            "n_tokens": self.spec.n_tokens,
            "dtype": self.spec.dtype,
            "device": "cpu",
            "data_fingerprint": None,
            "setting": str(self.spec),
            "seed": None,
            "seconds": round(time.monotonic() - begun, 2),
        }
        write_part(self.opened, self.key(rank_map), rank_map, document)
