"""Strides of grids, rectangles of positions, and the groups in which a picture is coded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bitstream.container import GROUP_PIXELS, POSITION_PIXELS

if TYPE_CHECKING:
    from torch import Tensor

#: Pixels per latent position and per hyper-latent position, along each axis.
LATENT_STRIDE = POSITION_PIXELS
HYPER_STRIDE = 64
#: Latent positions per hyper-latent position, along each axis.
HYPER_CELL = HYPER_STRIDE // LATENT_STRIDE
#: Latent positions along a group's side.
GROUP = GROUP_PIXELS // LATENT_STRIDE


@dataclass(frozen=True)
class Rectangle:
    """Rows top..bottom and columns left..right (ends excluded), in latent positions or pixels."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def widened(self, halo: int, rows: int, columns: int) -> Rectangle:
        """Add `halo` positions on every side, as far as a latent of `rows` x `columns` goes."""
        return Rectangle(
            max(0, self.top - halo),
            max(0, self.left - halo),
            min(rows, self.bottom + halo),
            min(columns, self.right + halo),
        )

    def scaled(self, factor: int) -> Rectangle:
        """The same rectangle in units of 1/factor."""
        return Rectangle(
            self.top * factor, self.left * factor, self.bottom * factor, self.right * factor
        )

    def covering(self, factor: int) -> Rectangle:
        """The smallest rectangle, in units of `factor`, that covers this one."""
        return Rectangle(
            self.top // factor, self.left // factor, -(-self.bottom // factor), -(-self.right // factor)
        )

    def intersection(self, other: Rectangle) -> Rectangle | None:
        """What both rectangles have in common, or None."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom, right = min(self.bottom, other.bottom), min(self.right, other.right)
        return Rectangle(top, left, bottom, right) if top < bottom and left < right else None

    def slices(self) -> tuple[slice, slice]:
        """Row and column slices for indexing an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, outer: Rectangle) -> Rectangle:
        """The same rectangle in coordinates that start at the corner of `outer`."""
        return Rectangle(
            self.top - outer.top, self.left - outer.left,
            self.bottom - outer.top, self.right - outer.left,
        )  # fmt: skip


def middle(shape: Sequence[int], highest: int, widest: int) -> Rectangle:
    """The middle of a picture (`shape`: H, W, ...), at most `highest` x `widest`."""
    height, width = shape[:2]
    top, left = max(0, (height - highest) // 2), max(0, (width - widest) // 2)
    return Rectangle(top, left, min(height, top + highest), min(width, left + widest))


def groups(rows: int, columns: int, side: int = GROUP) -> Iterator[Rectangle]:
    """Yield every group of a latent of `rows` x `columns`, in raster order. `side`: side of a group."""
    for top in range(0, rows, side):
        for left in range(0, columns, side):
            yield Rectangle(top, left, min(top + side, rows), min(left + side, columns))


def pixel_groups(height: int, width: int) -> Iterator[Rectangle]:
    """Yield every group of a picture, in pixels."""
    return groups(height, width, GROUP_PIXELS)


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a picture's latent."""
    return -(-height // LATENT_STRIDE), -(-width // LATENT_STRIDE)


def whole_positions(height: int, width: int) -> tuple[int, int]:
    """Height and width in pixels, rounded up to whole latent positions. Pictures that are equal in them
    can pass through the networks together."""
    rows, columns = latent_size(height, width)
    return LATENT_STRIDE * rows, LATENT_STRIDE * columns


@dataclass(frozen=True, kw_only=True)
class Window:
    """A group, and the surroundings that its transforms also read.

    `group`: in latent positions of the picture. `outer`: the same with its surroundings.
    """

    group: Rectangle
    outer: Rectangle

    @property
    def inner(self) -> Rectangle:
        """The group in coordinates of `outer`, without padding beyond the picture."""
        return self.group.within(self.outer)

    def latent(self, latent: Tensor) -> Tensor:
        """The group's part of a latent of the window (N x h x w x M)."""
        return latent[:, *self.inner.slices()]

    def hyper(self, hyper: Tensor) -> Tensor:
        """The group's part of a hyper-latent of the window (N x h/4 x w/4 x Z)."""
        return hyper[:, *self.inner.covering(HYPER_CELL).slices()]


def windows(rows: int, columns: int, halo: int) -> Iterator[Window]:
    """Yield the window of every group of a latent of `rows` x `columns`, in raster order. `halo`:
    positions around the group, a multiple of HYPER_CELL."""
    for group in groups(rows, columns):
        yield Window(group=group, outer=group.widened(halo, rows, columns))
