"""Encoding effort: latents that cost the same decoder fewer bits at the same distortion.

The analysis transform is one guess at the best latent of a picture. From there, every round moves each
value along the gradient of the distortion and rounds anew, weighing bits against squared error: a
proximal gradient step (Daubechies et al., 2004, with the rate in place of the l1 norm), kept where
it lowers R + lambda D as the decoder will see it. The decoder knows nothing of this.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vaecodec.model.config import LATENT_STRIDE, level_lambda
from vaecodec.model.latents import Blocks
from vaecodec.model.load import LoadedModel
from vaecodec.tiling import Rectangle

#: Steps are 1 / (2 x damping x curvature) of the gradient. The damping of the first round, and what it
#: is multiplied by after a round that did not help and after one that did: bold, since steps that
#: rounding undoes lead nowhere.
DAMPING = 1.3
AFTER_FAILURE = 1.3
AFTER_SUCCESS = 0.9


class _Distortion:
    """Squared error (0..255 samples, summed) of the decoded picture within one group, and its gradient.

    `picture`: uint8, H x W x 3, of the group and what surrounds it; `latent`: 1 x h x w x M, in steps,
    of the same; `inner`: where in the latent the group lies. What surrounds the group stays as it is.
    """

    def __init__(
        self, model: LoadedModel, picture: np.ndarray, latent: Tensor, inner: Rectangle, level: int
    ) -> None:
        self._model, self._latent, self._inner = model, latent, inner
        self._level = model.levels(1, level)
        target = np.array(picture[inner.scaled(LATENT_STRIDE).slices()])
        self._target = torch.from_numpy(target).to(latent.device).float()

    def __call__(self, decoded: Tensor) -> tuple[float, Tensor]:
        """`decoded`: the group's latent, padded or not. The gradient has its shape."""
        rows, columns = self._inner.slices()
        used = decoded[:, : self._inner.height, : self._inner.width]
        latent = self._latent.clone()
        latent[:, rows, columns] = used
        with torch.enable_grad():
            latent.requires_grad_()
            picture = self._model.transforms.picture(latent, self._level)
            inside = picture[0, *self._inner.scaled(LATENT_STRIDE).slices()]
            height, width, _ = self._target.shape
            samples = ((inside[:height, :width] + 0.5) * 255).clamp(0, 255)
            error = (samples - self._target).square().sum()
            (slope,) = torch.autograd.grad(error, latent)
        gradient = torch.zeros_like(decoded)
        gradient[:, : used.shape[1], : used.shape[2]] = slope[:, rows, columns]
        return float(error.detach()), gradient


def refine(
    model: LoadedModel,
    picture: np.ndarray,
    latent: Tensor,
    hyper: Tensor,
    level: int,
    inner: Rectangle,
    padded: tuple[slice, slice],
    rounds: int,
) -> Blocks:
    """Symbols of one group after `rounds` rounds.

    `picture`: uint8, H x W x 3, of the group and what surrounds it, as is `latent` (1 x h x w x M, as
    `LoadedModel.analyse` gives it); `hyper`: the group's own. `inner`: where the group lies in
    `latent`, `padded`: the same, up to multiples of 4 positions.
    """
    rows, columns = (-(-side // LATENT_STRIDE) for side in picture.shape[:2])
    distortion = _Distortion(model, picture, latent[:, :rows, :columns], inner, level)
    bits_per_error = level_lambda(level) / 3  # lambda is per pixel and mean of three samples
    size = (level, inner.height, inner.width)

    best = model.latents.quantise(latent[:, *padded], hyper, *size)
    error, gradient = distortion(best.latent)
    lowest = model.latents.bits(best.blocks[0]) + bits_per_error * error
    damping = DAMPING
    for _ in range(rounds):
        curvature = damping * model.curvature[level]
        goal = best.latent - gradient / (2 * curvature)
        tried = model.latents.quantise(goal, hyper, *size, bits_per_error * curvature)
        error, slope = distortion(tried.latent)
        cost = model.latents.bits(tried.blocks[0]) + bits_per_error * error
        if cost < lowest:
            best, gradient, lowest = tried, slope, cost
            damping *= AFTER_SUCCESS
        else:
            damping *= AFTER_FAILURE
    return best.blocks[0]
