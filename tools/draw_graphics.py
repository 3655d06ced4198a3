"""Draw pages of text, windows, charts and flat shapes as a training shard.

    python tools/draw_graphics.py OUT.tar [--count 64] [--seed 0]

Photographs teach a codec nothing about sharp black text: without such pictures, the transforms leave
out what it needs. Colours, sizes, fonts and words are random; the same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bitstream.errors import VaeError
from vaecodec.files import write_whole

WIDTH, HEIGHT = 1024, 768
LETTERS = "etaoinshrdlucmfwypvbgkqjxz"
FREQUENCIES = np.array([12.7, 9.1, 8.2, 7.5, 7, 6.7, 6.3, 6.1, 6, 4.3, 4, 2.8, 2.8, 2.4, 2.2, 2.4, 2,
                        1.9, 1, 1.5, 2, 0.8, 0.1, 0.2, 0.2, 0.1])  # fmt: skip


class Artist:
    """Random choices, all from one generator."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.fonts = _font_files()

    def number(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high))

    def colour(self, low: int = 0, high: int = 256) -> tuple[int, int, int]:
        red, green, blue = (int(v) for v in self.random.integers(low, high, 3))
        return red, green, blue

    def pair(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Ink and paper: mostly black on white, else dark and light either way round."""
        kind = self.random.random()
        if kind < 0.5:
            return (0, 0, 0), (255, 255, 255)
        dark, light = self.colour(0, 90), self.colour(190, 256)
        return (dark, light) if kind < 0.75 else (light, dark)

    def font(self, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        choice = self.number(0, len(self.fonts) + 1)
        if choice == len(self.fonts):
            return ImageFont.load_default(size)
        return ImageFont.truetype(self.fonts[choice], size)

    def words(self, length: int) -> str:
        """About `length` characters of something like words and numbers."""
        parts: list[str] = []
        while sum(len(part) + 1 for part in parts) < length:
            if self.random.random() < 0.1:
                parts.append(str(self.number(0, 10000)))
                continue
            count = self.number(1, 11)
            letters = self.random.choice(list(LETTERS), count, p=FREQUENCIES / FREQUENCIES.sum())
            word = "".join(letters)
            parts.append(word.capitalize() if self.random.random() < 0.15 else word)
        return " ".join(parts)


def _font_files() -> list[str]:
    """TrueType fonts that come with matplotlib, where it is installed."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return []
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return [str(path) for path in sorted(folder.glob("DejaVu*.ttf")) if "Display" not in path.name]


def text(a: Artist, draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    """Draw a page or a window: lines of one font."""
    ink, paper = a.pair()
    draw.rectangle(box, paper)
    size = a.number(9, 26)
    font, y = a.font(size), box[1] + size
    coloured = a.random.random() < 0.3
    while y < box[3] - 2 * size:
        line = a.words(max(4, int(a.random.uniform(0.3, 1) * (box[2] - box[0]) / (0.6 * size))))
        draw.text((box[0] + size, y), line, a.colour() if coloured else ink, font)
        y += round(size * 1.3) * (1 if a.random.random() < 0.85 else 2)


def windows(a: Artist, draw: ImageDraw.ImageDraw) -> None:
    """Draw overlapping windows with title bars and buttons."""
    draw.rectangle((0, 0, WIDTH, HEIGHT), a.colour())
    for _ in range(a.number(3, 7)):
        left, top = a.number(0, WIDTH - 200), a.number(0, HEIGHT - 150)
        box = (left, top, left + a.number(180, 700), top + a.number(120, 500))
        text(a, draw, box)
        draw.rectangle((box[0], box[1] - 22, box[2], box[1]), a.colour())
        draw.text((box[0] + 6, box[1] - 19), a.words(20), a.colour(), a.font(13))
        for k in range(a.number(1, 5)):
            place = (box[0] + 10 + 90 * k, box[3] - 28, box[0] + 90 + 90 * k, box[3] - 8)
            draw.rounded_rectangle(place, 4, a.colour(), a.colour())
            draw.text((place[0] + 8, place[1] + 3), a.words(7), a.colour(), a.font(11))


def chart(a: Artist, draw: ImageDraw.ImageDraw) -> None:
    """Draw bars, lines and points on a labelled grid."""
    ink, paper = a.pair()
    draw.rectangle((0, 0, WIDTH, HEIGHT), paper)
    for y in range(60, HEIGHT - 60, a.number(30, 90)):
        draw.line((70, y, WIDTH - 40, y), a.colour(150, 230))
        draw.text((20, y - 8), str(a.number(0, 999)), ink, a.font(13))
    step = a.number(20, 80)
    palette = [a.colour() for _ in range(4)]
    for x in range(80, WIDTH - 80, step):
        draw.rectangle((x, a.number(80, HEIGHT - 90), x + step * 2 // 3, HEIGHT - 80), palette[0])
        draw.text((x, HEIGHT - 70), a.words(3), ink, a.font(11))
    for colour in palette[1:]:
        points = [(x, a.number(80, HEIGHT - 90)) for x in range(80, WIDTH - 60, step)]
        draw.line(points, colour, a.number(1, 5))
        for x, y in points:
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), colour, ink)
    draw.text((WIDTH // 3, 15), a.words(24), ink, a.font(24))


def shapes(a: Artist, draw: ImageDraw.ImageDraw) -> None:
    """Draw flat outlined shapes, large: the caller shrinks them."""
    draw.rectangle((0, 0, 2 * WIDTH, 2 * HEIGHT), a.colour())
    for _ in range(a.number(15, 50)):
        x, y, r = a.number(0, 2 * WIDTH), a.number(0, 2 * HEIGHT), a.number(20, 400)
        corners, kind = (x - r, y - r * a.number(1, 4) // 3, x + r, y + r), a.number(0, 3)
        if kind == 0:
            draw.ellipse(corners, a.colour(), a.colour(), a.number(1, 20))
        elif kind == 1:
            draw.rounded_rectangle(corners, r // 4, a.colour(), a.colour(), a.number(1, 20))
        else:
            points = [(a.number(x - r, x + r), a.number(y - r, y + r)) for _ in range(a.number(3, 8))]
            draw.polygon(points, a.colour(), a.colour(), a.number(1, 12))


def picture(seed: int) -> Image.Image:
    """Picture number `seed`: text, windows, chart and shapes in turn, text every other one."""
    a, kind = Artist(seed), seed % 6
    size = (2 * WIDTH, 2 * HEIGHT) if kind == 5 else (WIDTH, HEIGHT)
    image = Image.new("RGB", size)
    draw = ImageDraw.Draw(image)
    if kind % 2 == 0:
        text(a, draw, (0, 0, WIDTH, HEIGHT))
    elif kind == 1:
        windows(a, draw)
    elif kind == 3:
        chart(a, draw)
    else:
        shapes(a, draw)
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS) if kind == 5 else image


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(arguments.count):
            file = io.BytesIO()
            picture(arguments.seed + number).save(file, "WEBP", lossless=True, method=4)
            member = tarfile.TarInfo(f"graphics-{number:05}.webp")
            member.size = file.tell()
            file.seek(0)
            tar.addfile(member, file)
    try:
        write_whole(arguments.out, buffer.getvalue())
    except VaeError as error:
        print(f"draw_graphics: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
