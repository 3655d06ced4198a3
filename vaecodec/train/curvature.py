"""How strongly the decoded picture depends on each latent channel, for the encoder's search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vaecodec.model.load import LoadedModel
from vaecodec.model.objective import distortion
from vaecodec.train.ranges import between_levels


def measure_curvature(
    model: LoadedModel, pictures: Sequence[np.ndarray], levels: Sequence[int]
) -> Tensor:
    """Damping that keeps a gradient step of each latent value from overshooting, per level and channel:
    float32, LEVELS x M, in distortion (that of the model's tune, times the number of samples) per
    squared step.

    With H half the Hessian of the distortion, the norm of the rows of H, its diagonal and all that
    couples values: the root mean square of H v over random signs v (Hutchinson's estimator) and over
    positions.
    `pictures`: uint8, H x W x 3, sides multiples of 64. `levels`: where it is measured, ascending;
    those between are interpolated.
    """
    generator = torch.Generator().manual_seed(0)
    measured = [_row_norms(model, pictures, level, generator) for level in levels]
    return between_levels(torch.stack(measured), levels)


def _row_norms(
    model: LoadedModel, pictures: Sequence[np.ndarray], level: int, generator: torch.Generator
) -> Tensor:
    squares = []
    for picture in pictures:
        rows, columns = picture.shape[0] // 16, picture.shape[1] // 16
        analysed = model.analyse(picture[None], level)
        latent = model.latents.quantise(*analysed, level, rows, columns).latent

        signs = torch.randint(0, 2, latent.shape, generator=generator) * 2.0 - 1
        wanted = torch.from_numpy(picture.copy())[None].float() / 255
        with torch.enable_grad():
            latent.requires_grad_()
            found = model.transforms.picture(latent, model.levels(1, level)) + 0.5
            error = distortion(model.tune, wanted, found).sum() * wanted.numel()
            (slope,) = torch.autograd.grad(error, latent, create_graph=True)
            (bend,) = torch.autograd.grad(slope, latent, signs)
        squares.append((bend / 2).square().mean(dim=(0, 1, 2)))
    return torch.stack(squares).mean(dim=0).sqrt()
