"""Draw cuts of pictures: original, vaecodec, and another codec at the same file size.

    python tools/contact_sheet.py OUT BPP CUT... [--model NAME] [--peer CODEC]

A CUT is LABEL=PICTURE:LEFT,TOP,WIDTH,HEIGHT and becomes a row. Each picture is coded whole, at the
quality near BPP bits per pixel at which the peer (by default AVIF with libavif's default tune) has a
file at least as large as vaecodec's and at most `TOLERANCE` larger. OUT is a PNG, or a WebP (lossy,
quality 95).
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bitstream.errors import VaeError
from vaecodec.bench.codecs import BenchCodec, other
from vaecodec.bench.codecs.vae import Vae
from vaecodec.bench.run import read_samples
from vaecodec.files import write_whole

#: How much larger the peer's file may be.
TOLERANCE = 0.05
#: How far from the rate asked for to look for sizes that match.
NEAR = 0.3
GAP, LINE = 6, 18
MAX_BYTES = 1_500_000


@dataclass(frozen=True, kw_only=True)
class Cut:
    label: str
    path: Path
    box: tuple[int, int, int, int]  # left, top, right, bottom


class Files:
    """The files of a picture by quality, 1 to 100, each made once."""

    def __init__(self, image: np.ndarray, codec: BenchCodec) -> None:
        self._image, self._codec = image, codec
        self._made: dict[int, bytes] = {}

    def at(self, quality: int) -> bytes:
        if quality not in self._made:
            self._made[quality] = self._codec.encode(self._image, quality)
        return self._made[quality]

    def reaching(self, size: float) -> int:
        """The lowest quality whose file has at least `size` bytes; 100 if none has."""
        return 1 + bisect_left(range(1, 100), size, key=lambda quality: len(self.at(quality)))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two files of one picture, of about the same size."""

    ours: bytes
    theirs: bytes


def read_cut(text: str) -> Cut:
    """Parse a CUT. Raises VaeError."""
    match = re.fullmatch(r"(?P<label>[^=]+)=(?P<path>.+):(\d+),(\d+),(\d+),(\d+)", text)
    if match is None:
        raise VaeError(f"{text}: not LABEL=PICTURE:LEFT,TOP,WIDTH,HEIGHT")
    left, top, width, height = (int(number) for number in match.groups()[2:])
    box = (left, top, left + width, top + height)
    return Cut(label=match["label"], path=Path(match["path"]), box=box)


def pair(image: np.ndarray, ours: BenchCodec, peer: BenchCodec, bpp: float) -> Pair | None:
    """Find two files near `bpp` that match in size; None if there are none within `NEAR`."""
    target = bpp * image.shape[0] * image.shape[1] / 8
    own, their = Files(image, ours), Files(image, peer)
    start = own.reaching(target)
    for step in range(100):
        for quality in {start - step, start + step} & set(range(1, 101)):
            data = own.at(quality)
            if not 1 / (1 + NEAR) <= len(data) / target <= 1 + NEAR:
                continue
            matching = their.at(their.reaching(len(data)))
            if len(data) <= len(matching) <= (1 + TOLERANCE) * len(data):
                return Pair(ours=data, theirs=matching)
    return None


def row(cut: Cut, files: Pair, ours: BenchCodec, peer: BenchCodec) -> Image.Image:
    """Draw the original and what the two codecs made of it, each with a line of text below."""
    image = read_samples(cut.path)
    left, top, right, bottom = cut.box
    if right > image.shape[1] or bottom > image.shape[0] or left >= right or top >= bottom:
        raise VaeError(
            f"{cut.path}: has no {cut.box} in its {image.shape[1]} x {image.shape[0]} pixels"
        )
    pixels = image.shape[0] * image.shape[1]
    panels = [(image, f"{cut.label}: original")]
    for codec, data in ((ours, files.ours), (peer, files.theirs)):
        text = f"{codec.name}: {len(data)} bytes, {8 * len(data) / pixels:.3f} bpp"
        panels.append((codec.decode(data), text))
    width, height = right - left, bottom - top
    whole = Image.new("RGB", (3 * width + 2 * GAP, height + LINE), "white")
    draw = ImageDraw.Draw(whole)
    for number, (picture, text) in enumerate(panels):
        x = number * (width + GAP)
        whole.paste(Image.fromarray(picture[top:bottom, left:right]), (x, 0))
        draw.text((x + 2, height + 2), text, "black", ImageFont.load_default(12))
    return whole


def stack(rows: list[Image.Image]) -> Image.Image:
    """Stack the rows below each other."""
    size = max(r.width for r in rows), sum(r.height + GAP for r in rows) - GAP
    whole, y = Image.new("RGB", size, "white"), 0
    for one in rows:
        whole.paste(one, (0, y))
        y += one.height + GAP
    return whole


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("bpp", type=float, metavar="BPP")
    parser.add_argument("cuts", nargs="+", metavar="CUT")
    parser.add_argument("--model")
    parser.add_argument("--peer", default="avif")
    given = parser.parse_args(arguments)
    form = {".png": "PNG", ".webp": "WEBP"}.get(given.out.suffix)
    if form is None:
        raise VaeError(f"{given.out}: must end in .png or .webp")
    ours, peer = Vae(model=given.model, device="cpu"), other(given.peer)
    cuts, files = [read_cut(text) for text in given.cuts], {}
    for path in dict.fromkeys(cut.path for cut in cuts):
        found = pair(read_samples(path), ours, peer, given.bpp)
        if found is None:
            raise VaeError(
                f"{path}: no {peer.name} file matches {ours.name} near {given.bpp} bpp in size"
            )
        files[path] = found
    sheet = stack([row(cut, files[cut.path], ours, peer) for cut in cuts])
    file = io.BytesIO()
    options = {"optimize": True} if form == "PNG" else {"quality": 95, "method": 6}
    sheet.save(file, form, **options)
    if file.tell() > MAX_BYTES:
        raise VaeError(f"{given.out}: would have {file.tell()} bytes, more than {MAX_BYTES}")
    write_whole(given.out, file.getvalue(), force=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except VaeError as error:
        sys.exit(str(error))
