"""Open a causal language model from a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from engine.errors import ModelError
from engine.model.inventory import take_inventory, trace_tokens
from engine.model.module import dtype_of, first_line, resolve_device
from engine.types import Inventory

if TYPE_CHECKING:
    from pathlib import Path


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
        dtype: ``auto`` (the checkpoint's own, but float32 for float16, whose range gradients and sums leave) or a
            torch dtype's name.
        device: ``auto`` (CUDA, else MPS, else CPU) or a torch device.
        trust_remote_code: run Python code found in the folder.

    Raises:
        ModelError: the folder holds no model, a damaged one, or one that is not causal.
    """
    tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
    module = load_module(folder, dtype=dtype, device=device, trust_remote_code=trust_remote_code)
    return OpenModel(module, tokenizer, take_inventory(module))


def type_for_passes(compute_dtype: str) -> str:
    """Return the type a model is opened in for passes in ``compute_dtype``: autocast never raises that of weights."""
    return "float32" if compute_dtype == "float32" else "auto"


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Load only the tokenizer.

    Raises:
        ModelError: the folder has none that can be used.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"The folder {folder} has no usable tokenizer ({first_line(error)}); copy the model's tokenizer "
            "files (tokenizer.json, tokenizer_config.json) beside its weights."
        ) from error


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
                f"The weight file {path} is damaged or cut short ({first_line(error)}); download or copy it again."
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
            f"transformers could not open {folder} as a causal language model ({first_line(error)}); expected an "
            "architecture that AutoModelForCausalLM supports."
        ) from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"The weights in {folder} lack {len(missing)} tensors the architecture needs, for example {missing[0]}; "
            "expected the complete weights of a causal language model, not of an encoder or a base model."
        )
    if dtype == "auto" and dtype_of(module) is torch.float16:
        module = module.float()
    module = module.to(target).eval()
    _require_causal(module, folder)
    return module


def _require_causal(module: nn.Module, folder: Path) -> None:
    """Raise when a later token changes an earlier prediction."""
    tokens = trace_tokens(module)
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
