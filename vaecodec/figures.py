"""How close a decoded picture is to what was encoded, for targets that are not sizes."""

from __future__ import annotations

import math

import numpy as np
import torch

from vaecodec.model.ssimulacra2 import score, visual_error
from vaecodec.pictures.reading import Picture


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of float arrays on the scale 0..255; infinite for equal ones."""
    error = float(np.square(a - b).mean())
    return 10 * math.log10(255**2 / error) if error else math.inf


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
        return decibels(wanted.astype(np.float64), found.astype(np.float64))
    if np.array_equal(wanted, found):
        return 100.0
    pair = (torch.from_numpy(np.array(x)[None]).float() / 255 for x in (wanted, found))
    with torch.no_grad():
        return float(score(visual_error(*pair).structure))
