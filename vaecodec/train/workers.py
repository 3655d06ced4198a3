"""Data-parallel training: one process per GPU or CPU core, as torchrun starts them.

    torchrun --nproc-per-node 2 -m vaecodec train DATA ...

Each process draws its own crops; gradients are averaged at every step, so all have the same weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from bitstream.errors import VaeError


class Workers:
    """The processes training together: this one's `rank`, and their `count` (1 without torchrun)."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rank = int(os.environ.get("RANK", "0"))
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        if self.count > 1:
            if device.type == "cuda":
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            distributed.init_process_group(
                "nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=1)
            )

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and keeps the time."""
        return self.rank == 0

    def share_of(self, batch: int) -> int:
        """How many of `batch` crops this process draws. Raises VaeError unless all draw as many."""
        if batch % self.count:
            raise VaeError(f"a batch of {batch} is no multiple of the {self.count} processes")
        return batch // self.count

    def average(self, parameters: Iterable[nn.Parameter], clock: float) -> float:
        """Replace every gradient by its mean over the processes; return the first one's `clock`."""
        if self.count == 1:
            return clock
        gradients = [p.grad for p in parameters if p.grad is not None]
        time = gradients[0].new_tensor([clock * self.count if self.first else 0.0])
        flat = torch.cat([time, *(g.flatten() for g in gradients)])
        distributed.all_reduce(flat)
        flat /= self.count
        pieces: list[Tensor] = list(flat[1:].split([g.numel() for g in gradients]))
        means = [piece.view_as(g) for piece, g in zip(pieces, gradients, strict=True)]
        torch._foreach_copy_(gradients, means)
        return float(flat[0])

    def mean(self, value: Tensor) -> float:
        """Mean of a scalar over the processes."""
        if self.count > 1:
            distributed.all_reduce(value)
        return float(value) / self.count

    def broadcast(self, value: Any) -> Any:
        """Return the first process's `value` in all of them."""
        box = [value]
        if self.count > 1:
            distributed.broadcast_object_list(box)
        return box[0]

    def wait(self) -> None:
        """Wait until all processes have reached this point."""
        if self.count > 1:
            distributed.barrier()

    def close(self) -> None:
        self.wait()  # the first process may still be evaluating
        if self.count > 1:
            distributed.destroy_process_group()
