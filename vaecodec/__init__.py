"""vaecodec: a learned image codec. Photographs to small `.vae` files and back.

    import vaecodec
    data = vaecodec.encode("photo.png", quality=60)
    image = vaecodec.decode(data)

Importing this package is cheap; torch and the weights are loaded on first use.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

from bitstream.errors import (
    BadImage,
    CorruptFile,
    LimitExceeded,
    NotAVaeFile,
    TruncatedFile,
    UnknownModel,
    UnsupportedVersion,
    VaeError,
)
from vaecodec.quality import DEFAULT_EFFORT, DEFAULT_QUALITY

if TYPE_CHECKING:
    from PIL import Image

    from vaecodec.codec import Codec
    from vaecodec.images import ImageLike

__version__ = "0.1.0"

__all__ = [
    "BadImage",
    "Codec",
    "CorruptFile",
    "LimitExceeded",
    "NotAVaeFile",
    "TruncatedFile",
    "UnknownModel",
    "UnsupportedVersion",
    "VaeError",
    "decode",
    "encode",
]


def __getattr__(name: str) -> object:
    if name == "Codec":
        return importlib.import_module("vaecodec.codec").Codec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.lru_cache(maxsize=4)
def _codec(model: str | None, device: str | None) -> Codec:
    return importlib.import_module("vaecodec.codec").Codec(model, device)


def encode(
    image: ImageLike,
    quality: int = DEFAULT_QUALITY,
    *,
    effort: int = DEFAULT_EFFORT,
    lossless: bool | None = None,
    model: str | None = None,
    device: str | None = None,
) -> bytes:
    """The bytes of a `.vae` file holding `image`.

    `image`: a PIL image, a uint8 array (H x W x 3 RGB, or H x W grey) or a path. `quality`: 1..100.
    `effort`: rounds of search for a smaller file of the same quality, 0 (fastest) to 32. `lossless`:
    store it without loss; None where that is smaller (drawings, screenshots), False
    never. `model`, `device`: see `Codec`; loaded models are kept. Raises VaeError.
    """
    return _codec(model, device).encode(image, quality, effort=effort, lossless=lossless)


def decode(data: bytes, *, model: str | None = None, device: str | None = None) -> Image.Image:
    """The picture (mode "RGB" or "L") in the bytes of a `.vae` file.

    `model`: where the file needs one that is not installed, the path to it. Raises VaeError.
    """
    return _codec(model, device).decode(data)
