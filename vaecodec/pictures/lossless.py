"""Lossless storage, as in WebP (RFC 9649): drawings, screenshots, pages of text, and the transparency
of all other pictures.

Where large areas have one colour, a lossless coder makes smaller files than any transform codec, and is
exact. The payload is the bare VP8L bitstream; libwebp, through Pillow, writes and reads it.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from bitstream.errors import CorruptFile, LimitExceeded, VaeError

#: Limits of the format: 8K screens fit, and memory stays bounded.
MAX_SIDE = 16383
MAX_PIXELS = 2**25
#: The same for messages.
LIMITS = f"the limits are {MAX_SIDE} pixels a side and {MAX_PIXELS} in all"

_HAS_ALPHA = 1 << 28
_RIFF_HEADER = 20  # "RIFF", size, "WEBP", "VP8L", size
# At most a fifth of neighbours are equal in photographs (Kodak), at least four fifths in drawings.
_FLAT = 0.5
_EVERY_ROW = 8
#: Pages dithered to a few colours have no equal neighbours, but are still smallest without loss.
_FEW_COLOURS = 64
_OPTIONS = {"lossless": True, "quality": 80, "method": 4, "exact": True}


def fits(height: int, width: int) -> bool:
    """Whether pictures of this size can be stored losslessly."""
    return max(height, width) <= MAX_SIDE and height * width <= MAX_PIXELS


def looks_drawn(samples: np.ndarray) -> bool:
    """Whether a picture (uint8, H x W x C) has enough flat areas, or few enough colours, for `encode`
    to justify its time."""
    rows = samples[::_EVERY_ROW]
    if rows.shape[1] < 2:
        return False
    flat = (rows[:, 1:] == rows[:, :-1]).all(axis=2).mean() >= _FLAT
    return bool(flat) or _colours(rows) <= _FEW_COLOURS


def _colours(samples: np.ndarray) -> int:
    """Count colours, row by row, only until there are more than `_FEW_COLOURS`."""
    weights = 256 ** np.arange(samples.shape[2], dtype=np.int64)
    seen: set[int] = set()
    for row in samples:
        seen.update(np.unique(row @ weights).tolist())
        if len(seen) > _FEW_COLOURS:
            break
    return len(seen)


def encode(samples: np.ndarray) -> bytes:
    """Encode samples (uint8, H x W grey, H x W x 3 RGB or H x W x 4 RGBA) as a VP8L bitstream.

    Raises VaeError if the picture is too large.
    """
    height, width = samples.shape[:2]
    if not fits(height, width):
        raise VaeError(
            f"a picture of {width} x {height} pixels is too large to be stored without loss; {LIMITS}"
        )
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "WEBP", **_OPTIONS)
    data = file.getvalue()
    return data[_RIFF_HEADER : _RIFF_HEADER + int.from_bytes(data[16:20], "little")]


def decode(payload: bytes, height: int, width: int) -> Image.Image:
    """Decode a VP8L bitstream into a picture of mode "RGB" or "RGBA". Raises CorruptFile, or
    LimitExceeded where Pillow's own limit is lower."""
    size = int.from_bytes(payload[1:5], "little")  # width - 1, height - 1: 14 bits each; alpha; version
    expected = width - 1 | height - 1 << 14
    if not fits(height, width) or payload[:1] != b"\x2f" or size & ~_HAS_ALPHA != expected:
        raise CorruptFile(f"the lossless chunk does not begin as one of {width} x {height} pixels does")
    chunk = b"VP8L" + len(payload).to_bytes(4, "little") + payload + bytes(len(payload) % 2)
    riff = b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk
    try:
        with Image.open(io.BytesIO(riff), formats=["WEBP"]) as image:
            image.load()
            return image.convert("RGBA" if size & _HAS_ALPHA else "RGB")
    except Image.DecompressionBombError as error:
        raise LimitExceeded(
            f"a picture of {width} x {height} is above the limit that Pillow has here"
        ) from error
    except Exception as error:  # Pillow's plugins raise anything on damaged files
        raise CorruptFile(f"the lossless chunk cannot be decoded ({error})") from error
