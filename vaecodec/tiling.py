"""Groups of latent positions, and the halo that makes a transform of one group seamless."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitstream.container import GROUP_PIXELS
from vaecodec.model.config import LATENT_STRIDE

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


def groups(rows: int, columns: int, side: int = GROUP) -> Iterator[Rectangle]:
    """Every group of a latent of `rows` x `columns`, in raster order. `side`: of a group."""
    for top in range(0, rows, side):
        for left in range(0, columns, side):
            yield Rectangle(top, left, min(top + side, rows), min(left + side, columns))


def pixel_groups(height: int, width: int) -> Iterator[Rectangle]:
    """The same groups in pixels."""
    return groups(height, width, GROUP_PIXELS)
