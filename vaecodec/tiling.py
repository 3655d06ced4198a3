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
    """Rows top..bottom and columns left..right (ends excluded), in latent positions."""

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

    def slices(self, scale: int = 1) -> tuple[slice, slice]:
        """Row and column slices, of an array with `scale` entries per position."""
        return (
            slice(self.top * scale, self.bottom * scale),
            slice(self.left * scale, self.right * scale),
        )

    def within(self, outer: Rectangle) -> Rectangle:
        """The same rectangle in coordinates that start at the corner of `outer`."""
        return Rectangle(
            self.top - outer.top, self.left - outer.left,
            self.bottom - outer.top, self.right - outer.left,
        )  # fmt: skip


def groups(rows: int, columns: int) -> Iterator[Rectangle]:
    """Every group of a latent of `rows` x `columns`, in raster order."""
    for top in range(0, rows, GROUP):
        for left in range(0, columns, GROUP):
            yield Rectangle(top, left, min(top + GROUP, rows), min(left + GROUP, columns))
