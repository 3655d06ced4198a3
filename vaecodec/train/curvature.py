"""How strongly the decoded picture depends on each latent channel, for the encoder's search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vaecodec.model.load import LoadedModel
from vaecodec.model.objective import distortion
from vaecodec.train.ranges import between_levels, gains


def measure_curvature(
    model: LoadedModel, pictures: Sequence[np.ndarray], levels: Sequence[int]
) -> Tensor:
    """Measure the damping that keeps a gradient step on a latent value from overshooting, per level and
    channel: float32, LEVELS x M, in distortion (of the model's tune, times the number of samples) per
    squared quantisation step.

    It is the norm of the rows of J^T H J (Schraudolph, 2002), with J the Jacobian of the synthesis
    transform and H half the Hessian of a picture's distortion: the diagonal and all that couples
    values. It is estimated as the root mean square of J^T H J v over random signs v (Hutchinson) and
    positions. `pictures`: uint8, H x W x 3, sides multiples of 64. `levels`: where to measure,
    ascending; levels between them are interpolated.
    """
    generator = torch.Generator().manual_seed(0)
    measured = [_row_norms(model, pictures, level, generator) for level in levels]
    return between_levels(torch.stack(measured), levels, gains(model) ** -2)


def _row_norms(
    model: LoadedModel, pictures: Sequence[np.ndarray], level: int, generator: torch.Generator
) -> Tensor:
    scale, squares = model.latent_scale[level], []
    for picture in pictures:
        analysed = model.analyse(picture[None], level)
        latent = model.latents.quantise(*analysed, level).latent / scale
        wanted = torch.from_numpy(picture.copy())[None].float() / 255

        def synthesis(steps: Tensor) -> Tensor:
            return model.transforms.synthesis(steps * scale, model.levels(1, level)) + 0.5

        signs = torch.randint(0, 2, latent.shape, generator=generator) * 2.0 - 1
        change = torch.func.jvp(synthesis, (latent,), (signs,))[1]
        found, transposed = torch.func.vjp(synthesis, latent)[:2]
        bend = _bend(model.tune, wanted, found, change)
        squares.append(transposed(bend)[0].square().mean(dim=(0, 1, 2)))
    return torch.stack(squares).mean(dim=0).sqrt()


@torch.enable_grad()
def _bend(tune: str, wanted: Tensor, found: Tensor, change: Tensor) -> Tensor:
    """Multiply `change` by half the Hessian of the distortion of `found`."""
    found = found.detach().requires_grad_()
    error = distortion(tune, wanted, found).sum() * wanted.numel()
    (slope,) = torch.autograd.grad(error, found, create_graph=True)
    (bend,) = torch.autograd.grad(slope, found, change)
    return bend / 2
