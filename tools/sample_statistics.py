"""Compare pictures drawn from a model with photographs that it has coded, by simple statistics.

    python tools/sample_statistics.py DATA MODEL OUT.json

DATA: a folder of pictures or of tar shards of them; the middles of its held-out ones are coded at each
of LEVELS. They are compared with as many samples of the same size, and with a variation of each, which
has the same hyper-latent.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np

from vaecodec.codec import Codec
from vaecodec.files import write_json
from vaecodec.geometry import middle
from vaecodec.train.data import held_out
from vaecodec.uses.sampling import sample

LEVELS = (5, 20, 40)
SIDE = 256
#: Band of spatial frequencies, in cycles per pixel, in which the spectrum's slope is measured.
BAND = (1 / 64, 1 / 4)
#: Luma of sRGB samples (BT.709).
LUMA = (0.2126, 0.7152, 0.0722)


def slope(luma: np.ndarray) -> float:
    """Exponent with which power falls with spatial frequency; about 2 for photographs (Field, 1987)."""
    window = np.hanning(SIDE)[:, None] * np.hanning(SIDE)
    power = np.abs(np.fft.fft2((luma - luma.mean()) * window)) ** 2
    axis = np.fft.fftfreq(SIDE)
    radius = np.hypot(axis[:, None], axis)
    edges = np.geomspace(*BAND, 9)
    rings = [(radius >= low) & (radius < high) for low, high in pairwise(edges)]
    means = [power[ring].mean() + 1e-3 for ring in rings]
    return float(-np.polyfit(np.log(np.sqrt(edges[:-1] * edges[1:])), np.log(means), 1)[0])


def statistics(pictures: Iterable[np.ndarray]) -> dict[str, float]:
    """Medians over pictures (uint8, SIDE x SIDE x 3)."""
    rows = []
    for picture in pictures:
        luma = picture.astype(np.float64) @ LUMA
        edges = np.diff(luma, axis=1).ravel()
        variance = float(edges.var())
        rows.append(
            {
                "standard deviation": float(luma.std()),
                "slope of the spectrum": slope(luma),
                "root mean square of differences": variance**0.5,
                # 3 for a Gaussian; the more they concentrate in few places, the larger.
                "kurtosis of differences": float(((edges - edges.mean()) ** 4).mean() / variance**2)
                if variance
                else 3.0,
            }
        )
    return {name: round(float(np.median([row[name] for row in rows])), 2) for name in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    codec = Codec(given.model, "cpu")
    pictures = []
    for picture in held_out(given.data):
        if min(picture.shape[:2]) >= SIDE:
            cut = middle(picture.shape, SIDE, SIDE)
            pictures.append(np.ascontiguousarray(picture[cut.slices()]))
    levels = {}
    for level in LEVELS:
        quality = round(1 + level * 99 / 63)
        files = codec.encode_batch(pictures, quality, lossless=False)
        sets = {
            "photographs": files,
            "variations": [
                next(sample(like=file, seed=i, codec=codec)) for i, file in enumerate(files)
            ],
            "samples": list(sample((SIDE, SIDE), level=level, count=len(files), codec=codec)),
        }
        levels[level] = {
            name: statistics(np.asarray(codec.decode(file).convert("RGB")) for file in of_set)
            for name, of_set in sets.items()
        }
        print(level, levels[level])
    figures = {"model": codec.entry.name, "pictures": len(pictures), "levels": levels}
    write_json(given.out, figures)


if __name__ == "__main__":
    main()
