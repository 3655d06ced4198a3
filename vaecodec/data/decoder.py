"""One `.vae` file to a tensor: the whole picture, or a random part of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

import vaecodec
from bitstream import container
from bitstream.errors import BadType, BadValue
from vaecodec.codec import check_reduce, pick_device
from vaecodec.data.samples import check_mode, in_mode
from vaecodec.model import registry
from vaecodec.pictures.finishing import as_tensor
from vaecodec.quality import check_whole
from vaecodec.sources import Source, naming, read_source

EXTENSION = ".vae"


class VaeDecoder:
    """Decodes `.vae` files to tensors; passed to `decode` of a `webdataset.WebDataset`, the files in
    its shards:

        webdataset.WebDataset("photos-{00..07}.tar").decode(VaeDecoder(crop=224)).to_tuple("vae", "cls")

    A tensor is uint8, C x H x W, 0..255.

    - `crop`: (height, width), or one number for both, in pixels of the picture: decode a random box of
      this size, each possible one equally often. Groups of 1024 x 1024 pixels outside it are not
      decoded. The box comes from torch's generator, as seeded in the workers of a `DataLoader`.
    - `reduce`: 1, 2, 4 or 8; after the crop, average this many samples along each axis into one:
      `crop=(224, 224), reduce=2` gives 112 x 112. Sizes are rounded up.
    - `mode`: "RGB" (grey in all three channels, transparency left out), "L", "LA", "RGBA", or None for
      that of each file; C is 3, 1, 2 or 4.
    - `max_pixels`, `model`: as for `vaecodec.decode`.
    - `device`: where files are decoded. Tensors are in main memory; forked workers can use the CPU
      only.

    Weights are loaded on first use, once per process; a pickled decoder carries its arguments. Raises
    BadValue, BadType, UnknownModel or VaeError for invalid arguments.
    """

    def __init__(
        self,
        *,
        crop: int | tuple[int, int] | None = None,
        reduce: int = 1,
        mode: str | None = "RGB",
        max_pixels: int = container.MAX_PIXELS,
        model: str | os.PathLike[str] | None = None,
        device: str = "cpu",
    ) -> None:
        reduce = check_reduce(reduce)
        check_mode(mode)
        max_pixels = check_whole("max_pixels", max_pixels, 1, sys.maxsize)
        self.crop = None if crop is None else _size(crop)
        self.reduce = reduce
        self.mode = mode
        self.max_pixels = max_pixels
        if not isinstance(model, (str, os.PathLike, type(None))):
            raise BadType(f"a model is named by a string or a path, not {type(model).__name__}")
        registry.find(model)
        pick_device(device)
        self.model = None if model is None else os.fspath(model)
        self.device = device

    def decode(self, source: Source) -> Tensor:
        """Decode a `.vae` file (path, bytes or file object), or a crop of it: uint8, C x H x W.

        Raises BadValue for a picture smaller than the crop, and what `vaecodec.decode` raises; the
        error names the file if its name is known.
        """
        data, name = read_source(source)
        with naming(name):
            box = None
            if self.crop is not None:
                header = container.parse(data, self.max_pixels, head_only=True).header
                box = random_box(header.width, header.height, self.crop)
            image = vaecodec.decode(
                data,
                box=box,
                reduce=self.reduce,
                max_pixels=self.max_pixels,
                model=self.model,
                device=self.device,
            )
        return in_mode(as_tensor(np.array(image)), self.mode)

    def __call__(self, key: str, data: bytes) -> Tensor | None:
        """What `decode` returns if the file's name ends in `.vae`, else None, as webdataset asks of a
        decoder. webdataset's DecodingError has the `url` and `key` of what failed, and the VaeError as
        its cause; `decode(..., handler=webdataset.ignore_and_continue)` goes on without it."""
        return self.decode(data) if key.lower().endswith(EXTENSION) else None


def random_box(width: int, height: int, crop: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, upper, right and lower edge of a random box of size `crop` (height, width) in a picture,
    drawn from torch's generator. Raises BadValue if it does not fit."""
    down, across = crop
    if down > height or across > width:
        raise BadValue(
            f"the picture of {width} x {height} is smaller than the crop of {across} x {down} (width "
            "x height)"
        )
    upper = int(torch.randint(height - down + 1, ()))
    left = int(torch.randint(width - across + 1, ()))
    return left, upper, left + across, upper + down


def _size(crop: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width. Raises BadType or BadValue."""
    pair = crop if isinstance(crop, Sequence) and not isinstance(crop, str) else (crop, crop)
    if len(pair) != 2:
        raise BadType(f"crop must be (height, width) or one number, not {crop!r}")
    height, width = (
        check_whole(f"the {name} of crop", side, 1, container.MAX_SIDE)
        for name, side in zip(("height", "width"), pair, strict=True)
    )
    return height, width
