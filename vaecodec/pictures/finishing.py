"""Pictures out: decoded samples become a PIL image with all that belongs to it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from bitstream.container import Container, Header
from bitstream.errors import CorruptFile, VaeError
from vaecodec.pictures import alpha, lossless, metadata
from vaecodec.pictures.inpaint import fill
from vaecodec.tiling import Rectangle, pixel_groups


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
    file: Container, samples: np.ndarray, region: Rectangle, lost: set[int] | None
) -> Image.Image:
    """A picture of which `samples` (uint8, H x W x 3, or H x W if grey) are those within `region`.

    `lost`: the groups that could not be decoded, which are filled in from their neighbours; None
    where there may not be any. Raises CorruptFile if all are.
    """
    header = file.header
    if lost:
        if len(lost) == header.group_count:
            raise CorruptFile("no group of the picture can be decoded")
        samples = _filled(samples, lost, header, region)
    image = Image.fromarray(samples)
    if header.alpha:
        opaque = None if lost is None else set(file.lost_alphas)
        image.putalpha(Image.fromarray(alpha.decode(file, region, opaque)))
        lost = (lost or set()) | (opaque or set())
    return _finished(image, file, lost or set())


def _filled(samples: np.ndarray, lost: set[int], header: Header, region: Rectangle) -> np.ndarray:
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
