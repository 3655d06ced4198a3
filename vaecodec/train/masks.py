"""Masks of what pictures lack: scratches, writing across them, holes."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

#: Widths of scratches, sizes of letters and sides of holes, the smallest and the largest, in pixels.
SCRATCH, LETTER, HOLE = (1, 8), (8, 40), (4, 72)
#: How many of them at most.
SCRATCHES, LINES, HOLES = 6, 5, 5
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,-"


def drawn(height: int, width: int, chance: np.random.Generator) -> np.ndarray:
    """Of one kind, at random: bool, height x width, True where samples are missing."""
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    kinds = (_scratches, _writing, _holes)
    kinds[chance.integers(len(kinds))](draw, width, height, chance)
    return np.asarray(image) > 0


def _between(limits: tuple[int, int], chance: np.random.Generator) -> int:
    """A whole number from the first to the second, small ones as often as large ones twice as far
    apart."""
    low, high = limits
    return int(low * ((high + 1) / low) ** chance.random())


def _scratches(draw: ImageDraw.ImageDraw, width: int, height: int, chance: np.random.Generator) -> None:
    for _ in range(chance.integers(1, SCRATCHES + 1)):
        corners = chance.uniform(-0.1, 1.1, (chance.integers(2, 5), 2)) * (width, height)
        draw.line([tuple(corner) for corner in corners], 255, _between(SCRATCH, chance), "curve")


def _writing(draw: ImageDraw.ImageDraw, width: int, height: int, chance: np.random.Generator) -> None:
    font = _font(_between(LETTER, chance))
    for _ in range(chance.integers(1, LINES + 1)):
        line = "".join(chance.choice(list(_LETTERS), chance.integers(4, 25)))
        corner = chance.uniform(-0.3, 0.8) * width, chance.uniform(0, 0.9) * height
        draw.text(corner, line, 255, font)


def _holes(draw: ImageDraw.ImageDraw, width: int, height: int, chance: np.random.Generator) -> None:
    for _ in range(chance.integers(1, HOLES + 1)):
        sides = np.array([_between(HOLE, chance), _between(HOLE, chance)])
        corner = chance.uniform(-0.1, 1, 2) * (width, height)
        shape = draw.ellipse if chance.random() < 0.5 else draw.rectangle
        shape([tuple(corner), tuple(corner + sides)], 255)


@functools.lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
