"""The groups of projections that a model's files suggest before it is opened; free of torch.

They are guessed from names and shapes: of the matrices beside each other in a layer, one writes to the hidden state,
and the others read it. Experts are stacks, whether their matrices are stored one by one or in tensors of three
dimensions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from engine.types import Experts, InputGroup, Projection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.model.headers import ModelHeader

_PLACE: Final = re.compile(r"(?:^|\.)(\d+)\.(.*)$")
_EXPERT: Final = re.compile(r"experts\.\d+$")
_LEAST_SIDE: Final = 8


def guess_groups(header: ModelHeader) -> tuple[list[InputGroup], frozenset[str]]:
    """Return the groups that an inventory would probably find, and the names of what reads the neurons of an MLP."""
    groups, downs = [], set()
    experts: dict[tuple[int, str], list[tuple[Projection, Projection]]] = defaultdict(list)
    for (layer, parent), members in _beside(header).items():
        writers = [p for p in members if p.out_features == header.width and len(members) > 1]
        writer = max(writers, key=lambda p: (p.in_features != header.width, p.in_features), default=None)
        readers = tuple(p for p in members if p is not writer)
        if writer is not None and (found := _EXPERT.search(parent)):  # whose gate and up become one matrix
            fused = replace(readers[0], out_features=sum(p.out_features for p in readers))
            experts[layer, parent[: found.start()]].append((fused, writer))
            continue
        groups.append(InputGroup(readers))
        if writer is not None:
            groups.append(InputGroup((writer,)))
            if writer.in_features > header.width:
                downs.add(writer.name)
    stacks = [(len(of_layer), *of_layer[0]) for of_layer in experts.values()]
    for count, *both in (*stacks, *_stored_stacks(header)):
        for one, share_input in zip(both, (True, False), strict=True):
            role = Experts(count, header.experts_per_token or count, share_input)
            groups.append(InputGroup((replace(one, experts=role),)))
    return groups, frozenset(downs)


def _beside(header: ModelHeader) -> dict[tuple[int, str], list[Projection]]:
    """Return the matrices that are wide enough, by layer and by what they are parts of."""
    beside: dict[tuple[int, str], list[Projection]] = defaultdict(list)
    for name, (out_features, in_features) in header.matrices.items():
        found = _PLACE.search(name)
        if found is None or min(out_features, in_features) < _LEAST_SIDE:
            continue
        parent, _, kind = found[2].removesuffix(".weight").rpartition(".")
        projection = Projection(name, int(found[1]), kind, out_features, in_features)
        beside[int(found[1]), parent or kind.split("_")[0]].append(projection)
    return beside


def _stored_stacks(header: ModelHeader) -> Iterator[tuple[int, Projection, Projection]]:
    """Yield how many experts a layer has, and one's matrix of gate and up, and of down, where each kind is a tensor."""
    of_layers: dict[int, list[tuple[int, Projection]]] = defaultdict(list)
    for name, (count, out_features, in_features) in header.stacks.items():
        if (found := _PLACE.search(name)) is not None and min(out_features, in_features) >= _LEAST_SIDE:
            one = Projection(name, int(found[1]), found[2], out_features, in_features)
            of_layers[one.layer].append((count, one))
    for of_layer in of_layers.values():
        for place, (count, down) in enumerate(of_layer):
            others = of_layer[:place] + of_layer[place + 1 :]
            readers = [one for n, one in others if n == count and one.in_features == down.out_features == header.width]
            if readers and sum(one.out_features for one in readers) == 2 * down.in_features:
                yield count, replace(readers[0], out_features=2 * down.in_features), down
                break
