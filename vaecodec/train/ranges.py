"""What an encoder has to know about photographs: the range of their latents, and the usual error."""

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
    """Measure the entries "encoder.ranges" (float32, LEVELS x M, in quantisation steps) and
    "encoder.distortion" (float32, LEVELS, mean squared error of 0..255 samples) of a weights file.

    They are measured at `levels` and interpolated in between. `pictures`: uint8, H x W x 3, sides
    multiples of 64.
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
    """Interpolate positive values at `levels` (L x C) to all levels (LEVELS x C), in their logarithm.

    `unit` (LEVELS x C): what the values are proportional to, up to a factor that changes slowly with
    the level. If a channel is off up to some level, because its steps are wide, its range and its
    curvature jump there.
    """
    logs = (measured / unit[list(levels)]).clamp(min=1e-12).log().numpy()
    between = [np.interp(range(LEVELS), levels, channel) for channel in logs.T]
    return torch.from_numpy(np.exp(np.stack(between, axis=1))).float() * unit
