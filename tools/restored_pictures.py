"""Draw what `--denoise` and `vaecodec repair` do: docs/images/restored.webp.

    python tools/restored_pictures.py OUT.webp

Rows: noise; writing and scratches. Columns: damaged, restored, original. The picture is scikit-image's
`astronaut` (NASA, in the public domain).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont

import vaecodec
from vaecodec.files import write_whole
from vaecodec.pictures.saving import saved

SIGMA = 25
#: Quality of the file that holds the denoised picture, and of OUT.
QUALITY, QUALITY_OUT = 70, 75
#: Left, upper, right and lower edge of the part shown.
BOX = (60, 0, 380, 240)


def mask(height: int, width: int) -> np.ndarray:
    """Draw writing and three scratches."""
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    for line in range(4):
        corner = 6 + 9 * line, 12 + 56 * line
        draw.text(corner, "A caption, 27 November", 255, ImageFont.load_default(22))
    for x in (40, 150, 270):
        draw.line([(x, 0), (x + 30, height)], 255, 3)
    return np.asarray(image) > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT.webp")
    given = parser.parse_args()
    before = np.asarray(Image.fromarray(skimage.data.astronaut()).crop(BOX))
    noise = np.random.default_rng(0).normal(0, SIGMA, before.shape)
    noisy = (before + noise).round().clip(0, 255).astype(np.uint8)
    clean = np.asarray(vaecodec.decode(vaecodec.encode(noisy, QUALITY, denoise=SIGMA)))
    marked = mask(*before.shape[:2])
    written = np.where(marked[:, :, None], np.uint8(255), before)
    repaired = np.asarray(vaecodec.repair(written, marked))
    rows = [np.hstack(row) for row in ((noisy, clean, before), (written, repaired, before))]
    data, _ = saved(Image.fromarray(np.vstack(rows)), "WEBP", QUALITY_OUT)
    write_whole(given.out, data, force=True)


if __name__ == "__main__":
    main()
