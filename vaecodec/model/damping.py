"""An encoder that checks itself: no part of a picture may come back as something else.

Latents of photographs stay within a range that is stored with the weights. Where those of a picture
leave it (textures that the networks were hardly trained for), the encoder decodes what it is about to
write. Cells of 16 x 16 pixels that come back worse than both the level's usual error and their own mean
colour are damped: drawn towards that mean, in the picture that is encoded, until they do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vaecodec.geometry import LATENT_STRIDE, Window
from vaecodec.model.load import LoadedModel

#: Share of a position's channels that may be beyond their ranges: at most 2 of 512 are in Kodak's
#: photographs, 6 to 100 in a one-pixel checker, 23 to 38 in error diffusion (docs/experiments.md).
BEYOND = 1 / 128
#: Values up to this many steps are rounded to zero: they are not beyond anything.
ROUNDED_AWAY = 0.5
#: Share of a damped cell's contrast that is left after each round.
SHARES = (0.5, 0.25, 0.0)
#: A cell may have this many times the mean squared error that is usual at its level, besides as much as
#: its mean colour alone would have.
TOLERANCE = 4.0
#: Cells around a bad one that are damped with it: what is wrong with one shows in its neighbours.
REACH = 1


@dataclass(frozen=True, kw_only=True)
class Analysed:
    """One group of one picture, ready to be quantised, and what surrounds it.

    `picture`: uint8, H x W x 3, as it is to be encoded. `latent`: 1 x h x w x M, in steps. `hyper`: the
    group's own hyper-latent. `checked`: whether it was decoded and compared; `sound`: whether it then
    was as it should be.
    """

    picture: np.ndarray
    latent: Tensor
    hyper: Tensor
    checked: bool = False
    sound: bool = True


def strange(model: LoadedModel, latent: Tensor, level: int) -> bool:
    """Whether anywhere in `latent` (N x h x w x M, steps) more channels are beyond their ranges than
    photographs ever have there."""
    ranges = model.ranges[level].clamp(min=ROUNDED_AWAY)
    beyond = ~(latent.abs() <= ranges)  # what is not a number is
    return bool(beyond.sum(dim=3).max() > BEYOND * model.config.latent_channels)


@torch.no_grad()
def damped(model: LoadedModel, picture: np.ndarray, level: int, window: Window) -> Analysed:
    """One group whose latents are strange, damped as far as it must be.

    `picture`: uint8, H x W x 3, of the group and what surrounds it.
    """
    samples = torch.from_numpy(np.array(picture)).to(model.device).float()
    means = _cell_means(samples)
    flat = _samples_of(means, samples)
    share = torch.ones_like(means[0])
    bad = torch.zeros_like(share)
    for left in (1.0, *SHARES):
        around = F.max_pool2d(bad[None], 2 * REACH + 1, 1, REACH)[0]
        share = torch.where(around > 0, left, share)
        goal = flat + _samples_of(share[None], samples) * (samples - flat)
        encoded = goal.round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        latent, hyper = model.analyse(encoded[None], level)
        found = Analysed(picture=encoded, latent=latent, hyper=window.hyper(hyper), checked=True)
        bad = _bad_cells(model, samples, flat, found, level, window)
        if not bad[window.inner.slices()].any():
            return found
    return replace(found, sound=False)


def _bad_cells(
    model: LoadedModel, samples: Tensor, flat: Tensor, found: Analysed, level: int, window: Window
) -> Tensor:
    """1 where a cell of `samples` must be damped, else 0; float32, rows x columns of cells. `flat`: the
    cells' mean colours, as samples.

    What surrounds the group is decoded as it would be without rounding, and damped with it: what is
    wrong there shows in the group too.
    """
    inner = window.inner
    rows, columns = (-(-side // LATENT_STRIDE) for side in samples.shape[:2])
    latent = found.latent[:, :rows, :columns].clone()
    coded = model.latents.quantise(
        window.latent(found.latent), found.hyper, level, inner.height, inner.width
    ).latent
    latent[:, *inner.slices()] = coded[:, : inner.height, : inner.width]
    decoded = _cut(model.synthesise(latent, level)[0].permute(2, 0, 1), samples)
    error = _cell_means((decoded.clamp(0, 255) - samples).square()).mean(dim=0)
    spread = _cell_means((samples - flat).square()).mean(dim=0)
    return (~(error <= spread + TOLERANCE * model.distortion[level])).float()  # not a number is bad


def _cell_means(samples: Tensor) -> Tensor:
    """H x W x C -> means over cells, C x rows x columns; cells beyond the edge go on as it ends."""
    height, width, _ = samples.shape
    planes = samples.permute(2, 0, 1)[None]
    size = (0, -width % LATENT_STRIDE, 0, -height % LATENT_STRIDE)
    return F.avg_pool2d(F.pad(planes, size, mode="replicate"), LATENT_STRIDE)[0]


def _samples_of(cells: Tensor, like: Tensor) -> Tensor:
    """C x rows x columns -> the same for every sample of a cell, H x W x C as `like` has them."""
    for axis in (1, 2):
        cells = cells.repeat_interleave(LATENT_STRIDE, axis)
    return _cut(cells, like)


def _cut(planes: Tensor, like: Tensor) -> Tensor:
    """C x H' x W' -> H x W x C."""
    return planes[:, : like.shape[0], : like.shape[1]].permute(1, 2, 0)
