"""Degrade pictures: with noise as sensors and cameras leave it, and with JPEG."""

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
#: The highest JPEG quality.
BEST_JPEG = 90
#: Crops are cut from ones this much larger, so that JPEG's blocks may start anywhere, as in pictures
#: that were cropped.
SPARE = 16
#: Share of crops whose noise is partly grey, the most that grey noise is of the variance, and share of
#: crops whose noise is smooth, as after demosaicking.
GREY, MOST_GREY, SMOOTH = 0.5, 0.7, 0.5
#: Share of crops with photon noise, which depends on brightness; and the linear light, of full scale,
#: whose photon noise is as strong as the noise that remains in black.
PHOTONS, READ_NOISE = 0.5, 0.003


@dataclass(frozen=True, kw_only=True)
class Degraded:
    """Crops before and after degradation (uint8, N x H x W x 3), and its strengths (float, N) in the
    units of `vaecodec.quality.Degradation`."""

    clean: Tensor
    picture: Tensor
    noise: Tensor
    jpeg: Tensor


def degraded(crops: Tensor, chance: np.random.Generator, generator: torch.Generator) -> Degraded:
    """Degrade each crop (uint8, N x H + SPARE x W + SPARE x 3) in its own way, and cut it to H x W."""
    count = len(crops)
    kind = chance.random(count)
    noisy = torch.from_numpy((kind < NOISE) | (kind >= 1 - BOTH))
    # Faint noise is more common.
    wanted = torch.from_numpy(MAX_NOISE * chance.random(count) ** 1.5).float() * noisy
    unit, measured = _unit_noise(crops, chance, generator)
    picture = (crops.float() + wanted.view(-1, 1, 1, 1) * unit).round().clamp(0, 255).to(torch.uint8)
    quality = chance.integers(LOWEST_JPEG, BEST_JPEG + 1, count).astype(np.float32)
    quality[kind < NOISE] = NEVER_JPEG
    quality[(kind >= NOISE + JPEG) & (kind < 1 - BOTH)] = NEVER_JPEG
    for i in np.flatnonzero(quality < NEVER_JPEG):
        picture[i] = _through_jpeg(picture[i], int(quality[i]), chance)
    y, x = (slice(start, start - SPARE) for start in _corner(chance))
    return Degraded(
        clean=crops[:, y, x].contiguous(),
        picture=picture[:, y, x].contiguous(),
        noise=(wanted * measured).clamp(max=MAX_NOISE),
        jpeg=torch.from_numpy(quality),
    )


def _corner(chance: np.random.Generator) -> tuple[int, int]:
    """Choose where a batch is cut: mostly where JPEG's blocks begin."""
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
    """Draw noise of standard deviation about 1 for each crop; return it with the deviation that
    `noise_of` would find (N), which is lower for smooth noise."""
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
    # In linear light, the variance grows with the light; sRGB stretches the dark tones.
    light = (F.avg_pool2d(crops.float().permute(0, 3, 1, 2), 3, 1, 1) / 255).permute(0, 2, 3, 1)
    stretched = (light**2.2 + READ_NOISE).sqrt() / (light**1.2 + READ_NOISE)
    middle = (0.46**2.2 + READ_NOISE) ** 0.5 / (0.46**1.2 + READ_NOISE)
    photons = torch.from_numpy(chance.random(count) < PHOTONS).view(-1, 1, 1, 1)
    factor = torch.where(photons, (stretched / middle).clamp(0.3, 2.5), 1.0)
    return noise * factor, measured
