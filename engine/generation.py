"""Generate text from token ids with a plain, compressed or progressive model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from engine.decoding import ProgressiveModel
from engine.errors import InvalidSpecError, NumericalError
from engine.model import device_of

if TYPE_CHECKING:
    from collections.abc import Sequence

Decoder = nn.Module | ProgressiveModel
"""What can generate: a model with transformers' ``generate``, or a progressive one."""


@dataclass(frozen=True, slots=True)
class GenerationSpec:
    """How tokens are chosen.

    Attributes:
        max_new_tokens: most tokens generated for a prompt; the end-of-text token counts.
        temperature: 0 takes the likeliest token; above, tokens are drawn from the whole distribution
            sharpened (below 1) or flattened by it.
        seed: of the draws.
    """

    max_new_tokens: int = 100
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.max_new_tokens < 1:
            raise InvalidSpecError(f"{self.max_new_tokens} new tokens were asked for; expected at least 1.")
        if not 0 <= self.temperature <= 100:
            raise InvalidSpecError(
                f"The temperature was given as {self.temperature}; expected 0 for the likeliest token, or a number "
                "up to 100, for example 0.7."
            )


def encode_prompt(tokenizer: Any, text: str, *, chat: bool | None) -> list[int]:
    """Return the token ids of a prompt.

    Args:
        tokenizer: of the model.
        text: what the user wrote.
        chat: whether it goes through the model's chat template; ``None``: if the model has one.

    Raises:
        InvalidSpecError: the prompt is empty, or a chat template is asked for and the model has none.
    """
    if not text.strip():
        raise InvalidSpecError("The prompt is empty; give some text to go on from.")
    has_template = tokenizer.chat_template is not None
    if chat and not has_template:
        raise InvalidSpecError("The model has no chat template; leave out --chat, or use a model trained for chat.")
    if chat is False or not has_template:
        return list(tokenizer(text)["input_ids"])
    messages = [{"role": "user", "content": text}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])


def require_positions(module: nn.Module, n_prompt: int, max_new_tokens: int) -> None:
    """Check that a prompt and what follows fit the positions a model was built for.

    Raises:
        InvalidSpecError: they do not.
    """
    positions = getattr(module.config.get_text_config(), "max_position_embeddings", None)  # type: ignore[operator,union-attr]
    if positions is not None and n_prompt + max_new_tokens > positions:
        raise InvalidSpecError(
            f"The prompt has {n_prompt:,} tokens and {max_new_tokens:,} new ones were asked for, but the model has "
            f"{positions:,} positions; shorten the prompt or ask for fewer new tokens."
        )


def generate_tokens(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    spec: GenerationSpec,
    streamer: object | None = None,
) -> list[list[int]]:
    """Return the tokens that follow each prompt, up to and including the end-of-text token.

    Prompts of different length are padded on the left. Only the settings of ``spec`` decide; what the model's
    own generation settings say about sampling is not used.

    Args:
        decoder: the model.
        prompts: token ids; none is empty.
        spec: how tokens are chosen.
        streamer: of transformers; told every token of a single prompt.

    Raises:
        NumericalError: the model's probabilities are not finite, so that nothing can be drawn.
    """
    module = decoder.module if isinstance(decoder, ProgressiveModel) else decoder
    device = device_of(module)
    ends = end_tokens(module)
    pad = ends[0] if ends else 0
    longest = max(map(len, prompts))
    input_ids = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
    sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
    if spec.temperature > 0:
        sampling = {"do_sample": True, "temperature": spec.temperature, "top_k": 0, "top_p": 1.0}
    on = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(on):
        torch.manual_seed(spec.seed)
        try:
            output = decoder.generate(  # type: ignore[operator]
                input_ids,
                attention_mask=mask,
                max_new_tokens=spec.max_new_tokens,
                pad_token_id=pad,
                streamer=streamer,
                **sampling,
            )
        except RuntimeError as error:
            if "probability tensor contains" not in str(error):
                raise
            raise NumericalError(
                "The model's probabilities are not finite, so that no token can be drawn; try --dtype float32 or "
                "larger ranks."
            ) from error
    return [_until_end(row, ends) for row in output[:, longest:].tolist()]


def end_tokens(module: nn.Module) -> list[int]:
    """Return the ids of the tokens that end a text."""
    ends: int | list[int] | None = module.generation_config.eos_token_id  # type: ignore[union-attr, assignment]
    if ends is None:
        return []
    return [ends] if isinstance(ends, int) else list(ends)


def _until_end(tokens: Sequence[int], ends: Sequence[int]) -> list[int]:
    for index, token in enumerate(tokens):
        if token in ends:
            return list(tokens[: index + 1])
    return list(tokens)
