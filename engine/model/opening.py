"""Open a causal language model from a folder."""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from engine.errors import ModelError, RankScopeError, UnstreamableError, first_words
from engine.model.inventory import InventoryTaking, trace_tokens
from engine.model.module import dtype_of, embedding_rows, resolve_device
from engine.model.offload import LayerWeights, device_map
from engine.model.stepping import LayerSteps, OneStep
from engine.types import Inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from engine.model.stepping import Steps

# transformers imports torchao wherever it is installed, and that warns of every kernel that this machine lacks;
# accelerate warns of layers that are left in their files.
for _warns in ("torchao", "torch.utils._pytree", "accelerate.big_modeling"):
    logging.getLogger(_warns).setLevel(logging.ERROR)

_SUPPORTED = "expected the files of an architecture that AutoModelForCausalLM of transformers supports"
_OWN_CONFIG = "expected the config.json that was saved with the weights"
_MOST_LABELS = 1_000_000


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model in evaluation mode, its tokenizer and what was found in it.

    Attributes:
        module: the network.
        tokenizer: of transformers.
        inventory: of the network.
        weights: of its decoder layers, where they stay in the files until a layer runs.
    """

    module: nn.Module
    tokenizer: Any
    inventory: Inventory
    weights: LayerWeights | None = None

    def holding(self, layer: int) -> contextlib.AbstractContextManager[None]:
        """Return the context in which the weights of a decoder layer can be read."""
        return contextlib.nullcontext() if self.weights is None else self.weights.held(layer)


def open_model(
    folder: Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
    offload: Path | None = None,
) -> OpenModel:
    """Load the model, tokenizer and inventory from a transformers ``folder``.

    Args:
        folder: config.json, safetensors and tokenizer files.
        dtype: ``auto`` (the checkpoint's own, but float32 for float16, whose range gradients and sums leave) or a
            torch dtype's name.
        device: ``auto`` (CUDA, else MPS, else CPU) or a torch device.
        trust_remote_code: run Python code found in the folder.
        offload: leave the decoder layers in the files until they run; a folder for weights that transformers has to
            write in another form for that (experts that it merges).

    Raises:
        ModelError: the folder holds no model, a damaged one, or one that is not causal.
    """
    tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
    module = _load(folder, dtype, device, trust_remote_code=trust_remote_code, offload=offload)
    weights = None if offload is None else LayerWeights(module, resolve_device(device))
    _require_own_tokenizer(tokenizer, module, folder)
    return OpenModel(module, tokenizer, _looked_through(module, weights, folder), weights)


def type_for_passes(compute_dtype: str) -> str:
    """Return the type a model is opened in for passes in ``compute_dtype``: autocast never raises that of weights."""
    return "float32" if compute_dtype == "float32" else "auto"


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Load only the tokenizer.

    Raises:
        ModelError: the folder has none that can be used, or no usable config.json, which says how to open it.
    """
    from transformers import AutoTokenizer

    _read_config(folder, trust_remote_code=trust_remote_code)
    with _sentences(
        f"The folder {folder} has no usable tokenizer",
        "copy the model's tokenizer files (tokenizer.json, tokenizer_config.json) beside its weights",
    ):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
        # How it was opened is written with it otherwise, so that an export made offline is another model.
        tokenizer.init_kwargs.pop("local_files_only", None)
        # What is asked of it first, so that one that cannot answer is refused here.
        _ = tokenizer("a"), tokenizer.vocab_size
    return tokenizer


def load_module(
    folder: Path, *, dtype: str = "auto", device: str = "auto", trust_remote_code: bool = False
) -> nn.Module:
    """Load only the network, in evaluation mode; see :func:`open_model`."""
    module = _load(folder, dtype, device, trust_remote_code=trust_remote_code)
    tokens = trace_tokens(module)
    with _reading_a_text(folder), torch.no_grad():
        logits = [module(input_ids=batch, use_cache=False).logits for batch in (tokens, _other_end(tokens))]
    _require_causal(module, folder, *logits)
    return module


def _load(folder: Path, dtype: str, device: str, *, trust_remote_code: bool, offload: Path | None = None) -> nn.Module:
    from transformers import AutoModelForCausalLM

    target = resolve_device(device)
    config = _read_config(folder, trust_remote_code=trust_remote_code)
    with _sentences(f"transformers could not open {folder} as a causal language model", _SUPPORTED):
        skeleton = _require_weights(folder, config, trust_remote_code=trust_remote_code)
        placed = (
            {} if offload is None else {"device_map": device_map(skeleton, str(target)), "offload_folder": str(offload)}
        )
        module: nn.Module
        module, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **placed,
        )
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"The weights in {folder} lack {len(missing)} tensors the architecture needs, for example {missing[0]}; "
            "expected the complete weights of a causal language model, not of an encoder or a base model."
        )
    if info["mismatched_keys"]:
        name, given, expected = min(info["mismatched_keys"])
        raise ModelError(
            f"The weights in {folder} have other shapes than its config.json names: {name} is {tuple(given)}, not "
            f"{tuple(expected)}; {_OWN_CONFIG}."
        )
    if dtype == "auto" and dtype_of(module) is torch.float16:
        module = module.float()
    return (module if offload else module.to(target)).eval()


@contextlib.contextmanager
def _sentences(what: str, then: str) -> Iterator[None]:
    """Say in one sentence what a model's files made transformers, safetensors or their own code raise.

    Args:
        what: could not be done.
        then: ends the sentence.

    Raises:
        ModelError: anything was raised that is neither a sentence already nor a lack of memory.
    """
    try:
        yield
    except (RankScopeError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # files of other people make their readers fail in any way
        raise ModelError(f"{what} ({first_words(error)}); {then}.") from error


def _read_config(folder: Path, *, trust_remote_code: bool) -> Any:
    """Return the configuration, which is read first whatever is opened."""
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise ModelError(
            f"The folder {folder} has no config.json; expected a transformers model folder with config.json, "
            "safetensors weights and tokenizer files."
        )
    with _sentences(f"The config.json in {folder} cannot be used", _SUPPORTED):
        _require_few_labels(json.loads((folder / "config.json").read_bytes()))
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)


def _require_few_labels(config: object) -> None:
    """Raise where transformers would make a table of labels, which no language model has, until memory is full."""
    n_labels = config.get("num_labels", 0) if isinstance(config, dict) else 0
    if isinstance(n_labels, int) and n_labels > _MOST_LABELS:
        raise ValueError(f"num_labels is {n_labels:.3g}")
    for value in config.values() if isinstance(config, dict) else ():
        _require_few_labels(value)


def _require_weights(folder: Path, config: Any, *, trust_remote_code: bool) -> nn.Module:
    """Return the network on the meta device; raise for a folder without weights, and for one with far too few of them.

    transformers builds what config.json names and fills it with random numbers before it says what is missing.
    """
    from safetensors import SafetensorError, safe_open
    from transformers import AutoModelForCausalLM

    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError(
            f"The folder {folder} has no .safetensors file; weights in other formats are not read, convert "
            "them with the model's save_pretrained()."
        )
    n_tensors = 0
    for path in weights:
        try:
            with safe_open(path, framework="pt") as file:
                n_tensors += len(file.keys())
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"The weight file {path} is damaged or cut short ({first_words(error)}); download or copy it again."
            ) from error
    n_layers = getattr(config.get_text_config(), "num_hidden_layers", None) or 0
    if n_layers > n_tensors:
        raise ModelError(
            f"The config.json in {folder} names {n_layers:,} layers, but the weights are {n_tensors:,} tensors; "
            f"{_OWN_CONFIG}."
        )
    with torch.device("meta"):
        skeleton: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    named = skeleton.num_parameters()
    n_bits = 8 * sum(path.stat().st_size for path in weights)
    if named > n_bits:
        raise ModelError(
            f"The config.json in {folder} names {named:,} parameters, but the weights have {n_bits:,} bits; "
            f"{_OWN_CONFIG}."
        )
    return skeleton  # type: ignore[no-any-return]


def _require_own_tokenizer(tokenizer: Any, module: nn.Module, folder: Path) -> None:
    """Raise when the tokenizer has more tokens than the model has embeddings; what was added to it may lie beyond."""
    rows = embedding_rows(module)
    if tokenizer.vocab_size > rows:
        raise ModelError(
            f"The tokenizer in {folder} has {tokenizer.vocab_size:,} tokens, but the model embeds {rows:,}; copy the "
            "model's own tokenizer files (tokenizer.json, tokenizer_config.json) beside its weights."
        )


def _looked_through(module: nn.Module, weights: LayerWeights | None, folder: Path) -> Inventory:
    """Return the inventory of a causal model, whose layers are read from their files once where they can run alone."""
    if weights is not None:
        with contextlib.suppress(UnstreamableError):
            return _inventory_in(LayerSteps(module), weights.held, module, folder)
    return _inventory_in(OneStep(module), lambda _: contextlib.nullcontext(), module, folder)


def _inventory_in(
    steps: Steps, holding: Callable[[int], contextlib.AbstractContextManager[None]], module: nn.Module, folder: Path
) -> Inventory:
    tokens = trace_tokens(module)
    taking, other, states = InventoryTaking(module, steps, holding), _other_end(tokens), list[torch.Tensor]()
    for step in range(len(steps.parts)):
        with holding(step):
            with _reading_a_text(folder), torch.no_grad():
                taking.trace(step)
                states = steps.run(step, other, states)
                is_last = step + 1 == len(steps.parts)
                logits = (steps.logits(tokens, taking.states), steps.logits(other, states)) if is_last else ()
            if logits:
                _require_causal(module, folder, *logits)
            taking.group(step)
    return taking.finished()


def _reading_a_text(folder: Path) -> contextlib.AbstractContextManager[None]:
    return _sentences(f"The model in {folder} cannot read a text", _SUPPORTED)


def _other_end(tokens: torch.Tensor) -> torch.Tensor:
    """Return (1, n) ids of which the first half is the same."""
    half = tokens.shape[1] // 2
    return torch.cat([tokens[:, :half], tokens[:, half:].flip(1)], dim=1)


def _require_causal(module: nn.Module, folder: Path, first: torch.Tensor, second: torch.Tensor) -> None:
    """Raise when a later token changes an earlier prediction; logits (1, n, vocabulary) are of :func:`_other_end`."""
    first, second = (logits[0, : logits.shape[1] // 2].float() for logits in (first, second))
    # The same tokens give the same numbers up to rounding, which differs with the experts' batch sizes.
    rounding = 1e-4 if dtype_of(module) is torch.float32 else 2e-2
    if (first - second).abs().max() > rounding * first.abs().max():
        raise ModelError(
            f"The model in {folder} ({type(module).__name__}) looks at later tokens, so it is an encoder; "
            "expected a causal (text-generating) language model."
        )
