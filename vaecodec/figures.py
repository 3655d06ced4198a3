"""How close a decoded picture is to what was encoded, for targets that are not sizes."""

from __future__ import annotations

import math

import numpy as np
import torch

from vaecodec.model.ssimulacra2 import score, visual_error
from vaecodec.pictures.reading import Picture

#: SSIMULACRA2, which takes some 130 bytes of memory per pixel, is not measured in larger pictures.
MEASURED_PIXELS = 2**24
#: Rows that are compared at a time, to save memory.
_ROWS = 64


def decibels(error: float) -> float:
    """Peak signal-to-noise ratio in dB for a mean squared error of 0..255 samples; infinite for 0."""
    return 10 * math.log10(255**2 / error) if error else math.inf


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all samples of two uint8 arrays of one shape; infinite for
    equal ones."""
    total = 0
    for start in range(0, len(a), _ROWS):
        rows = slice(start, start + _ROWS)
        total += int(np.square(a[rows].astype(np.int32) - b[rows]).sum(dtype=np.int64))
    return decibels(total / a.size)


def of(name: str, picture: Picture, decoded: np.ndarray) -> float:
    """Measure a decoded picture. `name`: "psnr" (dB, over red, green and blue together; infinite if
    equal) or "ssimulacra2" (points; 100 if equal). `decoded`: uint8, H x W or H x W x 2 to 4. Fully
    transparent pixels count as equal.
    """
    found = decoded.reshape(*decoded.shape[:2], -1)
    found = np.repeat(found[:, :, :1], 3, axis=2) if found.shape[2] < 3 else found[:, :, :3]
    wanted = picture.samples
    if picture.alpha is not None:
        found = np.where(picture.alpha[:, :, None] == 0, wanted, found)
    if name == "psnr":
        return psnr(wanted, found)
    if np.array_equal(wanted, found):
        return 100.0
    pair = (torch.from_numpy(np.array(x)[None]).float() / 255 for x in (wanted, found))
    with torch.no_grad():
        return float(score(visual_error(*pair).structure))
