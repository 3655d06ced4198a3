"""Encoding effort: a search for latents that take fewer bits at the same distortion.

The analysis transform makes one guess at the best latent of a picture. From there, every round moves
each value against the gradient of the distortion and rounds anew, weighing bits against squared error:
a proximal gradient step (Daubechies et al., 2004, with the rate in place of the l1 norm). Positions
move together and get in each other's way, so what is kept is decided position by position: where bits
and distortion together fell, by the mean of the gradients before and after the move, which is exact for
a quadratic distortion; the others are rounded from what they were rounded from before. How far the
gradient changes along a move is the curvature that the move met, and sets how far the next one goes
(Barzilai and Borwein, 1988). The result is kept if it lowers R + lambda D as the decoder will see it.
The decoder knows nothing of this.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vaecodec.geometry import LATENT_STRIDE, Rectangle, latent_size
from vaecodec.model.analysed import Analysed
from vaecodec.model.config import level_lambda
from vaecodec.model.load import LoadedModel
from vaecodec.model.objective import distortion
from vaecodec.model.symbols import Blocks

#: Factor on the curvature of the weights file in the first round. This and the following were chosen on
#: held-out pictures (docs/experiments.md).
FIRST = 1.15
#: Weights, as exponents, of the curvature that a move has met in what is kept of it by position and by
#: channel.
POSITION_WEIGHT, CHANNEL_WEIGHT = 0.5, 0.2
#: Factor on the curvature after a round whose result was not kept: positions got in each other's way.
AFTER_FAILURE = 1.5
#: Bounds of the curvature met, as a factor on what was expected.
MET_WITHIN = (0.5, 3.0)
#: Share of the mean change that every sum starts with, so that hardly any change tells nothing.
PRIOR_CHANGE = 0.1


class _Distortion:
    """Distortion of the decoded picture within one group, and its gradient. It is that of the model's
    tune times the number of samples: the summed squared error of 0..255 samples, or of like size.

    `picture`: uint8, H x W x 3, the group and its surroundings; `latent`: 1 x h x w x M of the same;
    `inner`: where in the latent the group lies. The surroundings stay as they are.
    """

    def __init__(
        self, model: LoadedModel, picture: np.ndarray, latent: Tensor, inner: Rectangle, level: int
    ) -> None:
        self._model, self._latent, self._inner = model, latent, inner
        self._level = model.levels(1, level)
        target = np.array(picture[inner.scaled(LATENT_STRIDE).slices()])
        self._target = torch.from_numpy(target).to(latent.device).float()[None] / 255

    def __call__(self, decoded: Tensor, gradient: bool = True) -> tuple[float, Tensor]:
        """`decoded`: the group's latent. The gradient has its shape, and is zero if not asked for."""
        rows, columns = self._inner.slices()
        latent = self._latent.clone()
        latent[:, rows, columns] = decoded
        slope = torch.zeros_like(decoded)
        with torch.set_grad_enabled(gradient):
            latent.requires_grad_(gradient)
            picture = self._model.transforms.synthesis(latent, self._level)
            inside = picture[:, *self._inner.scaled(LATENT_STRIDE).slices()]
            _, height, width, _ = self._target.shape
            samples = (inside[:, :height, :width] + 0.5).clamp(0, 1)
            error = distortion(self._model.tune, self._target, samples).sum() * self._target.numel()
        if gradient:
            (found,) = torch.autograd.grad(error, latent)
            slope = found[:, rows, columns]
        return float(error.detach()), slope


def _curvature_met(met: Tensor, expected: Tensor) -> Tensor:
    """How many times its channel's curvature a move has met, by position or by channel. `met`: sums of
    the change of values times that of the gradient; `expected`: the same sums if the gradient changed
    as the curvature by channel says; float, of one shape."""
    prior = PRIOR_CHANGE * expected.mean() + 1e-12
    return ((met + prior) / (expected + prior)).clamp(*MET_WITHIN)


def refine(
    model: LoadedModel, group: Analysed, level: int, rounds: int, error_weight: float = 1.0
) -> Blocks:
    """Return the symbols of one group after `rounds` rounds. `error_weight`: factor on
    lambda, in the first rounding as in the search."""
    inner, latent = group.window.inner, group.latent
    rows, columns = latent_size(*group.picture.shape[:2])
    scale = model.latent_scale[level]
    measure = _Distortion(model, group.picture, latent[:, :rows, :columns] * scale, inner, level)
    # Lambda is per pixel, D a mean of three samples.
    bits_per_error = error_weight * level_lambda(level) / 3

    # What `best` was rounded from, and the bits that a squared error counted as.
    goal = group.group_latent
    error_bits = (error_weight * model.latents.error_bits(level, goal.shape[3])).expand_as(goal)
    best = model.latents.quantise(goal, group.hyper, level, error_bits)
    error, gradient = measure(best.latent)
    lowest = model.latents.bits(best) + bits_per_error * error
    # The curvature that a value meets: that of its channel times that of its position.
    by_channel, by_position = model.curvature[level], torch.full_like(goal[..., :1], FIRST)
    for left in reversed(range(rounds)):
        curvature = by_channel * by_position
        moved = best.latent / scale - gradient * scale / (2 * curvature)
        tried = model.latents.quantise(moved, group.hyper, level, bits_per_error * curvature)
        _, slope = measure(tried.latent)
        change = tried.latent - best.latent
        gain = model.latents.position_bits(best) - model.latents.position_bits(tried)
        added = (change * (gradient + slope) / 2).sum(dim=3)
        better = (gain > bits_per_error * added)[..., None]
        met, expected = change * (slope - gradient), 2 * by_channel * (change / scale) ** 2
        of_position = _curvature_met(met.sum(dim=3, keepdim=True), expected.sum(dim=3, keepdim=True))
        by_position = by_position ** (1 - POSITION_WEIGHT) * of_position**POSITION_WEIGHT
        of_channel = _curvature_met(met.sum(dim=(0, 1, 2)), expected.sum(dim=(0, 1, 2)))
        by_channel = by_channel * of_channel**CHANNEL_WEIGHT
        # Positions that are not better keep what they were rounded from.
        wanted = torch.where(better, moved, goal)
        wanted_bits = torch.where(better, bits_per_error * curvature, error_bits)
        mixed = model.latents.quantise(wanted, group.hyper, level, wanted_bits)
        error, slope = measure(mixed.latent, left > 0)
        cost = model.latents.bits(mixed) + bits_per_error * error
        if cost < lowest:
            best, goal, error_bits, gradient, lowest = mixed, wanted, wanted_bits, slope, cost
        else:
            by_position = by_position * AFTER_FAILURE
    return best.blocks()[0]
