"""Compare all curves of a run, and format tables for a terminal."""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass

from bitstream.errors import VaeError
from vaecodec.bench.curves import (
    BdRate,
    Curve,
    References,
    bd_rate,
    bd_rate_per_image,
    leads,
    mean_curve,
)
from vaecodec.bench.metrics import METRICS
from vaecodec.bench.results import Results, mean_of


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """BD-rates of one curve against the anchor. `of_means`: of the mean curves, or why there is none.
    `per_image`: the mean over `images` single images (NaN for a published curve, which has none)."""

    name: str
    of_means: BdRate | str
    per_image: float
    images: int


def curves_of(results: Results, metric: str, references: References) -> dict[str, Curve]:
    """All curves that have points of `metric`, measured ones first."""
    curves = {name: mean_curve(results.rows, name, metric) for name in results.codecs}
    curves |= {name: by_metric.get(metric, ()) for name, by_metric in references.items()}
    return {name: curve for name, curve in curves.items() if curve}


def compare(
    results: Results,
    metric: str,
    anchor: str,
    references: References,
    interpolation: str = "akima",
) -> list[Comparison]:
    """Compare every other curve with the anchor."""
    curves = curves_of(results, metric, references)
    if anchor not in curves and anchor not in results.codecs:
        return []
    found = []
    for name in dict.fromkeys([*results.codecs, *curves]):
        if name == anchor:
            continue
        of_means: BdRate | str
        if lacking := [each for each in (anchor, name) if each not in curves]:
            of_means = f"no quality of {lacking[0]} was measured on every image"
        else:
            try:
                of_means = bd_rate(curves[anchor], curves[name], interpolation)
            except VaeError as error:
                of_means = str(error)
        per_image, images = math.nan, 0
        if name in results.codecs:
            per_image, images = bd_rate_per_image(results.rows, anchor, name, metric, interpolation)
        found.append(Comparison(name=name, of_means=of_means, per_image=per_image, images=images))
    return found


#: The metrics by which models of a tune are compared with other codecs.
TUNE_METRICS = {"visual": ("ssimulacra2", "cvvdp", "features"), "psnr": ("psnr",)}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One curve against a format, by one metric.

    `best`: the strongest of the format's curves (tunes, speeds, subsamplings), and `percent` the
    BD-rate against it. `rates`: bits per pixel at which curves are compared at equal rate; `behind`:
    those at which one of the format's curves is as good or better.
    """

    best: str
    percent: float
    rates: tuple[float, ...]
    behind: tuple[float, ...]


def standings(results: Results, metric: str, test: str) -> dict[str, Standing]:
    """Compare the curve `test` with every other measured format, where possible."""
    own = mean_curve(results.rows, test, metric)
    formats: dict[str, list[str]] = {}
    for name in results.codecs:
        if not name.startswith("vae "):
            formats.setdefault(re.split("[ -]", name)[0], []).append(name)
    found = {}
    for form, names in formats.items():
        percents: dict[str, float] = {}
        differences: dict[float, float] = {}
        for name in names:
            curve = mean_curve(results.rows, name, metric)
            with contextlib.suppress(VaeError):  # too little overlap for a BD-rate
                percents[name] = bd_rate(curve, own).percent
            with contextlib.suppress(VaeError):  # no rate in common
                for rate, difference in leads(curve, own).items():
                    differences[rate] = min(difference, differences.get(rate, math.inf))
        if percents and differences:
            best = max(percents, key=lambda name: percents[name])
            found[form] = Standing(
                best=best,
                percent=percents[best],
                rates=tuple(sorted(differences)),
                behind=tuple(sorted(rate for rate in differences if differences[rate] <= 0)),
            )
    return found


def measured_table(results: Results) -> str:
    """A line per codec and quality: means over images of bits per pixel and metrics, and speeds."""
    width = max(len(name) for name in results.codecs) + 2
    head = f"{'codec':<{width}}{'quality':>8}{'bpp':>9}"
    head += (
        "".join(f"{name:>13}" for name in results.metrics) + f"{'encode MP/s':>13}{'decode MP/s':>13}"
    )
    lines = [head]
    for codec in results.codecs:
        for quality in results.qualities(codec):
            rows = results.of(codec, quality)
            bpp = sum(row.bpp for row in rows) / len(rows)
            line = f"{codec:<{width}}{quality:>8}{bpp:>9.4f}"
            for metric in results.metrics:
                mean = mean_of(rows, metric)
                line += f"{'-' if mean is None else f'{mean:.4f}':>13}"
            lines.append(line + "".join(f"{value:>13.2f}" for value in results.speeds(codec, quality)))
    return "\n".join(lines)


def comparison_table(
    comparisons: list[Comparison], metric: str, anchor: str, interpolation: str
) -> str:
    """A line per curve, which says why if it cannot be compared."""
    lines = [f"BD-rate against {anchor} at equal {METRICS[metric].label} ({interpolation})"]
    width = max(len(c.name) for c in comparisons) + 2
    for c in comparisons:
        if isinstance(c.of_means, str):
            lines.append(f"  {c.name:<{width}}{c.of_means}")
            continue
        bd = c.of_means
        line = f"  {c.name:<{width}}{bd.percent:+7.1f} %, {bd.low:.2f} to {bd.high:.2f}"
        line += f" ({bd.overlap:.0%} of the shorter range)"
        if c.images:
            line += f"; mean of {c.images} images {c.per_image:+.1f} %"
        lines.append(line)
    return "\n".join(lines)
