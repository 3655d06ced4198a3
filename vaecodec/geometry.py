"""Where things lie: strides of grids, rectangles of positions, and the groups a picture is coded in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bitstream.container import GROUP_PIXELS

if TYPE_CHECKING:
    from torch import Tensor

#: Pixels per latent position and per hyper-latent position, along each axis.
LATENT_STRIDE = 16
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
        """With `halo` more positions on every side, as far as a latent of `rows` x `columns` goes."""
        return Rectangle(
            max(0, self.top - halo),
            max(0, self.left - halo),
            min(rows, self.bottom + halo),
            min(columns, self.right + halo),
        )

    def scaled(self, factor: int) -> Rectangle:
        """The same in units of 1/factor."""
        return Rectangle(
            self.top * factor, self.left * factor, self.bottom * factor, self.right * factor
        )

    def covering(self, factor: int) -> Rectangle:
        """The smallest one in units of `factor` that covers this one."""
        return Rectangle(
            self.top // factor, self.left // factor, -(-self.bottom // factor), -(-self.right // factor)
        )

    def intersection(self, other: Rectangle) -> Rectangle | None:
        """What both have in common, if anything."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom, right = min(self.bottom, other.bottom), min(self.right, other.right)
        return Rectangle(top, left, bottom, right) if top < bottom and left < right else None

    def slices(self) -> tuple[slice, slice]:
        """Row and column slices of an array of what is counted here."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, outer: Rectangle) -> Rectangle:
        """The same rectangle in coordinates that start at the corner of `outer`."""
        return Rectangle(
            self.top - outer.top, self.left - outer.left,
            self.bottom - outer.top, self.right - outer.left,
        )  # fmt: skip


def middle(shape: Sequence[int], highest: int, widest: int) -> Rectangle:
    """The middle of a picture (`shape`: H, W, ...), at most so high and wide."""
    height, width = shape[:2]
    top, left = max(0, (height - highest) // 2), max(0, (width - widest) // 2)
    return Rectangle(top, left, min(height, top + highest), min(width, left + widest))


def groups(rows: int, columns: int, side: int = GROUP) -> Iterator[Rectangle]:
    """Every group of a latent of `rows` x `columns`, in raster order. `side`: of a group."""
    for top in range(0, rows, side):
        for left in range(0, columns, side):
            yield Rectangle(top, left, min(top + side, rows), min(left + side, columns))


def pixel_groups(height: int, width: int) -> Iterator[Rectangle]:
    """The same groups in pixels."""
    return groups(height, width, GROUP_PIXELS)


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the latent of a picture."""
    return -(-height // LATENT_STRIDE), -(-width // LATENT_STRIDE)


def whole_positions(height: int, width: int) -> tuple[int, int]:
    """Height and width in pixels of a picture that goes on to the end of its last latent positions:
    pictures equal in them pass through the networks together."""
    rows, columns = latent_size(height, width)
    return LATENT_STRIDE * rows, LATENT_STRIDE * columns


@dataclass(frozen=True, kw_only=True)
class Window:
    """A group in what surrounds it, which the transforms of the group look at.

    `group`: in latent positions of the picture. `outer`: the same with what surrounds it.
    """

    group: Rectangle
    outer: Rectangle

    @property
    def inner(self) -> Rectangle:
        """The group in coordinates of `outer`, as far as the picture goes."""
        return self.group.within(self.outer)

    def latent(self, latent: Tensor) -> Tensor:
        """The group's part of a latent of the window (N x h x w x M)."""
        return latent[:, *self.inner.slices()]

    def hyper(self, hyper: Tensor) -> Tensor:
        """The group's part of a hyper-latent of the window (N x h/4 x w/4 x Z)."""
        return hyper[:, *self.inner.covering(HYPER_CELL).slices()]


def windows(rows: int, columns: int, halo: int) -> Iterator[Window]:
    """The window of every group of a latent of `rows` x `columns`, in raster order, with `halo`
    positions, a multiple of HYPER_CELL, around the group."""
    for group in groups(rows, columns):
        yield Window(group=group, outer=group.widened(halo, rows, columns))
