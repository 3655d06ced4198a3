"""Pictures made worse: noise as sensors and cameras leave it, and JPEG."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vaecodec.pictures.degradation import RESPONSE, differences
from vaecodec.quality import LOWEST_JPEG, MAX_NOISE, NEVER_JPEG

#: Shares of the crops that get noise alone, JPEG alone, and both; the rest stay as they are.
NOISE, JPEG, BOTH = 0.5, 0.3, 0.1
#: The highest quality of JPEG.
BEST_JPEG = 90
#: JPEG's blocks lie anywhere on a crop cut from one this much larger, as on pictures that were cut.
SPARE = 16
#: Of the noise of each crop: the share with grey noise besides, the largest share of its variance, and
#: the share whose noise is smooth, as it is after demosaicking.
GREY, MOST_GREY, SMOOTH = 0.5, 0.7, 0.5
#: The share whose noise depends on brightness as that of photons does; of full scale, what noise
#: remains in black.
PHOTONS, READ_NOISE = 0.5, 0.003


@dataclass(frozen=True, kw_only=True)
class Degraded:
    """Crops before and after (uint8, N x H x W x 3), and the strengths (float, N) of what was done, in
    the units of `vaecodec.quality.Degradation`."""

    clean: Tensor
    picture: Tensor
    noise: Tensor
    jpeg: Tensor


def degraded(crops: Tensor, chance: np.random.Generator, generator: torch.Generator) -> Degraded:
    """Crops (uint8, N x H + SPARE x W + SPARE x 3), each degraded in its own way and cut to H x W."""
    count = len(crops)
    kind = chance.random(count)
    noisy = torch.from_numpy((kind < NOISE) | (kind >= 1 - BOTH))
    # Faint noise is the more usual one.
    wanted = torch.from_numpy(MAX_NOISE * chance.random(count) ** 1.5).float() * noisy
    unit, measured = _unit_noise(crops, chance, generator)
    picture = (crops.float() + wanted.view(-1, 1, 1, 1) * unit).round().clamp(0, 255).to(torch.uint8)
    quality = chance.integers(LOWEST_JPEG, BEST_JPEG + 1, count).astype(np.float32)
    quality[kind < NOISE] = NEVER_JPEG
    quality[(kind >= NOISE + JPEG) & (kind < 1 - BOTH)] = NEVER_JPEG
    for i in np.flatnonzero(quality < NEVER_JPEG):
        picture[i] = _through_jpeg(picture[i], int(quality[i]), chance)
    y, x = (slice(start, start - SPARE or None) for start in _corner(chance))
    return Degraded(
        clean=crops[:, y, x].contiguous(),
        picture=picture[:, y, x].contiguous(),
        noise=(wanted * measured).clamp(max=MAX_NOISE),
        jpeg=torch.from_numpy(quality),
    )


def _corner(chance: np.random.Generator) -> tuple[int, int]:
    """Where crops are cut: mostly JPEG's blocks begin where the crop does."""
    if chance.random() < 0.75:
        return 0, 0
    y, x = chance.integers(0, SPARE, 2)
    return int(y), int(x)


def _through_jpeg(crop: Tensor, quality: int, chance: np.random.Generator) -> Tensor:
    file = io.BytesIO()
    subsampling = int(chance.choice([0, 2], p=[0.3, 0.7]))
    Image.fromarray(crop.numpy()).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return torch.from_numpy(np.array(Image.open(file)))


def _unit_noise(
    crops: Tensor, chance: np.random.Generator, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Noise of standard deviation about 1 for each crop, and what `noise_of` finds of it (N): less
    where it is smooth."""
    count = len(crops)

    def share(of: float, most: float) -> Tensor:
        drawn = (chance.random(count) < of) * chance.uniform(0, most, count)
        return torch.from_numpy(drawn).float().view(-1, 1, 1, 1)

    noise = torch.randn(crops.shape, generator=generator)
    grey = torch.randn((*crops.shape[:3], 1), generator=generator)
    part = share(GREY, MOST_GREY)
    noise = noise * (1 - part).sqrt() + grey * part.sqrt()
    tap = share(SMOOTH, 0.7)
    for dim in (1, 2):
        noise = noise + tap * (noise.roll(1, dim) + noise.roll(-1, dim))
        noise = noise / (1 + 2 * tap**2).sqrt()
    deviations = [float(np.std(differences(each.numpy()))) for each in noise]
    measured = torch.tensor(deviations, dtype=torch.float32) / RESPONSE
    # In linear light its variance grows with the light; sRGB stretches the dark tones.
    light = (F.avg_pool2d(crops.float().permute(0, 3, 1, 2), 3, 1, 1) / 255).permute(0, 2, 3, 1)
    stretched = (light**2.2 + READ_NOISE).sqrt() / (light**1.2 + READ_NOISE)
    middle = (0.46**2.2 + READ_NOISE) ** 0.5 / (0.46**1.2 + READ_NOISE)
    photons = torch.from_numpy(chance.random(count) < PHOTONS).view(-1, 1, 1, 1)
    factor = torch.where(photons, (stretched / middle).clamp(0.3, 2.5), 1.0)
    return noise * factor, measured
