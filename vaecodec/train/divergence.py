"""Detect a loss that has exploded: the stage returns to sound weights and halves the learning rate."""

from __future__ import annotations

import torch
from torch import Tensor

from vaecodec.train.workers import Workers

#: Steps between two checks.
WINDOW = 200
#: The mean loss of a window may be at most this many times that of the last sound one.
TOLERANCE = 1.5


class Watch:
    """Keeps a copy of the `averaged` weights from when the loss was last sound.

    `rate` is a factor for the learning rate: 1 at first, halved at every divergence.
    """

    def __init__(self, averaged: dict[str, Tensor], workers: Workers) -> None:
        self.rate = 1.0
        self._workers = workers
        self._kept = {name: value.clone() for name, value in averaged.items()}
        self._sound: float | None = None
        self._total: Tensor | None = None
        self._steps = 0

    def diverged(self, loss: Tensor, averaged: dict[str, Tensor]) -> bool:
        """Take in a step's loss; return True if the loss has diverged over the last `WINDOW` steps.

        `averaged` is then back at its last sound values; the caller should load them into the model and
        start a new optimizer. All workers get the same answer.
        """
        self._total = loss.clone() if self._total is None else self._total + loss
        self._steps += 1
        if self._steps < WINDOW:
            return False
        mean = self._workers.mean(self._total) / self._steps
        self._total, self._steps = None, 0
        if self._sound is not None and not mean <= TOLERANCE * self._sound:
            self.rate /= 2
            torch._foreach_copy_([averaged[name] for name in self._kept], list(self._kept.values()))
            return True
        self._sound = mean
        torch._foreach_copy_(list(self._kept.values()), [averaged[name] for name in self._kept])
        return False
