"""Measure a model on pictures that are not photographs: PSNR against JPEG's at equal file size.

    python tools/graphics.py MODEL

Draws a screenshot, a chart, clip art and a page of text, and writes
benchmarks/results/graphics-MODEL.json.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vaecodec.bench.codecs.pillow import JPEG
from vaecodec.bench.codecs.vae import Vae
from vaecodec.bench.run import measure
from vaecodec.files import write_json

SIZE = (768, 512)
QUALITIES = (10, 30, 50, 70, 90, 100)
SENTENCE = "the rate of a symbol is the negative logarithm of its probability under the prior"
FOLDER = Path(__file__).parent.parent / "benchmarks" / "results"


def _sentence(generator: np.random.Generator, words: int) -> str:
    return " ".join(generator.choice(SENTENCE.split(), words)).capitalize() + "."


def page() -> Image.Image:
    """Black text on white, a heading and paragraphs."""
    image, generator = Image.new("RGB", SIZE, "white"), np.random.default_rng(0)
    draw = ImageDraw.Draw(image)
    draw.text((40, 24), "On coding latents", "black", ImageFont.load_default(30))
    for line in range(24):
        draw.text((40, 80 + 17 * line), _sentence(generator, 13), "black", ImageFont.load_default(14))
    return image


def chart() -> Image.Image:
    """Bars and two lines on a grid, with labels."""
    image, generator = Image.new("RGB", SIZE, "white"), np.random.default_rng(1)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    for k in range(9):
        draw.line((60, 40 + 50 * k, 740, 40 + 50 * k), "#dddddd")
        draw.text((20, 33 + 50 * k), f"{(8 - k) * 5} %", "#444444", font)
    for k, height in enumerate(generator.integers(60, 330, 16)):
        left = 75 + 41 * k
        colour = ("#4c72b0", "#dd8452")[k % 2]
        draw.rectangle((left, 440 - int(height), left + 26, 440), colour)
        draw.text((left, 450), f"Q{k % 4 + 1}", "#444444", font)
    for colour in ("#c44e52", "#55a868"):
        points = [(75 + 41 * k, int(y)) for k, y in enumerate(generator.integers(60, 400, 16))]
        draw.line(points, colour, 3)
    draw.text((280, 8), "Rate saved by quarter", "black", ImageFont.load_default(20))
    return image


def clip_art() -> Image.Image:
    """Flat saturated shapes with smooth outlines."""
    image = Image.new("RGB", (4 * SIZE[0], 4 * SIZE[1]), "#87ceeb")
    draw, generator = ImageDraw.Draw(image), np.random.default_rng(2)
    draw.rectangle((0, 1400, 3072, 2048), "#3a9d4a")
    draw.ellipse((2300, 120, 2800, 620), "#ffd700", "#ff8c00", 24)
    for _ in range(14):
        x, y, r = (int(v) for v in generator.integers((100, 900, 60), (2900, 1700, 260)))
        colour = tuple(int(v) for v in generator.integers(30, 250, 3))
        draw.polygon([(x, y - 2 * r), (x - r, y), (x + r, y)], colour, "black", 12)
        draw.rectangle((x - r // 6, y, x + r // 6, y + r), "#7a4a21", "black", 8)
    return image.resize(SIZE, Image.Resampling.LANCZOS)


def screenshot() -> Image.Image:
    """Windows with title bars, buttons, lists of small text, and coloured code on black."""
    image, generator = Image.new("RGB", SIZE, "#2b3a55"), np.random.default_rng(3)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    for left, top, right, bottom, dark in ((20, 30, 470, 480, False), (400, 90, 750, 440, True)):
        draw.rectangle((left, top, right, bottom), "#1e1e1e" if dark else "#f5f5f5", "#888888")
        draw.rectangle((left, top, right, top + 24), "#3c6eb4")
        draw.text((left + 8, top + 4), "Untitled document", "white", font)
        draw.rectangle((right - 22, top + 4, right - 6, top + 20), "#d9534f")
        for row in range((bottom - top - 40) // 16):
            place = (left + 10 + 12 * int(generator.integers(0, 3)) * dark, top + 32 + 16 * row)
            colour = ("#9cdcfe", "#ce9178", "#6a9955")[row % 3] if dark else "#222222"
            draw.text(place, _sentence(generator, 7)[: 40 if dark else 60], colour, font)
    return image


def jpeg_psnr_at(curve: list[tuple[int, float]], size: int) -> float | None:
    """PSNR of a JPEG of `size` bytes, interpolated on `curve`: None below its smallest file, the best
    of all above its largest."""
    sizes, values = zip(*sorted(curve), strict=True)
    if size < sizes[0]:
        return None
    return float(np.interp(math.log(size), np.log(sizes), values))


def main(model: str) -> None:
    vae, found = Vae(model=model, lossless=None), []
    for draw in (screenshot, chart, clip_art, page):
        image = np.asarray(draw())
        curve = [(r.bytes, r.psnr) for r in (measure("", image, JPEG, q) for q in range(1, 101, 3))]
        for quality in QUALITIES:
            row = measure(draw.__name__, image, vae, quality)
            jpeg = jpeg_psnr_at(curve, row.bytes)
            found.append(
                {
                    "image": row.image,
                    "quality": quality,
                    "bytes": row.bytes,
                    "psnr": row.psnr if math.isfinite(row.psnr) else None,  # None: exact
                    "jpeg": jpeg,
                }
            )
            print(f"{row.image:<12}{quality:>4}{row.bytes:>8}{row.psnr:>8.2f}", jpeg and f"{jpeg:.2f}")
    figures = {"model": vae.settings, "jpeg": JPEG.settings, "rows": found}
    write_json(FOLDER / f"graphics-{vae.name.split()[-1]}.json", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
