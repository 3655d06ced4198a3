"""The encoder's self-check: no part of a picture may decode to something else.

Latents of photographs stay within a range that is stored with the weights, and their colours hardly
alternate from sample to sample. Where a group is strange in one of these ways (a texture that the
networks were hardly trained for), the encoder decodes what it is about to write. Cells of 16 x 16
pixels whose error exceeds that of their own mean colour by more than the level's usual error allows
are damped: drawn towards that mean, further each round, in the picture that is encoded. Of the
attempts that destroy no cell, the one with the smallest error is kept: flattening may cost more than
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

#: Share of a position's channels that may be beyond their ranges. 92 % of photographs stay within it;
#: a patch of one-pixel checkerboard has 122 of 512, of error diffusion up to 130
#: (docs/experiments.md).
BEYOND = 3 / 512
#: Values up to this many steps round to zero, so they are never beyond a range.
ROUNDED_AWAY = 0.5
#: Share of its contrast that a damped cell keeps, round by round.
SHARES = (0.5, 0.25, 0.0)
#: A cell may exceed the mean squared error of its own mean colour by this many times the level's usual
#: error; beyond that, it is bad.
TOLERANCE = 4.0
#: A bad cell that exceeds it by this much (20 dB) is destroyed: if nothing helps, the picture is not
#: sound.
DESTROYED = 0.01 * 255**2
#: Colours alternate if R - G or B - G changes by this much between samples two apart, on average over
#: a cell: at most 60 in Kodak's photographs; 4 % of training crops, drawn pages included, have more.
ALTERNATING = 64.0
#: How far around a bad cell, in cells, others are damped with it: an error in one shows in its
#: neighbours.
REACH = 1


def beyond_ranges(model: LoadedModel, latent: Tensor, level: int) -> list[bool]:
    """Whether at any position of each latent (N x h x w x M, steps) more channels are beyond their
    ranges than in photographs."""
    ranges = model.ranges[level].clamp(min=ROUNDED_AWAY)
    beyond = ~(latent.abs() <= ranges)  # true for NaN
    return (beyond.sum(dim=3).amax(dim=(1, 2)) > BEYOND * model.config.latent_channels).tolist()


def alternating(samples: np.ndarray) -> bool:
    """Whether the colours of a picture (uint8, H x W x 3) alternate more than in photographs: whether,
    in any cell, R - G or B - G changes by ALTERNATING or more on average between samples two apart,
    along rows or columns. Only every second sample and only whole cells are examined."""
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
    """Analyse one group of a strange picture, damped as far as that helps.

    `picture`: uint8, H x W x 3, the group and its surroundings.
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
        # NaN counts as bad, and as destroyed.
        bad = (~(error <= spread + usual)).float()
        sound = bool((error <= spread + usual.clamp(min=DESTROYED))[inner].all())
        attempts.append((float(error[inner].sum()), replace(found, sound=sound)))
        if not bad[inner].any():
            break
    return min(attempts, key=lambda attempt: (not attempt[1].sound, attempt[0]))[1]


def _cell_errors(model: LoadedModel, samples: Tensor, found: Analysed, level: int) -> Tensor:
    """Mean squared error of every cell of `samples` (rows x columns) if `found` is coded.

    The group's surroundings are decoded as they would be without rounding, and damped with it: errors
    there show in the group too.
    """
    inner = found.window.inner
    rows, columns = latent_size(*samples.shape[:2])
    latent = found.latent[:, :rows, :columns] * model.latent_scale[level]
    latent[:, *inner.slices()] = model.latents.quantise(found.group_latent, found.hyper, level).latent
    decoded = _cut(model.synthesise(latent, level)[0].permute(2, 0, 1), samples)
    return _cell_means((decoded.clamp(0, 255) - samples).square()).mean(dim=0)


def _cell_means(samples: Tensor) -> Tensor:
    """H x W x C -> means over cells, C x rows x columns; the edge is repeated to complete cells."""
    height, width, _ = samples.shape
    planes = samples.permute(2, 0, 1)[None]
    size = (0, -width % LATENT_STRIDE, 0, -height % LATENT_STRIDE)
    return F.avg_pool2d(F.pad(planes, size, mode="replicate"), LATENT_STRIDE)[0]


def _samples_of(cells: Tensor, like: Tensor) -> Tensor:
    """C x rows x columns -> each cell's value at all its samples, H x W x C, of the size of `like`."""
    for axis in (1, 2):
        cells = cells.repeat_interleave(LATENT_STRIDE, axis)
    return _cut(cells, like)


def _cut(planes: Tensor, like: Tensor) -> Tensor:
    """C x H' x W' -> H x W x C, cut to the size of `like`."""
    return planes[:, : like.shape[0], : like.shape[1]].permute(1, 2, 0)
