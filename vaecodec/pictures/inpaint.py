"""Filling in unknown samples from those around them (push-pull, Gortler et al., 1996)."""

from __future__ import annotations

import numpy as np
from PIL import Image

_NEUTRAL = 128


def fill(samples: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return `samples` (uint8, H x W x 3) with smooth colours where `known` (bool, H x W) is False.

    Known samples keep their values; if there are none, everything becomes grey.
    """
    if known.all():
        return samples
    if not known.any():
        return np.full_like(samples, _NEUTRAL)
    mask = known[:, :, None] * np.uint8(255)
    levels = [Image.fromarray(np.concatenate((samples, mask), axis=2))]
    # Halve, averaging what is known, until everything is known; then go back from coarse to fine.
    while 0 in levels[-1].getchannel("A").getextrema():
        half = levels[-1].reduce(2)
        half.putalpha(half.getchannel("A").point(lambda alpha: 255 if alpha else 0))
        levels.append(half)
    filled = levels.pop()
    while levels:
        finer = levels.pop()
        coarse = filled.resize(finer.size, Image.Resampling.BILINEAR)
        filled = Image.composite(finer, coarse, finer.getchannel("A"))
    return np.asarray(filled.convert("RGB"))
