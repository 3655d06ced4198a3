"""One-dimensional filters as matrices: on a CPU, convolutions of single channels are slower."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

#: Samples along an axis that one matrix computes: a picture's side would make it too large.
PIECE = 512


def gaussian(sigma: float, radius: int) -> tuple[float, ...]:
    """Return 2 * radius + 1 taps that add up to one."""
    steps = torch.arange(-radius, radius + 1, dtype=torch.float32)
    taps = torch.exp(-0.5 * (steps / sigma) ** 2)
    return tuple((taps / taps.sum()).tolist())


def filtered(
    planes: Tensor, taps: tuple[float, ...], axis: int, *, stride: int = 1, mirror: bool = True
) -> Tensor:
    """Apply the taps, an odd number, along `axis` (-2 or -1) of planes, float32 ... x H x W, and keep
    every `stride`-th sample. Beyond the edge lies the mirror image or, unless `mirror`, zero."""
    side, radius = planes.shape[axis], len(taps) // 2
    count = -(-side // stride)
    found = []
    for start in range(0, count, PIECE):
        end = min(start + PIECE, count)
        first, last = max(0, start * stride - radius), min(side, (end - 1) * stride + radius + 1)
        matrix = _filter_matrix(
            last - first,
            end - start,
            start * stride - first,
            taps,
            stride,
            mirror,
            planes.device,
        )
        piece = planes.narrow(axis, first, last - first)
        found.append(piece @ matrix.T if axis == -1 else matrix @ piece)
    return found[0] if len(found) == 1 else torch.cat(found, axis)


@lru_cache(maxsize=256)
def _filter_matrix(
    side: int,
    count: int,
    first: int,
    taps: tuple[float, ...],
    stride: int,
    mirror: bool,
    device: torch.device,
) -> Tensor:
    """Return the matrix (count x side) that applies the taps at `first` and every `stride` samples from
    there. What is not within `side` samples is beyond the edge."""
    matrix = torch.zeros(count, side, dtype=torch.float32)
    rows = torch.arange(count)
    radius = len(taps) // 2
    for offset, tap in zip(range(-radius, radius + 1), taps, strict=True):
        place = (first + stride * rows + offset) % (2 * side)
        inside = place < side
        place = torch.where(inside, place, 2 * side - 1 - place)
        matrix[rows, place] += tap * (inside | mirror)
    return matrix.to(device)
