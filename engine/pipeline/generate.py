"""Generate text with the dense, a compressed or a progressively compressed model of an analysis."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transformers import TextStreamer

from engine.decoding.generation import Decoder, encode_prompt, generate_tokens, require_positions
from engine.decoding.progressive import ProgressiveModel, make_progressive
from engine.decoding.schedules import allocate_stages, require_sliceable
from engine.errors import ResourceError
from engine.machine import memory_shortage
from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.presets import get_preset
from engine.model.module import device_of, dtype_of, require_embedded, resolve_device
from engine.pipeline.opened import OpenedAnalysis, open_analysis
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.rank_map.document import check_rank_map
from engine.types import Budget, Format

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cache import Key
    from engine.decoding.schedules import RankSchedule
    from engine.model.opening import OpenModel
    from engine.progress import Report
    from engine.rank_map.document import RankMap
    from engine.settings import Home
    from engine.specs import GenerationSpec
    from engine.types import BlockRank


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """One way to run the model.

    Attributes:
        name: ``dense``, the method of a rank map, or ``progressive``.
        decoder: what generates.
        params: parameters of the compressible projections that run on the prompt.
        resident_params: the same that are held in memory.
    """

    name: str
    decoder: Decoder
    params: int
    resident_params: int

    @property
    def schedule(self) -> RankSchedule | None:
        """What a progressive variant follows."""
        return self.decoder.schedule if isinstance(self.decoder, ProgressiveModel) else None

    def active_params(self, n_tokens: int) -> list[int]:
        """Return the active parameters that produce each of the first ``n_tokens`` generated tokens."""
        if isinstance(self.decoder, ProgressiveModel):
            return self.decoder.active_params(n_tokens)
        return [self.params] * n_tokens


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model went on with, what it cost and how long it took.

    Attributes:
        text: without special tokens.
        n_prompt_tokens: of the prompt as the model saw it, chat template included.
        tokens: generated ids, the end-of-text token included.
        active_params: parameters of the compressible projections that produced each of them.
        compressible_params: the same when dense.
        prefill_s: seconds until the first token.
        decode_s: seconds from the first token to the last.
    """

    text: str
    n_prompt_tokens: int
    tokens: tuple[int, ...]
    active_params: tuple[int, ...]
    compressible_params: int
    prefill_s: float
    decode_s: float

    @property
    def mean_active_params(self) -> float:
        """Mean over the generated tokens."""
        return sum(self.active_params) / len(self.active_params)

    @property
    def mean_kept_fraction(self) -> float:
        """The mean as a fraction of the compressible parameters."""
        return self.mean_active_params / self.compressible_params

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens after the first one per second; ``None`` if there is only one."""
        return (len(self.tokens) - 1) / self.decode_s if len(self.tokens) > 1 else None


class GenerationSession:
    """One opened dense model, and the variants of it that an analysis knows how to make.

    Args:
        home: where everything is stored.
        analysis_id: the analysis whose factors are used; the start of its id is enough.
        report: told while the model is opened.
        dtype: weights and arithmetic; ``auto`` is the checkpoint's own.
        device: where it runs.
        spared_bytes: of memory that are left to others when the model is opened.
        opened: the analysis, where its model is open already.

    Raises:
        RankScopeError: the analysis or its model is not there any more, or not the same.
        ResourceError: the model does not fit the memory that is free.
    """

    def __init__(
        self,
        home: Home,
        analysis_id: str,
        report: Report,
        *,
        dtype: str = "auto",
        device: str = "auto",
        spared_bytes: int = 0,
        opened: OpenedAnalysis | None = None,
    ) -> None:
        self.spared_bytes = spared_bytes
        if opened is None:
            opened = open_analysis(home, load_analysis(home.store, analysis_id), report, dtype=dtype, device=device)
            if resolve_device(device).type == "cpu":
                self._require_memory("The model", _weights_bytes(opened.folder.path))
            opened.open()
            report("model", 1.0, "The model is open")
        self.opened = opened
        self.analysis = opened.analysis

    @property
    def model(self) -> OpenModel:
        """The dense model."""
        return self.opened.dense

    def dense(self) -> Variant:
        """Return the model as it is."""
        params = self.analysis.inventory.compressible_params
        return Variant("dense", self.model.module, params, params)

    def compressed(self, rank_map: RankMap, refinement: Key | None = None) -> Variant:
        """Return the model under a rank map, with refined factors if their key is given.

        Raises:
            InvalidRankMapError: the map does not fit the model.
            ResourceError: its factors do not fit the memory that is free.
        """
        inventory = self.analysis.inventory
        params = check_rank_map(rank_map, inventory, self.analysis.about["model_fingerprint"])
        self._require_factors_memory(params)
        return Variant(rank_map.method, self.opened.compress(rank_map, refinement, shared=True), params, params)

    def progressive(self, schedule: RankSchedule, method: str = "flrc", storage: Format = Format.LOW_RANK) -> Variant:
        """Return the model that follows a schedule, every stage allocated by ``method``.

        Args:
            schedule: the budgets.
            method: preset that allocates each of them.
            storage: low-rank or cat.

        Raises:
            InvalidSpecError: a skip format, an unknown method, or a metric that was not analysed.
            InfeasibleBudgetError: a budget cannot be met.
            ResourceError: the factors do not fit the memory that is free.
        """
        require_sliceable(storage, "Every projection")
        preset = get_preset(method)
        curves = curves_by_metric(self.analysis)
        inventory = self.analysis.inventory
        only = Request(formats=frozenset({storage}))

        def allocate(kept_fraction: float) -> tuple[BlockRank, ...]:
            budget = Budget.of_kept_fraction(kept_fraction, inventory.compressible_params)
            return allocate_rank_map(self.analysis, curves, method, budget, only).blocks

        stages = allocate_stages(schedule, allocate)
        self._require_factors_memory(inventory.compressible_params)
        decoder = make_progressive(
            self.model.module, schedule, stages, inventory, self.opened.rank_factors(preset.metric)
        )
        return Variant("progressive", decoder, decoder.params_by_stage[0], decoder.resident_params)

    def encode(self, text: str, spec: GenerationSpec, *, chat: bool | None = None) -> list[int]:
        """Return the token ids of a prompt that fits the model.

        Raises:
            InvalidSpecError: it is empty or too long, or a chat template is asked for and there is none.
            ModelError: the tokenizer makes tokens of it that the model does not know.
        """
        prompt = encode_prompt(self.model.tokenizer, text, chat=chat)
        require_embedded(self.model.module, prompt)
        require_positions(self.model.module, len(prompt), spec.max_new_tokens)
        return prompt

    def complete(
        self,
        variant: Variant,
        prompt: list[int],
        spec: GenerationSpec,
        on_text: Callable[[str], None] = lambda _: None,
        go_on: Callable[[], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Completion:
        """Let a variant go on from a prompt.

        Args:
            variant: of this session.
            prompt: from :meth:`encode`.
            spec: how tokens are chosen.
            on_text: told every piece of text as soon as it is certain.
            go_on: asked after every token; false ends the text there.
            clock: of the times returned, in seconds.

        Raises:
            NumericalError: the variant's numbers are not finite.
        """
        tokenizer = self.model.tokenizer
        watch = _Watch(tokenizer, on_text, clock)
        begun = clock()
        (tokens,) = generate_tokens(variant.decoder, [prompt], spec, watch, go_on)
        return Completion(
            tokenizer.decode(tokens, skip_special_tokens=True),
            len(prompt),
            tuple(tokens),
            tuple(variant.active_params(len(tokens))),
            self.analysis.inventory.compressible_params,
            watch.first_token - begun,
            watch.last_token - watch.first_token,
        )

    def _require_factors_memory(self, params: int) -> None:
        device = device_of(self.model.module)
        if device.type == "cpu":
            self._require_memory("The compressed model", params * dtype_of(self.model.module).itemsize)

    def _require_memory(self, what: str, n_bytes: int) -> None:
        shortage = memory_shortage(what, n_bytes, self.spared_bytes)
        if shortage is not None:
            raise ResourceError(f"{shortage}, or take a smaller model.")


def _weights_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


class _Watch(TextStreamer):
    """Passes text on and remembers when the first and the last token came."""

    def __init__(self, tokenizer: Any, on_text: Callable[[str], None], clock: Callable[[], float]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._clock = clock
        self.first_token = self.last_token = 0.0
        self._on_text = on_text

    def put(self, value: Any) -> None:
        if not self.next_tokens_are_prompt:
            self.last_token = self._clock()
            self.first_token = self.first_token or self.last_token
        super().put(value)

    def on_finalized_text(self, text: str, *_: Any, **__: Any) -> None:
        if text:
            self._on_text(text)
