"""How strongly the decoded picture depends on each latent channel, for the encoder's search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vaecodec.model.config import LEVELS
from vaecodec.model.load import LoadedModel
from vaecodec.train.tables import FIT_LEVELS

PICTURES = 8


def measure_curvature(model: LoadedModel, pictures: Sequence[np.ndarray]) -> Tensor:
    """Damping that keeps a gradient step of each latent value from overshooting, per level and channel:
    float32, LEVELS x M, in squared error (0..255 samples, summed) per squared step.

    With J the Jacobian of the synthesis transform, the norm of the rows of J^T J, its diagonal and all
    that couples values: the root mean square of J^T J v over random signs v (Hutchinson's estimator)
    and over positions. `pictures`: uint8, H x W x 3, sides multiples of 64.
    """
    generator = torch.Generator().manual_seed(0)
    measured = [_row_norms(model, pictures[:PICTURES], level, generator) for level in FIT_LEVELS]
    logs = torch.stack(measured).log().numpy()
    between = [np.interp(range(LEVELS), FIT_LEVELS, channel) for channel in logs.T]
    return torch.from_numpy(np.exp(np.stack(between, axis=1))).float()


def _row_norms(
    model: LoadedModel, pictures: Sequence[np.ndarray], level: int, generator: torch.Generator
) -> Tensor:
    squares = []
    for picture in pictures:
        rows, columns = picture.shape[0] // 16, picture.shape[1] // 16
        found = model.analyse(picture[None], level)
        latent = model.latents.quantise(*found, level, rows, columns).latent

        def synthesis(steps: Tensor) -> Tensor:
            return 255 * model.transforms.picture(steps, model.levels(1, level))

        signs = torch.randint(0, 2, latent.shape, generator=generator) * 2.0 - 1
        change = torch.func.jvp(synthesis, (latent,), (signs,))[1]
        transposed = torch.func.vjp(synthesis, latent)[1]
        squares.append(transposed(change)[0].square().mean(dim=(0, 1, 2)))
    return torch.stack(squares).mean(dim=0).sqrt()
