"""Generate text from token ids with a plain, compressed or progressive model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from jinja2 import TemplateError
from torch import nn
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from engine.decoding.progressive import ProgressiveModel
from engine.errors import InvalidSpecError, NumericalError
from engine.model.module import device_of, positions_of
from engine.specs import require_prompt
from engine.text.start import start_tokens, without_start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from engine.specs import GenerationSpec

Decoder = nn.Module | ProgressiveModel
"""What can generate: a model with transformers' ``generate``, or a progressive one."""


def encode_prompt(tokenizer: Any, text: str, *, chat: bool | None) -> list[int]:
    """Return the token ids of a prompt; it begins, once, with what the tokenizer begins every text with.

    Args:
        tokenizer: of the model.
        text: what the user wrote.
        chat: whether it goes through the model's chat template; ``None``: if the model has one.

    Raises:
        InvalidSpecError: the prompt is empty, or the model has no chat template, or one that refuses it.
    """
    require_prompt(text)
    has_template = tokenizer.chat_template is not None
    if chat and not has_template:
        raise InvalidSpecError("The model has no chat template; leave out --chat, or use a model trained for chat.")
    start = start_tokens(tokenizer)
    if chat is False or not has_template:
        return [*start, *tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]]
    messages = [{"role": "user", "content": text}]
    try:
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise InvalidSpecError(
            f"The model's chat template does not take a single question ({error}); leave the template out (--no-chat)."
        ) from error
    return [*start, *without_start(start, tokenizer(rendered, add_special_tokens=False, verbose=False)["input_ids"])]


def require_positions(module: nn.Module, n_prompt: int, max_new_tokens: int) -> None:
    """Check that a prompt and what follows fit the positions a model was built for.

    Raises:
        InvalidSpecError: they do not.
    """
    positions = positions_of(module)
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
    go_on: Callable[[], bool] | None = None,
) -> list[list[int]]:
    """Return the tokens that follow each prompt, up to and including the end-of-text token.

    Prompts of different length are padded on the left. What the model's own generation settings say about
    sampling, beams and penalties is not used.

    Args:
        decoder: the model.
        prompts: token ids; none is empty.
        spec: how tokens are chosen.
        streamer: of transformers; told every token of a single prompt.
        go_on: asked after every token; false ends all texts there.

    Raises:
        NumericalError: the model's numbers are not finite, so that no token can be chosen.
    """
    module = decoder.module if isinstance(decoder, ProgressiveModel) else decoder
    device = device_of(module)
    ends = end_tokens(module)
    pad = ends[0] if ends else 0
    longest = max(map(len, prompts))
    input_ids = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
    with torch.no_grad():
        output = decoder.generate(  # type: ignore[operator]
            input_ids,
            attention_mask=mask,
            max_new_tokens=spec.max_new_tokens,
            min_new_tokens=spec.min_new_tokens or None,
            pad_token_id=pad,
            streamer=streamer,
            logits_processor=LogitsProcessorList([_Choose(spec, device)]),
            stopping_criteria=StoppingCriteriaList([] if go_on is None else [_Until(go_on)]),
            **_NOTHING_ELSE,
        )
    return [_until_end(row, ends) for row in output[:, longest:].tolist()]


_NOTHING_ELSE: Final[Mapping[str, object]] = {
    "do_sample": False,
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "use_cache": True,
    "temperature": None,
    "top_k": None,
    "top_p": None,
}


class _Choose(LogitsProcessor):
    """Makes the largest score a draw at the temperature: Gumbel noise is added to the scaled scores.

    Unlike transformers' own sampling it draws from a generator of its own, so that a seed gives the same text
    whatever other threads draw.
    """

    def __init__(self, spec: GenerationSpec, device: torch.device) -> None:
        self._temperature = spec.temperature
        self._generator = torch.Generator(device).manual_seed(spec.seed)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if scores.isnan().any():
            raise NumericalError(
                f"The model's scores for token {input_ids.shape[1]} are not finite, so that none can be chosen; try "
                "larger ranks, or --dtype float32."
            )
        if self._temperature == 0:
            return scores
        noise = torch.empty_like(scores).exponential_(generator=self._generator).log()
        return scores / self._temperature - noise


class _Until(StoppingCriteria):
    """Stops when it is told so."""

    def __init__(self, go_on: Callable[[], bool]) -> None:
        self._go_on = go_on

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), not self._go_on(), dtype=torch.bool, device=input_ids.device)


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
