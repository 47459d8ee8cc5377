"""Experts whose weights are stacks, run as modules: a token's row is multiplied with the matrix of its own expert.

An exported model carries this file as it is: it imports nothing but torch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

_ALIGNED_BYTES = 16
"""Rows of what a grouped product reads begin at multiples of this."""


class Routing(NamedTuple):
    """Which rows an expert gets: those of the first expert come first.

    Attributes:
        tokens: (rows,) the token that each row is of.
        ends: (experts,) where the rows of each expert end.
    """

    tokens: torch.Tensor
    ends: torch.Tensor


class ExpertStack(nn.Module):
    """y = W_e x for the rows of every expert e.

    Args:
        weight: (experts, out, in); not copied.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight, requires_grad=False)

    @property
    def shape(self) -> torch.Size:
        """(experts, out, in)."""
        return self.weight.shape

    def forward(self, rows: torch.Tensor, routing: Routing) -> torch.Tensor:
        """Map (rows, in) to (rows, out)."""
        return grouped_product(rows, self.weight, routing.ends)


class FactoredStack(nn.Module):
    """y = left_e right_e x for the rows of every expert e, all of one rank.

    Args:
        left: (experts, out, r).
        right: (experts, r, in).
    """

    def __init__(self, left: torch.Tensor, right: torch.Tensor) -> None:
        super().__init__()
        self.right = ExpertStack(right)
        self.left = ExpertStack(left)

    def forward(self, rows: torch.Tensor, routing: Routing) -> torch.Tensor:
        """Map (rows, in) to (rows, out)."""
        y: torch.Tensor = self.left(self.right(rows, routing), routing)
        return y


class StackedExperts(nn.Module):
    """The experts of one layer: gate and up in one stack, and down; every token is given to a few of them.

    Args:
        gate_up: (experts, 2 neurons, hidden), the rows of gate before those of up.
        down: (experts, hidden, neurons).
        activation: of what gate says.
    """

    def __init__(self, gate_up: torch.Tensor, down: torch.Tensor, activation: nn.Module) -> None:
        super().__init__()
        self.num_experts = len(down)
        self.gate_up_proj: nn.Module = ExpertStack(gate_up)
        self.down_proj: nn.Module = ExpertStack(down)
        self.act_fn = activation

    def forward(self, hidden: torch.Tensor, experts: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Map (tokens, hidden) to the same, given the experts (tokens, k) of each and their shares (tokens, k)."""
        per_token = experts.shape[1]
        chosen, order = experts.flatten().sort(stable=True)
        ends = torch.searchsorted(chosen, torch.arange(self.num_experts, device=chosen.device), right=True)
        routing = Routing(order // per_token, ends.to(torch.int32))
        gate, up = self.gate_up_proj(hidden[routing.tokens], routing).chunk(2, dim=-1)
        rows = self.down_proj(self.act_fn(gate) * up, routing) * shares.flatten()[order, None]
        by_token = torch.empty_like(rows).index_copy(0, order, rows).view(*experts.shape, -1)
        return by_token.sum(1).to(hidden.dtype)


def grouped_product(rows: torch.Tensor, weight: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Return the products of rows (n, in), those of the first expert first, with weights (experts, out, in)."""
    rows, whole = rows.to(weight.dtype), _ALIGNED_BYTES // weight.itemsize
    out, columns = (-side % whole for side in weight.shape[1:])
    fits = weight.is_contiguous() and not out + columns
    if _is_grouped(weight.device) and (fits or weight.is_cuda):
        if not fits:  # zeros beside what is read change nothing
            rows, weight = nn.functional.pad(rows, (0, columns)), nn.functional.pad(weight, (0, columns, 0, out))
        products: torch.Tensor = nn.functional.grouped_mm(rows, weight.contiguous().mT, offs=ends)
        return products.narrow(1, 0, weight.shape[1] - out)
    sizes = ends.diff(prepend=ends.new_zeros(1)).tolist()
    with torch.autocast(rows.device.type, enabled=False):
        return torch.cat([part @ weight[e].T for e, part in enumerate(rows.split(sizes)) if len(part)])


def _is_grouped(device: torch.device) -> bool:
    """Whether torch multiplies with all experts in one operation."""
    if not hasattr(nn.functional, "grouped_mm"):
        return False
    return device.type == "cpu" or (device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0))
