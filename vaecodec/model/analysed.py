"""A group between analysis and rounding: the input of the encoder's self-check and of its search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vaecodec.geometry import Window


@dataclass(frozen=True, kw_only=True)
class Analysed:
    """One group of one picture, with its surroundings, ready to be quantised.

    `picture`: uint8, H x W x 3, as it is to be encoded. `latent`: 1 x h x w x M, in steps. `hyper`: the
    group's own hyper-latent. `window`: where the group lies in `picture` and `latent`. `damped`:
    whether `picture` differs from the input. `sound`: whether decoding destroys nothing of the group.
    """

    picture: np.ndarray
    latent: Tensor
    hyper: Tensor
    window: Window
    damped: bool = False
    sound: bool = True

    @property
    def group_latent(self) -> Tensor:
        """The group's own part of `latent`."""
        return self.window.latent(self.latent)
