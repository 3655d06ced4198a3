"""What photographs give an encoder: the range of their latents, and the usual error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vaecodec.model.config import LEVELS
from vaecodec.model.load import LoadedModel

#: Ranges are this many times the largest values seen.
MARGIN = 2.0


def measure_ranges(
    model: LoadedModel, pictures: Sequence[np.ndarray], levels: Sequence[int]
) -> dict[str, Tensor]:
    """The entries "encoder.ranges" (float32, LEVELS x M, steps) and "encoder.distortion" (float32,
    LEVELS, mean squared error of 0..255 samples) of a weights file.

    Measured at `levels`, in between by interpolation. `pictures`: uint8, H x W x 3, sides multiples of
    64.
    """
    peaks, errors = [], []
    for level in levels:
        peak = torch.zeros(model.config.latent_channels)
        error = 0.0
        for picture in pictures:
            latent, hyper = model.analyse(picture[None], level)
            peak = torch.maximum(peak, latent.abs().amax(dim=(0, 1, 2)))
            coded = model.latents.quantise(latent, hyper, level).latent
            decoded = model.synthesise(coded, level)[0].clamp(0, 255).numpy()
            error += float(np.square(decoded - picture).mean()) / len(pictures)
        peaks.append(MARGIN * peak)
        errors.append(torch.tensor([error]))
    return {
        "encoder.ranges": between_levels(torch.stack(peaks), levels, gains(model)),
        "encoder.distortion": between_levels(torch.stack(errors), levels, torch.ones(LEVELS, 1))[:, 0],
    }


def gains(model: LoadedModel) -> Tensor:
    """Quantisation steps per natural unit of the latent: LEVELS x M."""
    return model.transforms.latent_gain(torch.arange(LEVELS, device=model.device))[:, 0, 0].cpu()


def between_levels(measured: Tensor, levels: Sequence[int], unit: Tensor) -> Tensor:
    """Positive values at `levels` (L x C) for all levels: LEVELS x C, by their logarithms.

    `unit` (LEVELS x C): what the values are in proportion to, but for what changes slowly with the
    level. A channel that is off up to some level, its steps being wide, has its range and its curvature
    change there at once.
    """
    logs = (measured / unit[list(levels)]).clamp(min=1e-12).log().numpy()
    between = [np.interp(range(LEVELS), levels, channel) for channel in logs.T]
    return torch.from_numpy(np.exp(np.stack(between, axis=1))).float() * unit
