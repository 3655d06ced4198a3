"""Saving decoded pictures in the formats that Pillow writes."""

from __future__ import annotations

import contextlib
import functools
import io
import struct

from PIL import Image

from bitstream.errors import VaeError
from vaecodec.pictures.metadata import save_options

#: Lossy formats, which have a quality.
LOSSY_FORMATS = ("JPEG", "WEBP", "AVIF", "MPO", "PDF")
#: What Pillow's plugins raise for a picture that a format cannot hold.
_REFUSALS = (OSError, ValueError, SyntaxError, OverflowError, RuntimeError, struct.error)
#: Modes to try for a picture of each mode: a format may have no transparency, or no grey.
_MODES = {
    "L": ("L", "RGB"),
    "LA": ("LA", "L", "RGBA", "RGB"),
    "RGB": ("RGB",),
    "RGBA": ("RGBA", "RGB"),
}


def format_of(extension: str) -> str:
    """Pillow's name for the format with this extension. Raises VaeError if Pillow cannot write it."""
    name = Image.registered_extensions().get(extension.lower())
    if name is None or name not in Image.SAVE:
        raise VaeError("Pillow writes no image format with this extension")
    return name


def extensions() -> set[str]:
    """Extensions, in lower case, of the formats that Pillow writes."""
    return {e for e, name in Image.registered_extensions().items() if name in Image.SAVE}


def saved(image: Image.Image, kind: str, quality: int) -> tuple[bytes, list[str]]:
    """Return the bytes of a picture in a format, at this quality if it has one, and, in words, the
    metadata that it cannot keep. Where it has no transparency, white is behind the picture. Raises
    VaeError."""
    options, dropped = save_options(image, kind)
    if kind in LOSSY_FORMATS:
        options["quality"] = quality
    try:
        if image.has_transparency_data and not _keeps_transparency(kind, image.mode):
            image = _over_white(image)
        return _saved(image, kind, options), dropped
    except _REFUSALS as error:
        raise VaeError(f"cannot be written in this format ({error})") from error


@functools.cache
def _keeps_transparency(kind: str, mode: str) -> bool:
    """Whether files of this format keep transparency: whether Pillow finds it again."""
    if kind not in Image.OPEN:
        return kind == "PDF"
    data = _saved(Image.new(mode, (16, 16)), kind, {})
    with Image.open(io.BytesIO(data)) as written:
        return written.has_transparency_data


def _over_white(image: Image.Image) -> Image.Image:
    """Put a transparent picture over white: its own colours mean nothing where they do not show."""
    plain = image.convert(image.mode.removesuffix("A"))
    white = Image.new(plain.mode, image.size, "white")
    white.paste(plain, mask=image.getchannel("A"))
    return white


def _saved(image: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    """Save in the first of `_MODES` that the format takes. Raises what Pillow raises."""
    *others, last = _MODES[image.mode]
    for mode in others:
        file = io.BytesIO()
        with contextlib.suppress(*_REFUSALS):  # then the next mode is tried
            image.convert(mode).save(file, kind, **options)
            return file.getvalue()
    file = io.BytesIO()
    image.convert(last).save(file, kind, **options)
    return file.getvalue()
