"""Detect a loss that has exploded: the stage returns to sound weights and halves the learning rate."""

from __future__ import annotations

import torch
from torch import Tensor

from vaecodec.train.workers import Workers

#: Steps between two checks.
WINDOW = 200
#: Steps that give the first mean to compare with.
FIRST_WINDOW = 20
#: The mean loss of a window may be at most this many times that of the last sound one.
TOLERANCE = 1.5
#: Share of a window's steps whose loss may be infinite or no number; `clip_gradients` passes over them.
BROKEN = 0.1


class Watch:
    """Keeps a copy of the `averaged` weights from when the loss was last sound.

    `divergences`: how many there were.
    """

    def __init__(self, averaged: dict[str, Tensor], workers: Workers) -> None:
        self.divergences = 0
        self._workers = workers
        self._kept = {name: value.clone() for name, value in averaged.items()}
        self._sound: float | None = None
        self._totals: Tensor | None = None
        self._steps = 0

    @property
    def rate(self) -> float:
        """A factor for the learning rate: 1 at first, halved at every divergence."""
        return 0.5**self.divergences

    def diverged(self, loss: Tensor, averaged: dict[str, Tensor]) -> bool:
        """Take in a step's loss; return True if the loss has diverged over a window: the first
        `FIRST_WINDOW` steps, then `WINDOW` at a time.

        `averaged` is then back at its last sound values; the caller should load them into the model and
        start a new optimizer. All workers get the same answer.
        """
        seen = torch.stack((loss.nan_to_num(0, 0, 0), loss.isfinite().to(loss.dtype)))
        self._totals = seen if self._totals is None else self._totals + seen
        self._steps += 1
        if self._steps < (FIRST_WINDOW if self._sound is None else WINDOW):
            return False
        total, finite = (self._workers.mean(each) for each in self._totals)
        mean, broken = total / max(finite, 1), 1 - finite / self._steps
        self._totals, self._steps = None, 0
        if broken > BROKEN or (self._sound is not None and mean > TOLERANCE * self._sound):
            self.divergences += 1
            torch._foreach_copy_([averaged[name] for name in self._kept], list(self._kept.values()))
            return True
        self._sound = mean
        torch._foreach_copy_(list(self._kept.values()), [averaged[name] for name in self._kept])
        return False
