"""The order in which a group's latents are coded: four steps over spatial phase and channel quarter.

A quadtree (DCVC-RT, Jia et al., 2025): a position's phase is 2 * (row mod 2) + (column mod 2), and step
k codes channel quarter `phase XOR STEP_XOR[k]` at every position, conditioned on all earlier steps.

What a step codes is N x P x M/4, where P covers all positions: those of phase 0 in raster order, then
those of phases 1 to 3. Everything else is N x rows x columns x channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

STEPS = 4
PHASES = 4
#: Of the channels. At every position each step codes another one.
QUARTERS = 4
#: Diagonal neighbours first: after two steps, every quarter is known on a checkerboard of positions.
STEP_XOR = (0, 3, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Place:
    """The positions and channels that a step codes in one phase."""

    phase: int
    quarter: int

    def positions(self, x: Tensor) -> Tensor:
        """View of the phase's positions in N x rows x columns x C."""
        return x[:, self.phase // 2 :: 2, self.phase % 2 :: 2]

    def channels(self, count: int) -> slice:
        """Slice of the quarter among `count` channels."""
        return slice(self.quarter * count // QUARTERS, (self.quarter + 1) * count // QUARTERS)

    def values(self, x: Tensor, keep: int | None = None) -> Tensor:
        """View of what is coded here in N x rows x columns x M, or of its first `keep` channels."""
        return self.positions(x)[..., self.channels(x.shape[-1])][..., :keep]


def places(step: int) -> Iterator[Place]:
    """Yield the places of a step: its four phases in coding order."""
    for phase in range(PHASES):
        yield Place(phase=phase, quarter=phase ^ STEP_XOR[step])


def of_step(x: Tensor, step: int, keep: int | None = None) -> Tensor:
    """Gather what `step` codes from N x rows x columns x M: N x P x M/4, or only the first `keep` of
    these channels."""
    return torch.cat([place.values(x, keep).flatten(1, 2) for place in places(step)], dim=1)


def by_place(values: Tensor, like: Tensor, step: int) -> Iterator[tuple[Place, Tensor]]:
    """Split what `step` codes by place: views, N x rows' x columns' x M/4. `like`: any tensor of
    N x rows x columns x C."""
    start = 0
    for place in places(step):
        n, rows, columns, _ = place.positions(like).shape
        end = start + rows * columns
        yield place, values[:, start:end].view(n, rows, columns, values.shape[2])
        start = end


def linear_of_step(x: Tensor, weight: Tensor, bias: Tensor, step: int) -> Tensor:
    """Apply a linear layer (`weight`: M x C, `bias`: M) to N x rows x columns x C, computing only what
    `step` codes: N x P x M/4."""
    parts = []
    for place in places(step):
        rows = place.channels(len(weight))
        parts.append(F.linear(place.positions(x).flatten(1, 2), weight[rows], bias[rows]))
    return torch.cat(parts, dim=1)
