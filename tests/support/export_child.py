"""Opens exports as a user does, in an interpreter that cannot import RankScope, and writes down what they answer.

Run as ``python -I export_child.py JOBS``: JOBS is a JSON list of objects with ``folder``, ``inputs`` (safetensors with
``tokens`` (n, length)), ``out`` and ``trust``.
"""

import copy
import json
import sys

OURS = {"app", "cache", "engine", "tests"}


class NoRankScope:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in OURS:
            raise ModuleNotFoundError(f"An export must not import {name}.", name=name)


sys.meta_path.insert(0, NoRankScope)

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer  # noqa: E402


def inner_calls(model, tokens):
    """Return how often every inner factor runs in one pass: {1} if the shared ones are shared."""
    counts = {}
    hooks = [
        module.register_forward_hook(lambda m, *_: counts.update({m: counts.get(m, 0) + 1}))
        for module in model.modules()
        if type(module).__name__ in {"LowRankInner", "SkipInner"}
    ]
    with torch.no_grad():
        model(input_ids=tokens, use_cache=False)
    for hook in hooks:
        hook.remove()
    return sorted(set(counts.values()))


def gradient(model, tokens):
    weight = model.get_input_embeddings().weight.requires_grad_(True)
    weight.grad = None
    model(input_ids=tokens, labels=tokens, use_cache=False).loss.backward()
    return weight.grad.clone()


@torch.no_grad()
def logits(model, tokens, **more):
    return model(input_ids=tokens, use_cache=False, **more).logits.float()


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    return model


def look(folder, inputs, out, trust):
    tokens = load_file(inputs)["tokens"]
    options = {"trust_remote_code": True} if trust else {}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", **options)
    found = {"logits": logits(model, tokens)}
    with torch.no_grad():
        base = AutoModel.from_pretrained(folder, dtype="auto", **options).eval()
        found["hidden"] = base(input_ids=tokens, use_cache=False).last_hidden_state.float()
    prompt, mask = tokens[:2, :6], torch.ones(2, 6, dtype=torch.long)
    found["generated"] = model.generate(
        prompt, attention_mask=mask, max_new_tokens=6, min_new_tokens=6, do_sample=False
    )
    short = torch.ones_like(tokens)
    short[0, 7:] = 0  # the first sequence is shorter and padded
    found["padded"] = logits(model, tokens, attention_mask=short)[0, :7].contiguous()
    found["alone"] = logits(model, tokens[:1, :7])[0].contiguous()
    found["placed"] = logits(AutoModelForCausalLM.from_pretrained(folder, device_map="cpu", **options), tokens)
    found["automatic"] = logits(AutoModelForCausalLM.from_pretrained(folder, device_map="auto", **options), tokens)
    half = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **options)
    found["half"] = logits(half, tokens)
    found["copied"] = logits(copy.deepcopy(model), tokens)
    again = f"{folder}-again"
    model.save_pretrained(again)
    AutoTokenizer.from_pretrained(folder).save_pretrained(again)
    found["again"] = logits(AutoModelForCausalLM.from_pretrained(again, dtype="auto", **options), tokens)
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    facts = {
        "half_dtypes": sorted({str(p.dtype) for p in half.parameters()}),
        "dtype": str(model.dtype),
        "tied": head.data_ptr() == embedding.data_ptr(),
        "inner_calls": inner_calls(model, tokens),
        "model_type": AutoConfig.from_pretrained(folder, **options).model_type,
        "tokens": AutoTokenizer.from_pretrained(folder)("The rank")["input_ids"],
        "attention_backend": type(base)._supports_attention_backend,
        "tp_plan": bool(model.supports_tp_plan),
    }
    if trust:
        try:
            AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
            facts["opens_without_its_code"] = True
        except ValueError:
            facts["opens_without_its_code"] = False
    without_dropout(model.train())
    found["gradient"] = gradient(model, tokens).float()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    found["checkpointed"] = gradient(model, tokens).float()
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, out, {"facts": json.dumps(facts)})


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as jobs:  # noqa: PTH123
        for job in json.load(jobs):
            look(**job)
