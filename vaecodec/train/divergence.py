"""A stage whose loss has exploded goes back to where it was sound, and on at half the rate."""

from __future__ import annotations

import torch
from torch import Tensor

from vaecodec.train.workers import Workers

#: Steps between two looks.
WINDOW = 200
#: The mean loss of a window may be this many times that of the last sound one.
TOLERANCE = 1.5


class Watch:
    """Keeps copies of `averaged` weights as they were when the loss was last sound.

    `rate` is what the learning rate is to be multiplied by: 1, and half as much after every return.
    """

    def __init__(self, averaged: dict[str, Tensor], workers: Workers) -> None:
        self.rate = 1.0
        self._workers = workers
        self._kept = {name: value.clone() for name, value in averaged.items()}
        self._sound: float | None = None
        self._total: Tensor | None = None
        self._steps = 0

    def diverged(self, loss: Tensor, averaged: dict[str, Tensor]) -> bool:
        """Take in a step's loss. True where those of the last `WINDOW` steps are not sound any more:
        then `averaged` are as they last were, and the weights and the optimizer should follow.

        All workers get the same answer.
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
