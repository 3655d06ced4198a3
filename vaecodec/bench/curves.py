"""Rate-distortion curves, and the comparison of two of them (Bjontegaard delta rate)."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitstream.errors import VaeError
from vaecodec.bench.metrics import METRICS
from vaecodec.bench.results import Row, mean_of
from vaecodec.sources import read_path

#: Points (bits per pixel, quality on the metric's scale), in order of rate.
Curve = Sequence[tuple[float, float]]
#: Published curves: name -> metric -> curve.
References = Mapping[str, Mapping[str, Curve]]
#: Curves that share less than this part of the shorter one's range of quality are not compared.
MIN_OVERLAP = 0.5
#: Bits per pixel at which curves are compared at equal rate.
RATES = (0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0, 1.25, 1.5)


@dataclass(frozen=True, kw_only=True)
class BdRate:
    """`percent` more rate (if negative, less) at equal quality, averaged over qualities from `low` to
    `high`, which are the share `overlap` of the shorter curve's range."""

    percent: float
    low: float
    high: float
    overlap: float


def mean_curve(rows: Sequence[Row], codec: str, metric: str = "psnr") -> Curve:
    """Means over images of bits per pixel and of the metric, per quality setting, as in CompressAI.

    Settings at which the metric is not a finite number for every image of `rows` are left out.
    """
    scale, images = METRICS[metric].scale, len({row.image for row in rows})
    by_quality: dict[int, list[Row]] = {}
    for row in rows:
        if row.codec == codec:
            by_quality.setdefault(row.quality, []).append(row)
    points = []
    for at in by_quality.values():
        if len(at) == images and (mean := mean_of(at, metric)) is not None:
            points.append((float(np.mean([row.bpp for row in at])), scale(mean)))
    return sorted(points)


def bd_rate(anchor: Curve, test: Curve, interpolation: str = "akima") -> BdRate:
    """Bjontegaard delta rate of `test` against `anchor` (Bjontegaard, VCEG-M33, 2001), log rate
    interpolated over quality. Points that are no better than a cheaper one are left out.

    Raises VaeError if a curve has fewer than four points left, or the two overlap too little.
    """
    import bjontegaard

    a, t = (np.array(_rising(curve)) for curve in (anchor, test))
    for points in (a, t):
        if len(points) < 4:
            raise VaeError(f"a BD-rate needs curves of 4 points, one has {len(points)}")
    low, high = max(a[0, 1], t[0, 1]), min(a[-1, 1], t[-1, 1])
    overlap = (high - low) / min(np.ptp(a[:, 1]), np.ptp(t[:, 1]))
    if overlap < MIN_OVERLAP:
        raise VaeError(
            f"the curves overlap too little for a BD-rate: {a[0, 1]:.2f} to {a[-1, 1]:.2f} "
            f"and {t[0, 1]:.2f} to {t[-1, 1]:.2f}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of any overlap below 75 %
        value = bjontegaard.bd_rate(
            a[:, 0], a[:, 1], t[:, 0], t[:, 1],
            method=interpolation, require_matching_points=False, min_overlap=0,
        )  # fmt: skip
    return BdRate(percent=float(value), low=float(low), high=float(high), overlap=float(overlap))


def quality_at(curve: Curve, rates: Sequence[float] = RATES) -> list[float | None]:
    """Quality at each of `rates` (bits per pixel), by Akima interpolation over log rate; None outside
    the curve. Points that are no better than a cheaper one are left out.

    Raises VaeError if fewer than two points are left.
    """
    from scipy.interpolate import Akima1DInterpolator

    points = np.array(_rising(curve))
    if len(points) < 2:
        raise VaeError(f"a curve needs 2 points to be interpolated, one has {len(points)}")
    between = Akima1DInterpolator(np.log(points[:, 0]), points[:, 1])  # NaN outside
    return [None if math.isnan(value) else float(value) for value in between(np.log(rates))]


def leads(anchor: Curve, test: Curve, rates: Sequence[float] = RATES) -> dict[float, float]:
    """How much better `test` is than `anchor` (negative: worse) at each of `rates` that both reach.

    Raises VaeError as `quality_at` does, or if they share none of the rates.
    """
    pairs = zip(rates, quality_at(anchor, rates), quality_at(test, rates), strict=True)
    found = {rate: t - a for rate, a, t in pairs if a is not None and t is not None}
    if not found:
        raise VaeError(f"the curves share no rate of {rates[0]} to {rates[-1]} bits per pixel")
    return found


def _rising(curve: Curve) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    for rate, quality in sorted(curve, key=lambda point: (point[0], -point[1])):
        if not points or quality > points[-1][1]:
            points.append((rate, quality))
    return points


def bd_rate_per_image(
    rows: Sequence[Row], anchor: str, test: str, metric: str = "psnr", interpolation: str = "akima"
) -> tuple[float, int]:
    """Mean of the BD-rates of single images, in percent, and the number of images: those whose curves
    can be compared. NaN and 0 if there are none."""
    values = []
    for image in dict.fromkeys(row.image for row in rows):
        own = [row for row in rows if row.image == image]
        try:
            curves = [mean_curve(own, codec, metric) for codec in (anchor, test)]
            values.append(bd_rate(curves[0], curves[1], interpolation).percent)
        except VaeError:
            continue
    return (float(np.mean(values)), len(values)) if values else (math.nan, 0)


def read_reference(path: Path) -> dict[str, dict[str, Curve]]:
    """Read published curves from a JSON file: name -> metric -> curve.

    The file holds {"curves": {NAME: [{"bpp": ..., "psnr": ..., "ms_ssim": ...}, ...]}}, with any metric
    of `METRICS` (spelt with "-" or "_"). Raises VaeError naming the file.
    """
    try:
        stored: Any = json.loads(read_path(path))
        curves: dict[str, dict[str, Curve]] = {}
        for name, points in stored["curves"].items():
            curves[name] = {}
            for key, metric in METRICS.items():
                column = key if key in points[0] else key.replace("-", "_")
                if column in points[0]:
                    curve = [(float(p["bpp"]), metric.scale(float(p[column]))) for p in points]
                    curves[name][key] = sorted(curve)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise VaeError(f"{path}: holds no rate-distortion curves ({error!r})") from error
    return curves
