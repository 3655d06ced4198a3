"""Pictures out: decoded samples become a PIL image with all that belongs to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from PIL import Image

from bitstream.container import Container, Header
from bitstream.errors import CorruptFile, VaeError
from vaecodec.geometry import Rectangle, pixel_groups
from vaecodec.pictures import alpha, lossless, metadata
from vaecodec.pictures.inpaint import fill


def rectangle(region: tuple[int, int, int, int] | None, header: Header) -> Rectangle:
    """A region (left, top, width, height) in pixels; the whole picture if there is none.

    Raises VaeError if it is not within the picture.
    """
    if region is None:
        return Rectangle(0, 0, header.height, header.width)
    left, top, width, height = region
    fits = left + width <= header.width and top + height <= header.height
    if min(left, top) < 0 or min(width, height) < 1 or not fits:
        raise VaeError(
            f"the region of {width} x {height} pixels at {left},{top} is not within the picture of "
            f"{header.width} x {header.height}"
        )
    return Rectangle(top, left, top + height, left + width)


def without_loss(file: Container, region: Rectangle) -> Image.Image:
    """A picture stored without loss, within `region`. Raises CorruptFile."""
    header = file.header
    image = lossless.decode(file.streams[0], header.height, header.width)
    if header.grey and header.alpha:
        image = Image.merge("LA", [image.convert("RGBA").getchannel(c) for c in "GA"])
    elif header.grey:
        image = image.getchannel("G")
    else:
        image = image.convert("RGBA" if header.alpha else "RGB")
    image = image.crop((region.left, region.top, region.right, region.bottom))
    return _finished(image, file, set())


def with_loss(
    file: Container,
    samples: np.ndarray,
    region: Rectangle,
    failed: Mapping[int, CorruptFile],
    *,
    recover: bool = False,
) -> Image.Image:
    """A picture of which `samples` (uint8, H x W x 3, or H x W if grey) are those within `region`.

    `failed`: the groups that could not be decoded; they are filled in from their neighbours. `recover`:
    whether transparency may fail as well. Raises CorruptFile if all groups are lost, or transparency.
    """
    header = file.header
    if failed:
        if len(failed) == header.group_count:
            raise CorruptFile("no group of the picture can be decoded")
        samples = _filled(samples, failed, header, region)
    image = Image.fromarray(samples)
    lost = set(failed)
    if header.alpha:
        transparency = alpha.decode(file, region, recover=recover)
        image.putalpha(Image.fromarray(transparency.values))
        lost |= set(transparency.failed)
    return _finished(image, file, lost)


def _filled(
    samples: np.ndarray, lost: Collection[int], header: Header, region: Rectangle
) -> np.ndarray:
    known = np.ones(samples.shape[:2], dtype=bool)
    for number, group in enumerate(pixel_groups(header.height, header.width)):
        part = group.intersection(region)
        if part is not None and number in lost:
            known[part.within(region).slices()] = False
    if header.grey:
        return fill(np.repeat(samples[:, :, None], 3, axis=2), known)[:, :, 0]
    return fill(samples, known)


def _finished(image: Image.Image, file: Container, lost: set[int]) -> Image.Image:
    image.info = {}
    image.info.update(metadata.to_info(file.metadata))
    if lost or file.damage:
        groups = list(pixel_groups(file.header.height, file.header.width))
        rectangles = [groups[number] for number in sorted(lost)]
        image.info["damage"] = file.damage or "a group that is intact cannot be decoded"
        image.info["lost"] = [(r.left, r.top, r.width, r.height) for r in rectangles]
    return image
