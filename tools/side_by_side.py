"""One picture by two codecs at the same size, for the README.

    python tools/side_by_side.py PICTURE OUT.png [BPP] [LEFT,TOP,SIDE]

JPEG on the left, vaecodec on the right: for each the largest file of at most BPP bits per pixel (0.2),
cut to a square of SIDE pixels.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vaecodec.bench.codecs import BenchCodec
from vaecodec.bench.codecs.pillow import JPEG
from vaecodec.bench.codecs.vae import Vae
from vaecodec.bench.matched import match
from vaecodec.bench.run import read_picture

CAPTION = 26


def panel(image: np.ndarray, codec: BenchCodec, bpp: float, cut: tuple[int, int, int]) -> Image.Image:
    """The cut of what `codec` makes of `image` (uint8 H x W x 3), with a line of text below."""
    left, top, side = cut
    found = match(image, codec, bpp, side)
    decoded = codec.decode(codec.encode(image, found.quality))
    shown = Image.fromarray(decoded[top : top + side, left : left + side])
    whole = Image.new("RGB", (shown.width, shown.height + CAPTION), "white")
    whole.paste(shown)
    text = f"{codec.name}: {found.bytes} bytes, {found.psnr:.1f} dB"
    ImageDraw.Draw(whole).text((4, shown.height + 5), text, "black", ImageFont.load_default(14))
    return whole


def main(picture: str, out: str, bpp: str = "0.2", cut: str = "0,0,384") -> None:
    image = read_picture(Path(picture))
    left, top, side = (int(part) for part in cut.split(","))
    codecs: list[BenchCodec] = [JPEG, Vae()]
    panels = [panel(image, codec, float(bpp), (left, top, side)) for codec in codecs]
    width, height = sum(p.width for p in panels) + 8, panels[0].height
    whole = Image.new("RGB", (width, height), "white")
    whole.paste(panels[0])
    whole.paste(panels[1], (width - panels[1].width, 0))
    whole.save(out, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:])
