"""The difference in lightness that ColorVideoVDP measures, as a term to minimise.

ColorVideoVDP (Mantiuk et al., 2024) compares two pictures as seen on a display from a distance. In each
band of a Laplacian pyramid, it takes the difference of their local contrasts in units of what the eye
can just detect there (castleCSF), raises it to a power, and masks it by the contrast that both pictures
have nearby. It masks less than SSIMULACRA2 does, and thus asks for fine lightness detail. Implemented
here: lightness of still pictures, bands from 1.5 cycles per degree up, the display of the benchmark.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from vaecodec.model.filters import filtered, gaussian

#: Luminance of white, of black and of reflected room light, in cd/m2 (`standard_fhd`).
WHITE, BLACK, REFLECTED = 200.0, 0.2, 250 * 0.005 / torch.pi
#: For each band, at 18.9, 6.1, 3.1 and 1.5 cycles per degree: log10 of the contrast sensitivity as a
#: polynomial in log10 of the surrounding luminance, constant first. Fitted to castleCSF from 0.6 to
#: 200 cd/m2, within 5 %.
SENSITIVITIES = (
    (0.3997, 0.9604, -0.1776),
    (1.5322, 0.6850, -0.1306),
    (1.8893, 0.5161, -0.1019),
    (1.9772, 0.3472, -0.0731),
)
#: Published parameters for the masking of lightness by lightness.
CORRECTION = 10 ** (-0.2797423 / 20)
EXPONENT = 2.264355
MASK_EXPONENT, MASK_SCALE, MASK_WEIGHT = 1.302623, 10**-0.795497, 2**-0.189501
MASK_SIGMA, MASK_RADIUS = 3.0, 6
LIMIT = 10**2.564245
#: From the 4-norm over bands to just-objectionable differences.
STILL, JOD_SCALE, JOD_EXPONENT = 0.577918, 0.0439569, 0.930204
#: Keeps gradients finite where nothing differs.
FLOOR = 1e-5

_LUMINANCE = (0.2126, 0.7152, 0.0722)
_PYRAMID = (0.05, 0.25, 0.4, 0.25, 0.05)
_MASK_TAPS = gaussian(MASK_SIGMA, MASK_RADIUS)


@lru_cache(maxsize=4)
def _luminance(device: torch.device) -> Tensor:
    return torch.tensor(_LUMINANCE, dtype=torch.float32, device=device).view(3, 1, 1)


@lru_cache(maxsize=64)
def _doubling(side: int, device: torch.device) -> Tensor:
    """Return the matrix, side x ceil(side / 2), that interpolates to `side` samples; borders repeat."""
    matrix = torch.zeros(side, (side + 1) // 2, dtype=torch.float32)
    rows = torch.arange(side)
    for offset, tap in zip(range(-2, 3), _PYRAMID, strict=True):
        source = rows + offset
        inside = source % 2 == 0
        matrix[rows[inside], (source[inside] // 2).clamp(0, matrix.shape[1] - 1)] += 2 * tap
    return matrix.to(device)


def _filtered(planes: Tensor, taps: tuple[float, ...], stride: int = 1) -> Tensor:
    """Filter planes, ... x H x W, along both axes."""
    return filtered(filtered(planes, taps, -2, stride=stride), taps, -1, stride=stride)


def lost_contrast(wanted: Tensor, found: Tensor) -> Tensor:
    """Difference in lightness of N pairs of pictures (linear light, N x 3 x H x W each), in
    just-objectionable differences (JOD; 0: none visible)."""
    both = torch.stack((wanted, found))
    planes = (both * _luminance(wanted.device)).sum(dim=2) * (WHITE - BLACK) + BLACK + REFLECTED
    total = planes.new_zeros(planes.shape[1])
    for band, sensitivity in enumerate(SENSITIVITIES):
        height, width = planes.shape[-2:]
        if min(height, width) < 2 * MASK_RADIUS:
            break
        smaller = _filtered(planes, _PYRAMID, stride=2)
        around = _doubling(height, planes.device) @ smaller @ _doubling(width, planes.device).T
        contrast = (planes - around) / around * (2 if band else 1)
        log = around[0].log10()
        constant, linear, square = sensitivity
        seen, seen_found = contrast * 10 ** (constant + log * (linear + log * square)) * CORRECTION
        both_have = torch.minimum(seen.abs(), seen_found.abs())
        shared = _filtered(both_have, _MASK_TAPS) * MASK_SCALE
        masking = 1 + MASK_WEIGHT * ((shared + FLOOR) ** MASK_EXPONENT)
        difference = ((seen - seen_found).abs() + FLOOR) ** EXPONENT / masking
        limited = LIMIT * difference / (LIMIT + difference)
        total = total + limited.square().mean(dim=(1, 2)).square()
        planes = smaller
    norm = STILL * (total + FLOOR**4) ** 0.25
    return JOD_SCALE * norm**JOD_EXPONENT
