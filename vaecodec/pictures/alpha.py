"""Transparency: coded losslessly, group by group, beside the latents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitstream.container import Container
from bitstream.errors import CorruptFile
from vaecodec.geometry import Rectangle, pixel_groups
from vaecodec.pictures import lossless
from vaecodec.pictures.inpaint import fill

OPAQUE = 255


@dataclass(frozen=True, kw_only=True)
class DecodedAlpha:
    """`values`: uint8, H x W. `failed`: the lost groups (opaque in `values`), and why they are lost."""

    values: np.ndarray
    failed: dict[int, CorruptFile]


def smooth_where_hidden(samples: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return `samples` (uint8, H x W x 3) with smooth colours, which cost little, where `alpha` (uint8,
    H x W) hides them."""
    return fill(samples, alpha > 0)


def encode(alpha: np.ndarray) -> list[bytes]:
    """Encode a plane (uint8, H x W): one stream per group."""
    return [lossless.encode(alpha[group.slices()]) for group in pixel_groups(*alpha.shape)]


def decode(file: Container, region: Rectangle, *, recover: bool = False) -> DecodedAlpha:
    """Decode the plane within `region` (in pixels).

    `recover`: skip groups that cannot be decoded; without it, the first raises CorruptFile.
    """
    failed = {number: CorruptFile(file.damage) for number in file.lost_alphas}
    plane = np.full((region.height, region.width), OPAQUE, dtype=np.uint8)
    for number, group in enumerate(pixel_groups(file.header.height, file.header.width)):
        part = group.intersection(region)
        if part is None or number in failed:
            continue
        try:
            whole = lossless.decode(file.alphas[number], group.height, group.width)
        except CorruptFile as error:
            failed[number] = CorruptFile(f"transparency of group {number}: {error}")
            if not recover:
                raise failed[number] from error
            continue
        samples = np.asarray(whole.getchannel("G"))
        plane[part.within(region).slices()] = samples[part.within(group).slices()]
    return DecodedAlpha(values=plane, failed=failed)
