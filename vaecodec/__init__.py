"""vaecodec: a learned image codec. Photographs to small `.vae` files and back.

    import vaecodec
    data = vaecodec.encode("photo.png", quality=60)
    image = vaecodec.decode(data)

Importing this package is cheap; torch and the weights are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from bitstream.container import MAX_PIXELS
from bitstream.errors import (
    BadImage,
    BadType,
    BadValue,
    CorruptFile,
    LimitExceeded,
    NoSuchFile,
    NotAVaeFile,
    TruncatedFile,
    UnknownModel,
    UnsupportedVersion,
    VaeError,
)
from vaecodec.quality import DEFAULT_EFFORT, DEFAULT_QUALITY

if TYPE_CHECKING:
    import os

    from PIL import Image

    from vaecodec.codec import Codec
    from vaecodec.describe import FileInfo, ModelInfo, info, models
    from vaecodec.pictures.reading import ImageLike
    from vaecodec.sources import Source
    from vaecodec.uses.embedding import embed
    from vaecodec.uses.latents import latents
    from vaecodec.uses.repair import repair
    from vaecodec.uses.sampling import sample

__version__ = "0.1.0"

__all__ = [
    "BadImage",
    "BadType",
    "BadValue",
    "Codec",
    "CorruptFile",
    "FileInfo",
    "LimitExceeded",
    "ModelInfo",
    "NoSuchFile",
    "NotAVaeFile",
    "TruncatedFile",
    "UnknownModel",
    "UnsupportedVersion",
    "VaeError",
    "decode",
    "embed",
    "encode",
    "info",
    "latents",
    "models",
    "repair",
    "sample",
]

#: Names that are imported on first use, and from where.
_LAZY = {
    "Codec": "vaecodec.codec",
    "FileInfo": "vaecodec.describe",
    "ModelInfo": "vaecodec.describe",
    "info": "vaecodec.describe",
    "models": "vaecodec.describe",
    "embed": "vaecodec.uses.embedding",
    "latents": "vaecodec.uses.latents",
    "repair": "vaecodec.uses.repair",
    "sample": "vaecodec.uses.sampling",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _codec(model: str | os.PathLike[str] | None, device: str | None) -> Codec:
    """One for all calls with these arguments, which are named alike whatever their types."""
    names = (None if value is None else str(value) for value in (model, device))
    return importlib.import_module("vaecodec.codec").kept_codec(*names)


def encode(
    image: ImageLike,
    quality: int = DEFAULT_QUALITY,
    *,
    effort: int = DEFAULT_EFFORT,
    tune: str | None = None,
    lossless: bool | None = None,
    strip: bool = False,
    denoise: float | str | None = None,
    deblock: float | str | None = None,
    target_size: int | None = None,
    target_bpp: float | None = None,
    target_psnr: float | None = None,
    target_ssimulacra2: float | None = None,
    model: str | None = None,
    device: str | None = None,
) -> bytes:
    """Encode `image` to the bytes of a `.vae` file.

    - `image`: a path, a file object or the bytes of a picture file; a PIL image; a uint8 array (H x W
      grey, H x W x 2 grey with alpha, H x W x 3 RGB or H x W x 4 RGBA); a torch tensor (C x H x W,
      uint8 or float 0..1).
    - `quality`: 1..100, by default 60.
    - `effort`: rounds of search for a better trade-off between size and quality, 0 (fastest, the
      default) to 32.
    - `tune`: "visual" (the default) weighs distortion as people see it, "psnr" as squared error.
    - `lossless`: True stores the picture without loss, False never does, None (the default) does so
      for drawings and screenshots.
    - `strip`: leave out colour profile, EXIF and XMP.
    - `denoise`: undo noise of this standard deviation (above 0, at most 50), or "auto" to find it.
    - `deblock`: undo JPEG compression of this quality (10 to 99), or "auto" for that of the file.
    - `target_size` (bytes), `target_bpp`, `target_psnr` (dB), `target_ssimulacra2`: a target to reach,
      in place of a quality.
    - `model`, `device`: see `Codec`; loaded models are kept.

    Raises VaeError; see `Codec.encode` for details.
    """
    codec = _codec(model, device)
    return codec.encode(
        image,
        quality,
        effort=effort,
        tune=tune,
        lossless=lossless,
        strip=strip,
        denoise=denoise,
        deblock=deblock,
        target_size=target_size,
        target_bpp=target_bpp,
        target_psnr=target_psnr,
        target_ssimulacra2=target_ssimulacra2,
    )


def decode(
    source: Source,
    *,
    box: tuple[int, int, int, int] | None = None,
    reduce: int = 1,
    recover: bool = False,
    max_pixels: int = MAX_PIXELS,
    model: str | None = None,
    device: str | None = None,
) -> Image.Image:
    """Decode a `.vae` file to a picture of mode "RGB", "L", "RGBA" or "LA".

    - `source`: its path, its bytes, or a file object, read from its current position.
    - `box`: left, upper, right and lower edge, in pixels, of the part to decode.
    - `reduce`: 1, 2, 4 or 8; average this many samples along each axis into one.
    - `recover`: decode what is intact of a damaged file.
    - `max_pixels`: refuse larger pictures, by default those above 2^28 pixels.
    - `model`: the path to the file's model, if that is not installed.

    Raises VaeError; see `Codec.decode` for details.
    """
    return _codec(model, device).decode(
        source, box=box, reduce=reduce, recover=recover, max_pixels=max_pixels
    )
