"""Measure `--denoise` and `--deblock` against plain encoding, and against denoisers before it.

    python tools/restoration.py PICTURES OUT.json [--count N]

PICTURES: a folder of PNG files with hardly any noise; the middles of N of them, evenly spread, are
used. White noise of SIGMAS is added, or they go through JPEG at JPEG_QUALITIES; decoded pictures are
compared with the originals. Denoisers, which are told the strength, are scikit-image's non-local means
in its fast mode, and BM3D if the package bm3d is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage.restoration import denoise_nl_means

from vaecodec.bench.curves import RATES
from vaecodec.bench.metrics import ssimulacra2
from vaecodec.bench.run import machine
from vaecodec.codec import Codec
from vaecodec.figures import psnr
from vaecodec.files import write_json
from vaecodec.geometry import middle
from vaecodec.model import registry
from vaecodec.quality import TUNES

SIGMAS = (15, 25)
WIDTH, HEIGHT = 512, 384
JPEG_QUALITIES = (10, 30, 60)
QUALITIES = (10, 25, 40, 60, 75)
#: Patch size, search distance and strength of non-local means, as in scikit-image's gallery for a known
#: sigma and the fast mode.
NON_LOCAL = {"patch_size": 5, "patch_distance": 6, "fast_mode": True, "channel_axis": 2}
NON_LOCAL_STRENGTH = 0.8

Picture = np.ndarray | bytes


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to encode a picture. `before`: a denoiser to apply first (uint8 to uint8), if any.
    `options`: of `encode`."""

    before: Callable[[np.ndarray], np.ndarray] | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is done to pictures: in words, and as a function that returns an input for `encode`. `ways`:
    ways to encode that, by name."""

    name: str
    degrade: Callable[[np.ndarray], Picture]
    ways: dict[str, Way]


def noise(sigma: int, chance: np.random.Generator) -> Case:
    """White noise."""
    share = sigma / 255

    def degrade(picture: np.ndarray) -> np.ndarray:
        return _samples((picture + chance.normal(0, sigma, picture.shape)) / 255)

    def non_local(picture: np.ndarray) -> np.ndarray:
        strength = NON_LOCAL_STRENGTH * share
        return _samples(denoise_nl_means(picture / 255.0, h=strength, sigma=share, **NON_LOCAL))

    ways = {
        "plain": Way(),
        "--denoise": Way(options={"denoise": sigma}),
        "--denoise auto": Way(options={"denoise": "auto"}),
        "non-local means": Way(before=non_local),
    }
    if importlib.util.find_spec("bm3d"):
        import bm3d

        ways["BM3D"] = Way(before=lambda picture: _samples(bm3d.bm3d_rgb(picture / 255.0, share)))
    return Case(name=f"noise, sigma {sigma}", degrade=degrade, ways=ways)


def jpeg(quality: int) -> Case:
    """JPEG compression as Pillow does it."""

    def degrade(picture: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        return file.getvalue()

    ways = {"plain": Way(), "--deblock auto": Way(options={"deblock": "auto"})}
    return Case(name=f"JPEG, quality {quality}", degrade=degrade, ways=ways)


def middles(folder: Path, count: int) -> list[np.ndarray]:
    """The middles of `count` PNG files of a folder, evenly spread."""
    paths = sorted(folder.glob("*.png"))
    chosen = [paths[(2 * k + 1) * len(paths) // (2 * count)] for k in range(count)]
    pictures = (np.asarray(Image.open(path).convert("RGB")) for path in chosen)
    return [x[middle(x.shape, HEIGHT, WIDTH).slices()] for x in pictures]


def _samples(picture: np.ndarray) -> np.ndarray:
    """Convert 0..1 to uint8."""
    return (picture * 255).round().clip(0, 255).astype(np.uint8)


def prepared(pictures: list[Picture], way: Way) -> tuple[list[Picture], float]:
    """Return what is to be encoded, and the median of the seconds that the denoiser takes."""
    if way.before is None:
        return pictures, 0.0
    found: list[Picture] = []
    seconds = []
    for picture in pictures:
        assert isinstance(picture, np.ndarray)
        start = time.perf_counter()
        found.append(way.before(picture))
        seconds.append(time.perf_counter() - start)
    return found, statistics.median(seconds)


def measured(
    codec: Codec, originals: list[np.ndarray], pictures: list[Picture], options: dict[str, Any]
) -> list[dict[str, float]]:
    """A row per quality: means of bits per pixel, PSNR (dB) and SSIMULACRA2 against the originals, and
    the median of the seconds that encoding takes."""
    rows = []
    for quality in QUALITIES:
        values = []
        for original, picture in zip(originals, pictures, strict=True):
            start = time.perf_counter()
            data = codec.encode(picture, quality, **options)
            seconds = time.perf_counter() - start
            found = np.asarray(codec.decode(data))
            bpp = 8 * len(data) / (original.shape[0] * original.shape[1])
            values.append((bpp, psnr(original, found), ssimulacra2(original, found), seconds))
        bpp, decibels, points, times = zip(*values, strict=True)
        rows.append(
            {
                "quality": quality,
                "bpp": round(float(np.mean(bpp)), 4),
                "psnr": round(float(np.mean(decibels)), 3),
                "ssimulacra2": round(float(np.mean(points)), 3),
                "seconds": round(statistics.median(times), 3),
            }
        )
    return rows


def above(plain: list[dict[str, float]], rows: list[dict[str, float]], metric: str) -> float | None:
    """How much better `rows` are than `plain` at equal rate: the mean over those of RATES that both
    reach, None if there are none. Plain curves fall where they begin to code the noise."""

    def at_rates(curve: list[dict[str, float]]) -> np.ndarray:
        rates = np.log([row["bpp"] for row in curve])
        values = [row[metric] for row in curve]
        return np.interp(np.log(RATES), rates, values, left=np.nan, right=np.nan)

    difference = at_rates(rows) - at_rates(plain)
    reached = difference[~np.isnan(difference)]
    return round(float(reached.mean()), 3) if reached.size else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pictures", type=Path, metavar="PICTURES")
    parser.add_argument("out", type=Path, metavar="OUT.json")
    parser.add_argument("--count", type=int, default=4)
    given = parser.parse_args()
    originals = middles(given.pictures, given.count)
    codecs = [Codec(registry.find(None, tune).name, "cpu") for tune in TUNES]
    for codec in codecs:
        codec.encode(originals[0], denoise=10)  # loads the weights
    models: dict[str, dict[str, Any]] = {codec.entry.name: {} for codec in codecs}
    chance = np.random.default_rng(0)
    for case in (*(noise(sigma, chance) for sigma in SIGMAS), *map(jpeg, JPEG_QUALITIES)):
        degraded = [case.degrade(original) for original in originals]
        plain: dict[str, list[dict[str, float]]] = {}
        for name, way in case.ways.items():
            pictures, seconds = prepared(degraded, way)
            for codec in codecs:
                model = codec.entry.name
                curve = measured(codec, originals, pictures, way.options)
                plain.setdefault(model, curve)  # the first way is plain
                row: dict[str, Any] = {
                    "psnr above plain": above(plain[model], curve, "psnr"),
                    "ssimulacra2 above plain": above(plain[model], curve, "ssimulacra2"),
                    "seconds before": round(seconds, 3),
                    "seconds": statistics.median(point["seconds"] for point in curve),
                }
                print(model, case.name, name, row)
                models[model].setdefault(case.name, {})[name] = row | {"curve": curve}
    report = {"machine": machine(), "pictures": len(originals), "models": models}
    write_json(given.out, report)


if __name__ == "__main__":
    main()
