"""Open a causal language model from a folder and find what can be compressed in it.

Nothing here knows a model by name: decoder layers are the largest ``ModuleList``, projections are the
linear modules that one traced forward pass runs exactly once on every token, and an input group is
whatever that pass saw reading the same tensor.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from engine.errors import ModelError
from engine.types import InputGroup, Inventory, Projection, SkippedWeight

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIN_SIDE = 8
"""A matrix narrower than this (a gate with a few outputs) has no rank worth saving."""
_TRACE_LENGTH = 8


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model in evaluation mode, its tokenizer and what was found in it."""

    module: nn.Module
    tokenizer: Any
    inventory: Inventory


def open_model(
    folder: Path, *, dtype: str = "auto", device: str = "auto", trust_remote_code: bool = False
) -> OpenModel:
    """Load the model, tokenizer and inventory from a transformers ``folder``.

    Args:
        folder: config.json, safetensors and tokenizer files.
        dtype: ``auto`` (the checkpoint's own; float16 becomes float32 on a CPU) or a torch dtype's name.
        device: ``auto`` (CUDA, else MPS, else CPU) or a torch device.
        trust_remote_code: run Python code found in the folder.

    Raises:
        ModelError: the folder holds no model, a damaged one, or one that is not causal.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"The folder {folder} has no usable tokenizer ({_first_line(error)}); copy the model's tokenizer "
            "files (tokenizer.json, tokenizer_config.json) beside its weights."
        ) from error
    module = load_module(folder, dtype=dtype, device=device, trust_remote_code=trust_remote_code)
    return OpenModel(module, tokenizer, take_inventory(module))


def load_module(
    folder: Path, *, dtype: str = "auto", device: str = "auto", trust_remote_code: bool = False
) -> nn.Module:
    """Load only the network, in evaluation mode; see :func:`open_model`."""
    from safetensors import SafetensorError, safe_open
    from transformers import AutoModelForCausalLM

    if not (folder / "config.json").is_file():
        raise ModelError(
            f"The folder {folder} has no config.json; expected a transformers model folder with config.json, "
            "safetensors weights and tokenizer files."
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError(
            f"The folder {folder} has no .safetensors file; weights in other formats are not read, convert "
            "them with the model's save_pretrained()."
        )
    for path in weights:
        try:
            with safe_open(path, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"The weight file {path} is damaged or cut short ({_first_line(error)}); download or copy it again."
            ) from error
    target = resolve_device(device)
    try:
        module: nn.Module
        module, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (
        ValueError,
        OSError,
        KeyError,
        RuntimeError,
        ImportError,
        AttributeError,
        SafetensorError,
    ) as error:
        raise ModelError(
            f"transformers could not open {folder} as a causal language model ({_first_line(error)}); expected an "
            "architecture that AutoModelForCausalLM supports."
        ) from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"The weights in {folder} lack {len(missing)} tensors the architecture needs, for example {missing[0]}; "
            "expected the complete weights of a causal language model, not of an encoder or a base model."
        )
    if dtype == "auto" and target.type == "cpu" and dtype_of(module) is torch.float16:
        module = module.float()
    module = module.to(target).eval()
    _require_causal(module, folder)
    return module


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the type of a model's weights."""
    return next(module.parameters()).dtype


def device_of(module: nn.Module) -> torch.device:
    """Return where a model's weights are."""
    return next(module.parameters()).device


def resolve_device(device: str) -> torch.device:
    """Return the torch device for ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.

    Raises:
        ModelError: the device does not exist on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.zeros(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"The device {device!r} was asked for but this machine cannot use it ({_first_line(error)}); "
            "use auto, cpu, cuda or mps."
        ) from error


def decoder_layers(module: nn.Module) -> nn.ModuleList:
    """Return the list of decoder layers: the ``ModuleList`` that holds most of the parameters.

    Raises:
        ModelError: there is none.
    """
    lists = [m for m in module.modules() if isinstance(m, nn.ModuleList) and len(m) > 0]
    if not lists:
        raise ModelError(
            f"{type(module).__name__} has no list of decoder layers; expected a stack of transformer layers."
        )
    return max(lists, key=lambda m: sum(p.numel() for p in m.parameters()))


def weight_matrix(linear: nn.Module) -> torch.Tensor:
    """Return the weight of a linear module as (out_features, in_features), whichever way it is stored."""
    weight: torch.Tensor = linear.weight  # type: ignore[assignment]
    return weight.T if isinstance(linear, Conv1D) else weight


def take_inventory(module: nn.Module) -> Inventory:
    """Find projections, input groups and everything that stays as it is.

    Raises:
        ModelError: nothing in the model can be compressed.
    """
    layers = decoder_layers(module)
    names = {m: name for name, m in module.named_modules()}
    outside = {id(m.weight) for m in (module.get_input_embeddings(), module.get_output_embeddings()) if m is not None}  # type: ignore[operator]
    uses = Counter(id(m.weight) for m in module.modules() if isinstance(m, (nn.Linear, Conv1D)))
    calls = _trace(module, layers)
    groups: list[InputGroup] = []
    skipped: list[SkippedWeight] = []
    taken: set[int] = set()
    for index, layer in enumerate(layers):
        linears = [m for m in layer.modules() if isinstance(m, (nn.Linear, Conv1D))]
        kept: dict[tuple[object, ...], list[nn.Module]] = {}
        for linear in linears:
            reason = _reason_to_skip(linear, calls.get(linear, []), uses[id(linear.weight)])
            if reason:
                skipped.append(SkippedWeight(names[linear], linear.weight.numel(), reason))
            taken.add(id(linear.weight))
        order = {m: i for i, m in enumerate(calls)}
        wanted = [m for m in linears if not _reason_to_skip(m, calls.get(m, []), uses[id(m.weight)])]
        for linear in sorted(wanted, key=order.__getitem__):
            kept.setdefault(calls[linear][0].identity, []).append(linear)
        lasts = Counter(names[m].rpartition(".")[2] for m in wanted)
        for members in kept.values():
            groups.append(InputGroup(tuple(_projection(m, names[m], index, lasts) for m in members)))
    skipped += _other_weights(module, taken, outside)
    if not groups:
        raise ModelError(
            f"{type(module).__name__} has no linear weight that runs on every token; nothing can be compressed."
        )
    total = sum(p.numel() for p in module.parameters())
    return Inventory(type(module).__name__, len(layers), tuple(groups), tuple(skipped), total)


@dataclass(frozen=True, slots=True)
class _Call:
    identity: tuple[object, ...]
    n_tokens: int


def _trace(module: nn.Module, layers: nn.ModuleList) -> dict[nn.Module, list[_Call]]:
    """Run a few tokens and record which tensor each linear module reads, in running order."""
    calls: dict[nn.Module, list[_Call]] = {}
    alive: list[torch.Tensor] = []

    def record(linear: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        x = inputs[0]
        alive.append(x)
        identity = (x.data_ptr(), tuple(x.shape), x.stride(), x._version)
        calls.setdefault(linear, []).append(_Call(identity, x.numel() // x.shape[-1]))

    with contextlib.ExitStack() as hooks:
        for layer in layers:
            for linear in layer.modules():
                if isinstance(linear, (nn.Linear, Conv1D)):
                    hooks.callback(linear.register_forward_pre_hook(record).remove)
        with torch.no_grad():
            module(input_ids=_trace_tokens(module), use_cache=False)
    return calls


def _trace_tokens(module: nn.Module) -> torch.Tensor:
    rows: int = module.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    return (torch.arange(_TRACE_LENGTH, device=device_of(module)) * 7 % rows)[None]


def _require_causal(module: nn.Module, folder: Path) -> None:
    """Raise when a later token changes an earlier prediction."""
    tokens = _trace_tokens(module)
    half = tokens.shape[1] // 2
    changed = torch.cat([tokens[:, :half], tokens[:, half:].flip(1)], dim=1)
    with torch.no_grad():
        first = module(input_ids=tokens, use_cache=False).logits[0, :half].float()
        second = module(input_ids=changed, use_cache=False).logits[0, :half].float()
    # The same tokens give the same numbers up to rounding, which differs with the experts' batch sizes.
    rounding = 1e-4 if dtype_of(module) is torch.float32 else 2e-2
    if (first - second).abs().max() > rounding * first.abs().max():
        raise ModelError(
            f"The model in {folder} ({type(module).__name__}) looks at later tokens, so it is an encoder; "
            "expected a causal (text-generating) language model."
        )


def _reason_to_skip(linear: nn.Module, calls: list[_Call], uses: int) -> str:
    """Return why a linear module stays dense; empty if it does not."""
    weight: torch.Tensor = linear.weight  # type: ignore[assignment]
    reasons = (
        (not weight.is_floating_point(), f"stored as {weight.dtype}, not as floating-point numbers"),
        (uses > 1, "its weight is shared with another module"),
        (min(weight.shape) < MIN_SIDE, f"narrower than {MIN_SIDE}, nothing to save"),
        (not calls, "not reached by every token"),
        (len(calls) > 1, "runs several times in one pass"),
        (any(call.n_tokens != _TRACE_LENGTH for call in calls), "runs on some tokens only"),
    )
    return next((reason for applies, reason in reasons if applies), "")


def _projection(linear: nn.Module, name: str, layer: int, lasts: Counter[str]) -> Projection:
    out_features, in_features = weight_matrix(linear).shape
    *_, parent, last = name.split(".")
    kind = last.removesuffix("_proj") if lasts[last] == 1 else f"{parent}.{last}"
    return Projection(name, layer, kind, out_features, in_features, getattr(linear, "bias", None) is not None)


def _other_weights(module: nn.Module, taken: set[int], outside: set[int]) -> Iterator[SkippedWeight]:
    """List what is no linear module of a decoder layer: embeddings, head, experts, one-dimensional weights."""
    vectors = 0
    for name, parameter in module.named_parameters():
        if id(parameter) in taken:
            continue
        if id(parameter) in outside:
            yield SkippedWeight(name, parameter.numel(), "embedding or output head, never compressed")
        elif parameter.ndim >= 3:
            shape = " x ".join(map(str, parameter.shape))
            yield SkippedWeight(name, parameter.numel(), f"experts in one tensor of {shape}, left dense")
        elif parameter.ndim == 2:
            yield SkippedWeight(name, parameter.numel(), "not a linear module of a decoder layer")
        else:
            vectors += parameter.numel()
    if vectors:
        yield SkippedWeight("norms and biases", vectors, "vectors have no rank")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
