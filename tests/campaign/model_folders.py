"""Malformed model folders: every field of every small file wrong in many ways, tensors cut, renamed and reshaped."""

from __future__ import annotations

import json
import shutil
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from tests.campaign.cases import Case
from tests.campaign.ground import ANALYSE
from tests.campaign.mutating import DOCUMENTS, PUTS, change_file, mutations, put_instead, wrong_contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.campaign.ground import Ground
    from tests.campaign.mutating import Change

WORDS = ("analyse", "wrong-model", *ANALYSE[2:])
TENSORS = "model.safetensors"
TOKENIZER = "tokenizer.json"
MORE_CONFIG = {
    "auto_map": {"AutoConfig": "x.X"},
    "quantization_config": {"quant_method": "gptq"},
    "rope_scaling": {"type": "x"},
    "torch_dtype": "float7",
    "tie_word_embeddings": True,
    "is_encoder_decoder": True,
    "num_labels": 10**30,
    "layer_types": ["x"],
    "sliding_window": 0,
    "use_cache": "no",
    "pruned_heads": {"0": [0]},
    "architectures": ["BertModel"],
}

MORE_FILES = ("pytorch_model.bin", "x.gguf", "model.safetensors.index.json", "modeling_x.py", "adapter_config.json")
FIELDS = (("dtype", "F64"), ("dtype", "I8"), ("shape", [1]), ("shape", [-1, 1]), ("data_offsets", [0, 2**60]))
NUMBERS = {"NaN": b"\x00\x00\xc0\x7f", "inf": b"\x00\x00\x80\x7f", "zeros": bytes(4), "1e38": b"\x99v\x96~"}


def cases(ground: Ground) -> Iterator[Case]:
    """Yield every malformed folder, analysed."""
    folder = ground.shared / "model"
    for path in sorted(folder.iterdir()):
        for what, change in wrong_contents().items():
            yield _case(f"{path.name} {what}", partial(change_file, change=change), path.name)
        for what, put in PUTS.items():
            yield _case(f"{path.name} {what}", partial(put_instead, put=put), path.name)
        if path.suffix == ".json":
            document = json.loads(path.read_bytes())
            if path.name == TOKENIZER:
                document["model"] |= {"vocab": {}, "merges": []}  # too many to change each
            for what, change in mutations(document).items():
                yield _case(f"{path.name} {what}", partial(change_file, change=change), path.name)
    config = json.loads((folder / "config.json").read_bytes())
    for name, value in MORE_CONFIG.items():
        content = json.dumps({**config, name: value}).encode()
        yield _case(f"config.json with {name} {value!r}", partial(_write, content=content), "config.json")
    for name, (what, content) in product(MORE_FILES, DOCUMENTS.items()):
        yield _case(f"{name} added, {what}", partial(_write, content=content), name)
    for what, change in _tensors((folder / TENSORS).read_bytes()):
        yield _case(f"{TENSORS} {what}", partial(change_file, change=change), TENSORS)


def _case(name: str, change: Callable[[Path], object], file: str) -> Case:
    def prepare(ground: Ground) -> None:
        wrong = ground.folder / "wrong-model"
        shutil.copytree(ground.shared / "model", wrong)
        change(wrong / file)

    return Case(f"model: {name}", WORDS, prepare)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _tensors(content: bytes) -> Iterator[tuple[str, Change]]:
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    names = [name for name in header if name != "__metadata__"]

    def with_header(changed: dict[str, object]) -> Change:
        encoded = json.dumps(changed).encode()
        return lambda whole: len(encoded).to_bytes(8, "little") + encoded + whole[8 + length :]

    for name in (names[0], names[-1]):
        for field, value in FIELDS:
            yield f"{name} {field} {value}", with_header({**header, name: {**header[name], field: value}})
        yield f"{name} renamed", with_header({("x" if key == name else key): one for key, one in header.items()})
        yield f"{name} left out", with_header({key: one for key, one in header.items() if key != name})
    yield "header of 2^60 bytes", lambda whole: (2**60).to_bytes(8, "little") + whole[8:]
    for what, bits in NUMBERS.items():
        yield f"all {what}", lambda whole, bits=bits: whole[: 8 + length] + bits * (len(whole[8 + length :]) // 4)
