"""Finishing pictures: decoded samples become a PIL image with all that belongs to it."""

from __future__ import annotations

from collections.abc import Set

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bitstream.container import Container
from vaecodec.geometry import Rectangle, pixel_groups
from vaecodec.pictures import lossless, metadata


def without_loss(file: Container, region: Rectangle) -> Image.Image:
    """Decode `region` of a picture stored losslessly. Raises CorruptFile."""
    header = file.header
    image = lossless.decode(file.streams[0], header.height, header.width)
    if header.grey and header.alpha:
        image = Image.merge("LA", [image.convert("RGBA").getchannel(c) for c in "GA"])
    elif header.grey:
        image = image.getchannel("G")
    else:
        image = image.convert("RGBA" if header.alpha else "RGB")
    image = image.crop((region.left, region.top, region.right, region.bottom))
    return _finished(image, file, region, frozenset())


def with_loss(
    file: Container,
    region: Rectangle,
    samples: Tensor,
    alpha: np.ndarray | None,
    lost: Set[int],
) -> Image.Image:
    """Assemble `region` of a picture from its samples (uint8, H x W x 3, or H x W if grey) and its
    transparency (uint8, H x W, or None). `lost`: numbers of the groups to report as filled in."""
    image = Image.fromarray(samples.cpu().numpy())
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    return _finished(image, file, region, lost)


def as_tensor(samples: np.ndarray | Tensor, alpha: np.ndarray | None = None) -> Tensor:
    """Combine samples (uint8, H x W x C, or H x W if grey) and transparency (uint8, H x W), if any,
    into one tensor, C x H x W, on the device of the samples."""
    tensor = torch.as_tensor(samples)
    tensor = tensor[None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)
    if alpha is not None:
        tensor = torch.cat((tensor, torch.from_numpy(alpha).to(tensor.device)[None]))
    tensor = tensor.contiguous()
    # A view of a batch would keep all of it alive.
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def reduced(image: Image.Image, factor: int) -> Image.Image:
    """Reduce a decoded picture, averaging `factor` x `factor` samples into one."""
    small = image.reduce(factor)
    if "lost" in small.info:
        small.info["lost"] = [
            (left // factor, upper // factor, -(-right // factor), -(-lower // factor))
            for left, upper, right, lower in small.info["lost"]
        ]
    return small


def _finished(image: Image.Image, file: Container, region: Rectangle, lost: Set[int]) -> Image.Image:
    image.info = {}
    image.info.update(metadata.to_info(file.metadata))
    if file.trailing:
        image.info["trailing_bytes"] = file.trailing
    if lost or file.damage:
        groups = list(pixel_groups(file.header.height, file.header.width))
        parts = [groups[number].intersection(region) for number in sorted(lost)]
        inside = [part.within(region) for part in parts if part is not None]
        image.info["damage"] = file.damage or "a group that is intact cannot be decoded"
        image.info["lost"] = [(r.left, r.top, r.right, r.bottom) for r in inside]
    return image
