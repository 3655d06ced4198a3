"""Encoding effort: a search for latents that take fewer bits at the same distortion.

The analysis transform makes one guess at the best latent of a picture. From there, every round moves
each value against the gradient of the distortion and rounds anew, weighing bits against squared error:
a proximal gradient step (Daubechies et al., 2004, with the rate in place of the l1 norm), kept if it
lowers R + lambda D as the decoder will see it. Step lengths come from the curvature measured on the
way, per channel (Barzilai and Borwein, 1988). The decoder knows nothing of this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaecodec.geometry import LATENT_STRIDE, Rectangle, latent_size
from vaecodec.model.analysed import Analysed
from vaecodec.model.config import LEVELS, level_lambda
from vaecodec.model.load import LoadedModel
from vaecodec.model.objective import distortion
from vaecodec.model.symbols import Blocks


@dataclass(frozen=True, kw_only=True)
class Caution:
    """A step is the gradient times 1 / (2 x damping x curvature).

    The first round uses the curvature from the weights file and a damping of `first` at the lowest
    level to `first_highest` at the highest; later rounds use the measured curvature, without damping at
    first. Each round that does not help multiplies the damping by `after_failure`.

    Squared error allows bold steps at high levels, and rewards them: steps that rounding undoes lead
    nowhere. At low levels, steps are long and synthesis is not linear over their length. The norms of
    the visual distortion are dominated by few places of a picture, the more so the larger it is.
    """

    first: float
    first_highest: float
    after_failure: float

    def at(self, level: int) -> float:
        """Damping of the first round at `level`."""
        return self.first * (self.first_highest / self.first) ** (level / (LEVELS - 1))


#: Per tune, measured best on held-out pictures (docs/experiments.md).
CAUTION = {
    "psnr": Caution(first=3.0, first_highest=1.3, after_failure=1.3),
    "visual": Caution(first=3.0, first_highest=3.0, after_failure=1.5),
}
#: Share of the last round's change, if it helped, that is added to the next.
MOMENTUM = 0.3
#: Number of changed values at which a channel's own curvature weighs as much as that of all channels.
SHARED_CHANGES = 20
#: The measured curvature is kept within this factor of the stored one.
TRUST = 4.0


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


def refine(model: LoadedModel, group: Analysed, level: int, rounds: int, thrift: float = 1.0) -> Blocks:
    """Return the symbols of one group after `rounds` rounds. `thrift`: factor on the weight of
    distortion."""
    inner, latent = group.window.inner, group.latent
    rows, columns = latent_size(*group.picture.shape[:2])
    scale = model.latent_scale[level]
    measure = _Distortion(model, group.picture, latent[:, :rows, :columns] * scale, inner, level)
    bits_per_error = thrift * level_lambda(level) / 3  # lambda is per pixel, D a mean of 3 samples

    best = model.latents.quantise(group.group_latent, group.hyper, level)
    error, gradient = measure(best.latent)
    lowest = model.latents.bits(best) + bits_per_error * error
    caution = CAUTION[model.tune]
    curvature, damping = caution.at(level) * model.curvature[level], 1.0
    momentum = torch.zeros_like(gradient)
    for left in reversed(range(rounds)):
        strength = damping * curvature
        goal = (best.latent + momentum) / scale - gradient * scale / (2 * strength)
        tried = model.latents.quantise(goal, group.hyper, level, bits_per_error * strength)
        error, slope = measure(tried.latent, left > 0)
        cost = model.latents.bits(tried) + bits_per_error * error
        change = tried.latent - best.latent
        if left:
            bend = (slope - gradient) * scale
            measured = _secant(change / scale, bend, model.curvature[level])
            curvature = measured if left == rounds - 1 else (curvature * measured).sqrt()
        if cost < lowest:
            best, gradient, lowest = tried, slope, cost
            momentum = MOMENTUM * change
        else:
            damping *= caution.after_failure
            momentum.zero_()
    return best.blocks()[0]


def _secant(change: Tensor, bend: Tensor, stored: Tensor) -> Tensor:
    """Curvature per channel (M) along `change` (1 x h x w x M, steps), over which the gradient changed
    by `bend`. It is taken relative to `stored` and, the fewer values of a channel changed, drawn more
    towards that of all channels."""
    where = (0, 1, 2)
    count, squares = (change != 0).sum(dim=where), change.square().sum(dim=where)
    products = (change * bend).sum(dim=where) / (2 * stored)
    own = (products / squares.clamp(min=1e-6)).clamp(1 / TRUST, TRUST)
    common = (products.sum() / squares.sum().clamp(min=1e-6)).clamp(1 / TRUST, TRUST)
    share = count / (count + SHARED_CHANGES)
    return stored * own**share * common ** (1 - share)
