"""One-dimensional filters as matrices: on a CPU, convolutions of single channels are slower."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def gaussian(sigma: float, radius: int) -> tuple[float, ...]:
    """Return 2 * radius + 1 taps that add up to one."""
    steps = torch.arange(-radius, radius + 1, dtype=torch.float32)
    taps = torch.exp(-0.5 * (steps / sigma) ** 2)
    return tuple((taps / taps.sum()).tolist())


@lru_cache(maxsize=256)
def filter_matrix(
    side: int, taps: tuple[float, ...], device: torch.device, *, stride: int = 1, mirror: bool = True
) -> Tensor:
    """Return the matrix (float32, ceil(side / stride) x side) that applies the taps, an odd number, and
    keeps every `stride`-th sample. Beyond the edge lies the mirror image or, unless `mirror`, zero."""
    matrix = torch.zeros(-(-side // stride), side, dtype=torch.float32)
    rows = torch.arange(len(matrix))
    radius = len(taps) // 2
    for offset, tap in zip(range(-radius, radius + 1), taps, strict=True):
        place = (stride * rows + offset) % (2 * side)
        inside = place < side
        place = torch.where(inside, place, 2 * side - 1 - place)
        matrix[rows, place] += tap * (inside | mirror)
    return matrix.to(device)
