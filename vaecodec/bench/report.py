"""One HTML file with everything from a run: curves, BD-rates, rows, pictures side by side.

It contains its data and its pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import vaecodec
from bitstream.errors import VaeError
from vaecodec.bench.curves import References, bd_rate
from vaecodec.bench.matched import Match
from vaecodec.bench.metrics import METRICS
from vaecodec.bench.plots import colours
from vaecodec.bench.results import Results
from vaecodec.bench.summary import curves_of
from vaecodec.pages.assemble import assemble


def _matrix(results: Results, metric: str, references: References, interpolation: str) -> Any:
    """BD-rate in percent of every curve (second key) against every curve (first key); None if the two
    cannot be compared."""
    curves = curves_of(results, metric, references)
    matrix: dict[str, dict[str, float | None]] = {name: {} for name in curves}
    for anchor, a in curves.items():
        for test, t in curves.items():
            try:
                matrix[anchor][test] = round(bd_rate(a, t, interpolation).percent, 2)
            except VaeError:
                matrix[anchor][test] = None
    return matrix


def report(
    results: Results,
    *,
    anchor: str,
    references: References,
    interpolation: str,
    originals: Mapping[str, str],
    matches: Mapping[str, Mapping[str, Match]],
    bpp: float,
) -> bytes:
    """Build the HTML. `originals`: image -> base64 of a WebP, cut as in `matches` (image -> codec)."""
    palette = colours(results)
    shown = [name for name in matches if name in originals]
    data = {
        "version": vaecodec.__version__,
        "machine": results.machine,
        "jobs": results.jobs,
        "anchor": anchor,
        "interpolation": interpolation,
        "bpp": bpp,
        "codecs": [
            {"name": name, "settings": settings, "colour": palette[name]}
            for name, settings in results.codecs.items()
        ],
        "metrics": [
            {
                "name": name,
                "label": METRICS[name].label,
                "version": version,
                "curves": {
                    curve: [[round(x, 5), round(y, 5)] for x, y in points]
                    for curve, points in curves_of(results, name, references).items()
                },
                "values": [_scaled(name, row.metrics.get(name)) for row in results.rows],
                "bd": _matrix(results, name, references, interpolation),
            }
            for name, version in results.metrics.items()
        ],
        "rows": [
            [row.image, row.codec, row.quality, row.bytes, round(row.bpp, 5)]
            + [_rounded(row.metrics.get(name)) for name in results.metrics]
            + [round(1000 * row.encode_seconds, 1), round(1000 * row.decode_seconds, 1)]
            for row in results.rows
        ],
        "pictures": shown,
    }
    pictures = {
        f"picture-{number}": {
            "original": originals[name],
            "codecs": {codec: asdict(match) for codec, match in matches[name].items()},
        }
        for number, name in enumerate(shown)
    }
    return assemble("report", {"data": data, **pictures}).html


def _scaled(metric: str, value: float | None) -> float | None:
    """Map a value to the scale of the curves."""
    return None if value is None else round(METRICS[metric].scale(value), 5)


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 5)
