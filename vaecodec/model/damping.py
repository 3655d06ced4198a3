"""An encoder that checks itself: no part of a picture may come back as something else.

Latents of photographs stay within a range that is stored with the weights, and their colours hardly
alternate from sample to sample. Where a picture is strange in one of these ways (textures that the
networks were hardly trained for), the encoder decodes what it is about to write. Cells of 16 x 16
pixels that come back worse than both the level's usual error and their own mean colour are damped:
drawn towards that mean, in the picture that is encoded, until they do not. Of what was tried the
attempt with the smallest error is taken, of those that destroy no cell: flattening may cost more than
it mends.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vaecodec.geometry import LATENT_STRIDE, Window, latent_size
from vaecodec.model.analysed import Analysed
from vaecodec.model.load import LoadedModel

#: Share of a position's channels that may be beyond their ranges: at most 3 of 512 are in Kodak's
#: photographs, 4 to 100 in a one-pixel checker, 23 to 127 in error diffusion (docs/experiments.md).
BEYOND = 3 / 512
#: Values up to this many steps are rounded to zero: they are not beyond anything.
ROUNDED_AWAY = 0.5
#: Share of a damped cell's contrast that is left after each round.
SHARES = (0.5, 0.25, 0.0)
#: A cell may have this many times the mean squared error that is usual at its level, besides as much as
#: its mean colour alone would have.
TOLERANCE = 4.0
#: One with so much more (20 dB) is destroyed: if nothing helps, the picture is not sound.
DESTROYED = 0.01 * 255**2
#: Mean difference between samples two apart, in R - G or B - G and over a cell, from which on colours
#: alternate: at most 60 in Kodak's photographs; 4 % of training crops, drawn ones included, have more.
ALTERNATING = 64.0
#: Cells around a bad one that are damped with it: what is wrong with one shows in its neighbours.
REACH = 1


def beyond_ranges(model: LoadedModel, latent: Tensor, level: int) -> bool:
    """Whether anywhere in a latent (1 x h x w x M, steps) more channels are beyond their ranges than in
    photographs."""
    ranges = model.ranges[level].clamp(min=ROUNDED_AWAY)
    beyond = ~(latent.abs() <= ranges)  # what is not a number is
    return bool(beyond.sum(dim=3).max() > BEYOND * model.config.latent_channels)


def alternating(samples: np.ndarray) -> bool:
    """Whether colours of a picture (uint8, H x W x 3) alternate more than in photographs: in any cell,
    the mean difference between samples two apart, along rows or columns, of R - G or B - G. Every
    second sample is looked at; edges that are no whole cell are not."""
    red, green, blue = (samples[::2, ::2, channel].astype(np.int16) for channel in range(3))
    colours = torch.from_numpy(np.stack((red - green, blue - green))[None])
    side = LATENT_STRIDE // 2
    largest = 0.0
    for axis in (2, 3):
        change = colours.diff(dim=axis).abs_().float()
        if min(change.shape[2:]) >= side:
            largest = max(largest, float(F.avg_pool2d(change, side).max()))
    return largest >= ALTERNATING


@torch.no_grad()
def damped(model: LoadedModel, picture: np.ndarray, level: int, window: Window) -> Analysed:
    """One group of a picture that is strange, damped as far as that helps.

    `picture`: uint8, H x W x 3, of the group and what surrounds it.
    """
    samples = torch.from_numpy(np.array(picture)).to(model.device).float()
    means = _cell_means(samples)
    flat = _samples_of(means, samples)
    spread = _cell_means((samples - flat).square()).mean(dim=0)
    usual = TOLERANCE * model.distortion[level]
    inner = window.inner.slices()
    share = torch.ones_like(spread)
    bad = torch.zeros_like(spread)
    attempts: list[tuple[float, Analysed]] = []
    for left in (1.0, *SHARES):
        around = F.max_pool2d(bad[None], 2 * REACH + 1, 1, REACH)[0]
        share = torch.where(around > 0, left, share)
        goal = flat + _samples_of(share[None], samples) * (samples - flat)
        encoded = goal.round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        latent, hyper = model.analyse(encoded[None], level)
        found = Analysed(
            picture=encoded,
            latent=latent,
            hyper=window.hyper(hyper),
            window=window,
            damped=bool((share < 1).any()),
        )
        error = _cell_errors(model, samples, found, level)
        # What is not a number is bad, and destroyed.
        bad = (~(error <= spread + usual)).float()
        sound = bool((error <= spread + usual.clamp(min=DESTROYED))[inner].all())
        attempts.append((float(error[inner].sum()), replace(found, sound=sound)))
        if not bad[inner].any():
            break
    return min(attempts, key=lambda attempt: (not attempt[1].sound, attempt[0]))[1]


def _cell_errors(model: LoadedModel, samples: Tensor, found: Analysed, level: int) -> Tensor:
    """Mean squared error of every cell of `samples`, rows x columns, when `found` is coded.

    What surrounds the group is decoded as it would be without rounding, and damped with it: what is
    wrong there shows in the group too.
    """
    inner = found.window.inner
    rows, columns = latent_size(*samples.shape[:2])
    latent = found.latent[:, :rows, :columns] * model.latent_scale[level]
    latent[:, *inner.slices()] = model.latents.quantise(found.group_latent, found.hyper, level).latent
    decoded = _cut(model.synthesise(latent, level)[0].permute(2, 0, 1), samples)
    return _cell_means((decoded.clamp(0, 255) - samples).square()).mean(dim=0)


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
