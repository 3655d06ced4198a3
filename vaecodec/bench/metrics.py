"""Distortion, and the comparison of rate-distortion curves."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from bitstream.errors import VaeError

Curve = Sequence[tuple[float, float]]  # (bits per pixel, dB)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all samples of two uint8 arrays of one shape; infinite
    for equal ones."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float | None:
    """Multi-scale structural similarity of two uint8 H x W x 3 arrays, at most 1 (Wang et al., 2003);
    None for pictures with a side of 160 or less, which have no fifth scale."""
    import torch
    from pytorch_msssim import ms_ssim as library

    if min(a.shape[:2]) <= 160:
        return None
    pair = [torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() for x in (a, b)]
    return float(library(*pair, data_range=255))


def bd_rate(anchor: Curve, test: Curve) -> float:
    """Bjontegaard delta rate of `test` against `anchor` in percent (Bjontegaard, VCEG-M33, 2001;
    Akima interpolation): how much less (negative) or more rate `test` takes at equal PSNR.

    Raises VaeError if the curves share less than half of either one's range of PSNR.
    """
    import bjontegaard

    a, t = np.array(sorted(anchor)), np.array(sorted(test))
    low, high = max(a[0, 1], t[0, 1]), min(a[-1, 1], t[-1, 1])
    if high - low < 0.5 * min(np.ptp(a[:, 1]), np.ptp(t[:, 1])):
        raise VaeError(f"the curves overlap too little for a BD-rate: {low:.2f} to {high:.2f} dB")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of any overlap below 75 %
        value = bjontegaard.bd_rate(
            a[:, 0], a[:, 1], t[:, 0], t[:, 1],
            method="akima", require_matching_points=False, min_overlap=0,
        )  # fmt: skip
    return float(value)
