"""Transparency: coded without loss, group by group, beside the latents."""

from __future__ import annotations

import numpy as np

from bitstream.container import Container
from bitstream.errors import CorruptFile
from vaecodec.pictures import lossless
from vaecodec.tiling import Rectangle, pixel_groups

OPAQUE = 255


def encode(alpha: np.ndarray) -> list[bytes]:
    """The stream of every group of a plane (uint8, H x W)."""
    return [lossless.encode(alpha[group.slices()]) for group in pixel_groups(*alpha.shape)]


def decode(file: Container, region: Rectangle, lost: set[int] | None = None) -> np.ndarray:
    """The plane (uint8, height x width) within `region`, in pixels.

    `lost`: groups to leave opaque; those that turn out not to be decodable are added to it (if it is
    None, they raise CorruptFile).
    """
    plane = np.full((region.height, region.width), OPAQUE, dtype=np.uint8)
    for number, group in enumerate(pixel_groups(file.header.height, file.header.width)):
        part = group.intersection(region)
        if part is None or (lost and number in lost):
            continue
        try:
            whole = lossless.decode(file.alphas[number], group.height, group.width)
        except CorruptFile as error:
            if lost is None:
                raise CorruptFile(f"transparency of group {number}: {error}") from error
            lost.add(number)
            continue
        samples = np.asarray(whole.getchannel("G"))
        plane[part.within(region).slices()] = samples[part.within(group).slices()]
    return plane
