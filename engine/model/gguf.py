"""Convert a GGUF file once into a transformers folder of float32 safetensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import ModelError, first_words

if TYPE_CHECKING:
    from pathlib import Path

    from engine.progress import Report


def convert_gguf(gguf: Path, folder: Path, report: Report) -> None:
    """Write a GGUF model and its tokenizer as a transformers folder with float32 safetensors.

    The weights keep the values the quantised file stands for. A model opened from a GGUF file refuses to be
    saved, so that its weights are handed to a new one without the quantisation entry.

    Raises:
        ModelError: transformers cannot read the file (damaged, or an architecture it has no reader for), or
            the file lacks weights, which transformers would replace by random ones.
    """
    import copy

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    report("convert-gguf", 0.0, f"Opening {gguf.name}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        report("convert-gguf", 0.2, f"Reading the weights of {gguf.name}")
        opened, loading = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # a damaged file makes its reader fail in any way
        raise ModelError(
            f"The GGUF file {gguf.name} could not be opened ({first_words(error)}); expected an undamaged causal "
            "language model of an architecture transformers reads from GGUF, such as llama, qwen2 or gemma2."
        ) from error
    if missing := sorted(loading["missing_keys"]):
        raise ModelError(
            f"The GGUF file {gguf.name} lacks {len(missing)} tensors the architecture needs, for example "
            f"{missing[0]}; expected the complete weights of a causal language model."
        )
    report("convert-gguf", 0.8, "Writing safetensors")
    config = copy.deepcopy(opened.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        plain = type(opened)(config)
    plain.load_state_dict(opened.state_dict(), strict=True, assign=True)
    plain.tie_weights()
    plain.generation_config = copy.deepcopy(opened.generation_config)
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    report("convert-gguf", 1.0, "Converted")
