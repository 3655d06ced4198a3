"""Measure `vaecodec repair` against push-pull and OpenCV's inpainting.

    python tools/repair.py PICTURES OUT.json [--count N]

PICTURES: a folder of PNG files; the middles of N of them, evenly spread, are used. They lose what the
masks of `cases` cover; repaired pictures are compared with the originals. OpenCV's methods (Telea,
Navier-Stokes) are measured if the package opencv-python-headless is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from restoration import middles

from vaecodec.bench.metrics import ssimulacra2
from vaecodec.bench.run import machine
from vaecodec.codec import Codec
from vaecodec.figures import psnr
from vaecodec.files import write_json
from vaecodec.model import registry
from vaecodec.pictures.inpaint import fill
from vaecodec.quality import TUNES
from vaecodec.uses.repair import repair

#: Widths of scratches, and how many; the size of letters; sides of holes, and how many.
SCRATCHES, SCRATCH_COUNT = (1, 3, 6), 8
LETTERS = 32
HOLES = {8: 40, 16: 20, 32: 10, 64: 4}
#: How far OpenCV looks, in pixels.
RADIUS = 3

Way = Callable[[np.ndarray, np.ndarray], np.ndarray]


def cases(height: int, width: int, chance: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw masks, by what they stand for."""
    found = {}
    for thickness in SCRATCHES:
        image, draw = _canvas(height, width)
        for _ in range(SCRATCH_COUNT):
            corners = chance.uniform(0, 1, (3, 2)) * (width, height)
            draw.line([tuple(corner) for corner in corners], 255, thickness)
        found[f"{SCRATCH_COUNT} scratches of {thickness}"] = np.asarray(image) > 0
    image, draw = _canvas(height, width)
    for line in range(height // (2 * LETTERS)):
        text = "Written across the picture, 2026"
        draw.text((16 * line, 2 * LETTERS * line), text, 255, ImageFont.load_default(LETTERS))
    found[f"writing of {LETTERS}"] = np.asarray(image) > 0
    for side, count in HOLES.items():
        image, draw = _canvas(height, width)
        for _ in range(count):
            x, y = (int(chance.integers(16, along - side - 16)) for along in (width, height))
            draw.rectangle((x, y, x + side - 1, y + side - 1), 255)
        found[f"holes of {side}"] = np.asarray(image) > 0
    half = np.zeros((height, width), bool)
    half[:, width // 2 :] = True
    found["half of it, as with a lost group"] = half
    return found


def _canvas(height: int, width: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (width, height))
    return image, ImageDraw.Draw(image)


def ways() -> dict[str, Way]:
    """Ways to repair: functions of a picture (uint8, H x W x 3) and a mask (bool, H x W), by name."""
    found: dict[str, Way] = {"push-pull": lambda picture, mask: fill(picture, ~mask)}
    if importlib.util.find_spec("cv2"):
        import cv2

        def opencv(method: int) -> Way:
            return lambda picture, mask: np.asarray(
                cv2.inpaint(picture, mask.astype(np.uint8), RADIUS, method)
            )

        found["OpenCV, Telea"] = opencv(cv2.INPAINT_TELEA)
        found["OpenCV, Navier-Stokes"] = opencv(cv2.INPAINT_NS)
    for tune in TUNES:
        codec = Codec(registry.find(None, tune).name, "cpu")
        found[codec.entry.name] = _by(codec)
    return found


def _by(codec: Codec) -> Way:
    return lambda picture, mask: np.asarray(repair(picture, mask, codec=codec))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pictures", type=Path, metavar="PICTURES")
    parser.add_argument("out", type=Path, metavar="OUT.json")
    parser.add_argument("--count", type=int, default=8)
    given = parser.parse_args()
    originals = middles(given.pictures, given.count)
    methods = ways()
    for way in methods.values():
        way(originals[0], np.eye(*originals[0].shape[:2], dtype=bool))  # loads the weights
    chance = np.random.default_rng(0)
    masks = [cases(original.shape[0], original.shape[1], chance) for original in originals]
    report: dict[str, Any] = {"machine": machine(), "pictures": len(originals), "cases": {}}
    for case in masks[0]:
        for name, way in methods.items():
            decibels, points, seconds = [], [], []
            for original, found in zip(originals, masks, strict=True):
                mask = found[case]
                damaged = np.where(mask[:, :, None], np.uint8(0), original)
                start = time.perf_counter()
                whole = way(damaged, mask)
                seconds.append(time.perf_counter() - start)
                decibels.append(psnr(original[mask][None], whole[mask][None]))
                score = ssimulacra2(original, whole)
                assert score is not None  # they are large enough
                points.append(score)
            row = {
                "psnr inside": round(statistics.mean(decibels), 3),
                "ssimulacra2": round(statistics.mean(points), 3),
                "seconds": round(statistics.median(seconds), 4),
            }
            print(case, name, row)
            report["cases"].setdefault(case, {})[name] = row
    write_json(given.out, report)


if __name__ == "__main__":
    main()
