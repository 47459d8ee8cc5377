"""The model card of an export; free of torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.export.card_tables import measured_lines, rank_lines
from engine.export.specs import ExportFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from engine.results.rows import PerplexityResult, TaskResult

_LICENCE = re.compile(r"^license:\s*['\"]?([\w.+-]+)", re.MULTILINE)
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card states.

    Attributes:
        model: what the user named.
        hub_id: of the base model; ``None`` if it did not come from a hub.
        licence: of the base model as it states it; ``None`` if unknown.
        architecture: class of the base model.
        method: that chose the ranks.
        metric: in which the factors are computed.
        refined: ``corrected`` or ``trained`` factors; ``None``: as computed.
        kept_fraction: parameters of the compressible projections after over before.
        params: of the whole model under the map.
        dense_params: of the whole dense model.
        format: of the export.
        dtype: of the weights.
        weight_bytes: stored.
        dense_weight_bytes: of the dense model in the same type.
        difference: largest one between the logits of this folder, opened in a fresh process, and in memory.
        same_top: fraction of those tokens after which the most probable one is the same.
        versions: that opened it.
        rank_pattern: name of a factored linear module -> its rank.
        perplexities: of exactly this map and these factors, newest first.
        tasks: the same map's, newest first.
        blocks_at_bits: what is stored -> blocks, where the map rounds blocks; else empty.
    """

    model: str
    hub_id: str | None
    licence: str | None
    architecture: str
    method: str
    metric: str
    refined: str | None
    kept_fraction: float
    params: int
    dense_params: int
    format: ExportFormat
    dtype: str
    weight_bytes: int
    dense_weight_bytes: int
    difference: float
    same_top: float
    versions: Mapping[str, str]
    rank_pattern: Mapping[str, int]
    perplexities: Sequence[PerplexityResult]
    tasks: Sequence[TaskResult]
    blocks_at_bits: Mapping[str, int]


def loading_lines(folder: str, export_format: ExportFormat) -> tuple[str, ...]:
    """Return the Python that opens an export."""
    tokenizer = f"tokenizer = AutoTokenizer.from_pretrained({folder!r})"
    if export_format is ExportFormat.ONNX:
        return (
            "import onnxruntime",
            "from transformers import AutoTokenizer",
            tokenizer,
            f"session = onnxruntime.InferenceSession({folder + '/model.onnx'!r})",
        )
    if export_format is ExportFormat.GGUF:
        return (
            "from llama_cpp import Llama",
            f"model = Llama({folder + '/model.gguf'!r})",
        )
    trust = ", trust_remote_code=True" if export_format is ExportFormat.FACTORED else ""
    return (
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        tokenizer,
        f'model = AutoModelForCausalLM.from_pretrained({folder!r}, dtype="auto"{trust})',
    )


def stated_licence(folder: Path) -> str | None:
    """Return the licence that the card in a model's folder states, if it has one that does."""
    card = folder / "README.md"
    front = _FRONT.match(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    licence = _LICENCE.search(front[1]) if front else None
    return licence[1] if licence else None


def write_card(facts: CardFacts) -> str:
    """Return the README."""
    library = {ExportFormat.ONNX: "onnx", ExportFormat.GGUF: "gguf"}.get(facts.format, "transformers")
    head = ["---", f"library_name: {library}", "pipeline_tag: text-generation"]
    if facts.hub_id:
        head.append(f"base_model: {facts.hub_id}")
    if facts.licence:
        head.append(f"license: {facts.licence.lower()}")
    return "\n".join([*head, "---", "", *_body(facts)]) + "\n"


def _body(facts: CardFacts) -> list[str]:
    how = {None: "", "corrected": ", factors corrected in closed form", "trained": ", factors corrected and trained"}
    return [
        f"# {facts.model}, {facts.kept_fraction:.1%} kept",
        "",
        f"{facts.model} (`{facts.architecture}`), compressed with RankScope: ranks by {facts.method}, factors in the "
        f"{facts.metric} metric{how[facts.refined]}.",
        "",
        "| | this model | dense |",
        "|---|---|---|",
        f"| parameters | {facts.params:,} | {facts.dense_params:,} |",
        f"| compressible parameters kept | {facts.kept_fraction:.4f} | 1 |",
        f"| weights, {facts.dtype} | {facts.weight_bytes / 1e6:,.1f} MB | {facts.dense_weight_bytes / 1e6:,.1f} MB |",
        "",
        *_storage(facts),
        "",
        "## Measured",
        "",
        *measured_lines(facts.perplexities, facts.tasks, facts.dtype),
        "",
        "## Use",
        "",
        "```python",
        *loading_lines(".", facts.format),
        "```",
        "",
        *_use(facts.format),
        "",
        *rank_lines(facts.rank_pattern),
        *_limits(facts),
        "",
        "## Licence",
        "",
        f"The base model states {facts.licence}." if facts.licence else "The base model's licence is not known here.",
        "Its licence applies to these weights; the code in this folder is Apache-2.0.",
    ]


def _storage(facts: CardFacts) -> list[str]:
    if facts.format is ExportFormat.ONNX:
        rounded = " with int8 weights and activations that are rounded as it runs" if facts.dtype == "int8" else ""
        return [
            f"`model.onnx` is one graph of the factors and their cache of keys and values{rounded}; its weights are in "
            "`model.onnx.data`. It needs no torch."
        ]
    if facts.format is ExportFormat.GGUF and facts.params < facts.dense_params:
        return ["`model.gguf` has the MLPs with fewer neurons, the tokenizer and the chat template, for llama.cpp."]
    if facts.format is ExportFormat.FACTORED:
        return [
            "Linear weights are stored as their factors, listed in `config.json` under `factored_blocks`; those of "
            "MLPs with fewer neurons are ordinary and smaller, listed under `narrowed_linears`. "
            "`modeling_factored.py` subclasses the transformers model and runs them; it needs nothing but torch and "
            "transformers." + _integers(facts)
        ]
    if facts.params < facts.dense_params:
        return [
            "The MLPs have fewer neurons, as `config.json` says, and everything else has its original size: an "
            "ordinary model of its architecture, which any runtime opens."
        ]
    return [
        "**This folder saves nothing.** The factors are multiplied out into weights of the original size, so that any "
        "runtime opens it: memory, disk and arithmetic are the dense model's, and the quality is the compressed one's."
    ]


def _integers(facts: CardFacts) -> str:
    if not facts.blocks_at_bits:
        return ""
    blocks = ", ".join(f"{n} at {kind}" for kind, n in facts.blocks_at_bits.items())
    return (
        f" Weights are rounded block by block ({blocks}): those of 8 and 4 bits are stored as integers with their "
        "scales, listed under `rounded_linears` and `rounded_stacks`, and multiplied out whenever they are used, which "
        "saves memory and no time."
    )


def _use(export_format: ExportFormat) -> list[str]:
    if export_format is ExportFormat.ONNX:
        return [
            "`.` is this folder. The graph reads `input_ids`, `attention_mask`, `position_ids` and "
            "`past_key_values.N.key` and `.value`, which are empty at first, and returns `logits` and the `present` "
            "keys and values. `generate.py` does that with numpy and onnxruntime:",
            "",
            "```",
            'python generate.py "The capital of France is"',
            "```",
        ]
    return ["`.` is this folder."]


def _limits(facts: CardFacts) -> list[str]:
    versions = " and ".join(f"{name} {version}" for name, version in facts.versions.items())
    lines = [
        "## Limits",
        "",
        f"- Opened once in a fresh process with {versions}: the logits of 128 tokens differ by at most "
        f"{facts.difference:.3g} from those of the model in memory, and the most probable next token is the same after "
        f"{facts.same_top:.1%} of them.",
        "- Perplexity on the texts above says little about other tasks and languages; measure what you need.",
    ]
    if facts.format is ExportFormat.FACTORED:
        lines += [
            "- `trust_remote_code=True` runs the two Python files of this folder; read them first.",
            "- No tensor parallel plan: the original one splits weights that are factors here.",
            "- Made to fit serving engines that run transformers' own code, not tried with any: attention is the "
            "original's, `AutoModel` is in the `auto_map`. vLLM reads parameters only, and skip formats store their "
            "column order as integer buffers.",
        ]
    return lines
