"""The coding steps of whole batches in training: all phases of a step at once.

The order is that of `vaecodec.model.quadtree`, for even numbers of rows and columns. Here what a step
codes is PHASES x N x rows/2 x columns/2 x M/4, and nothing is written in place: the gradients of a few
copies take a fraction of the time of those of views of one tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vaecodec.model.quadtree import PHASES, QUARTERS, STEP_XOR, STEPS


def to_phases(x: Tensor) -> Tensor:
    """N x rows x columns x C -> PHASES x N x rows/2 x columns/2 x C."""
    n, rows, columns, c = x.shape
    x = x.reshape(n, rows // 2, 2, columns // 2, 2, c)
    return x.permute(2, 4, 0, 1, 3, 5).reshape(PHASES, n, rows // 2, columns // 2, c)


def from_phases(x: Tensor) -> Tensor:
    """Inverse of `to_phases`."""
    _, n, rows, columns, c = x.shape
    x = x.unflatten(0, (2, 2)).permute(2, 3, 0, 4, 1, 5)
    return x.reshape(n, 2 * rows, 2 * columns, c)


def to_steps(x: Tensor) -> list[Tensor]:
    """Split N x rows x columns x M into what each step codes."""
    parts = [phase.chunk(QUARTERS, dim=-1) for phase in to_phases(x).unbind()]
    return [torch.stack([parts[phase][phase ^ xor] for phase in range(PHASES)]) for xor in STEP_XOR]


def from_steps(steps: Sequence[Tensor]) -> Tensor:
    """Inverse of `to_steps`."""
    parts = [step.unbind() for step in steps]
    step_of = {xor: step for step, xor in enumerate(STEP_XOR)}
    phases = [
        torch.cat([parts[step_of[phase ^ quarter]][phase] for quarter in range(QUARTERS)], dim=-1)
        for phase in range(PHASES)
    ]
    return from_phases(torch.stack(phases))


def quarters(x: Tensor, step: int, dim: int = -1) -> Tensor:
    """Take the quarter of dimension `dim` that `step` codes in each phase: PHASES x the quarter."""
    parts = x.chunk(QUARTERS, dim=dim)
    return torch.stack([parts[phase ^ STEP_XOR[step]] for phase in range(PHASES)])


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a linear function per phase. `x`: PHASES x N x h x w x A, `weight`: PHASES x B x A, `bias`:
    PHASES x B."""
    rows = x.flatten(1, 3)
    y = torch.bmm(rows, weight.mT)
    if bias is not None:
        y = y + bias[:, None]
    return y.unflatten(1, x.shape[1:4])


class Context:
    """What earlier steps tell later ones: sums of linear functions, phase by phase.

    `weight`: (STEPS - 1) * width x M, with `width` rows for each step but the first, in order.
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight.unflatten(0, (STEPS - 1, -1))
        self._sums: list[Tensor | None] = [None] * STEPS

    def see(self, values: Tensor, step: int) -> None:
        """Take in what `step` coded."""
        later = self._weight[step:]
        if not len(later):
            return
        told = linear(values, quarters(later.flatten(0, 1), step)).chunk(len(later), dim=-1)
        for k, part in enumerate(told, step + 1):
            before = self._sums[k]
            self._sums[k] = part if before is None else before + part

    def of(self, step: int) -> Tensor:
        """What `step` (not the first) is told by earlier ones: N x rows x columns x width."""
        total = self._sums[step]
        assert total is not None
        return from_phases(total)
