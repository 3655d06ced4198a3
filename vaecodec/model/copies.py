"""Copies of what networks read and of symbols, between host and device.

To and from a GPU they go through page-locked memory, which the bus reads and writes directly, and the
host waits for all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """Copy `x`, on the host, to `device`. A GPU may still be copying when this returns; what its stream
    does next waits for that."""
    if device.type != "cuda":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copy tensors of one device to the host."""
    if not tensors or not tensors[0].is_cuda:
        return [x.cpu() for x in tensors]
    # The caller's default device may be another.
    copies = [torch.empty(x.shape, dtype=x.dtype, device="cpu", pin_memory=True) for x in tensors]
    for copy, x in zip(copies, tensors, strict=True):
        copy.copy_(x, non_blocking=True)
    # Not for the whole stream, to which other threads may have added more.
    torch.cuda.current_stream(tensors[0].device).record_event().synchronize()
    return copies
