"""A group between analysis and rounding: what the encoder's check and its search work on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vaecodec.geometry import Window


@dataclass(frozen=True, kw_only=True)
class Analysed:
    """One group of one picture, ready to be quantised, and what surrounds it.

    `picture`: uint8, H x W x 3, as it is to be encoded. `latent`: 1 x h x w x M, in steps. `hyper`: the
    group's own hyper-latent. `window`: where in `picture` and `latent` the group is. `damped`: whether
    `picture` differs from what was given; `sound`: whether nothing of what it decodes to is destroyed.
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
