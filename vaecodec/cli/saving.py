"""Pictures as files of the format that the user named."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from bitstream.errors import VaeError
from vaecodec.files import STANDARD_STREAM
from vaecodec.quality import LOSSY_QUALITY

if TYPE_CHECKING:
    from PIL import Image


def format_of(target: Path, standard: str = ".png") -> str:
    """Pillow's name for the format that `target` is written in; `standard`: extension of what goes to
    standard output. Raises VaeError if Pillow does not write it."""
    from vaecodec.pictures import saving

    try:
        return saving.format_of(standard if target == STANDARD_STREAM else target.suffix)
    except VaeError as error:
        raise error.in_file(str(target)) from error


def file_bytes(
    image: Image.Image, source: Path, target: Path, quality: int | None, standard: str = ".png"
) -> tuple[bytes, list[str]]:
    """A picture in the format of `target` (`standard`: as in `format_of`), and in words what that
    loses. Raises VaeError."""
    from PIL import Image

    from vaecodec.pictures.saving import LOSSY_FORMATS, saved

    notices = []
    kind = format_of(target, standard)
    try:
        data, dropped = saved(image, kind, quality or LOSSY_QUALITY)
    except VaeError as error:
        raise error.in_file(str(target)) from error
    if dropped:
        notices.append(f"{source}: {target.suffix or kind} files keep no {', no '.join(dropped)}")
    if kind in LOSSY_FORMATS and quality is None:
        notices.append(f"{target}: encoded anew, as {kind} of quality {LOSSY_QUALITY} (see -q)")
    if kind in Image.OPEN:  # Pillow leaves out without a word what a format has no room for
        files = f"{source}: {target.suffix or kind} files"
        try:
            written = Image.open(io.BytesIO(data))
        except OSError as error:
            raise VaeError("what Pillow writes in this format cannot be read").in_file(
                str(target)
            ) from error
        if image.has_transparency_data and not written.has_transparency_data:
            notices.append(f"{files} keep no transparency; white is behind the picture")
        elif image.has_transparency_data and written.mode == "P" and _is_partly_transparent(image):
            notices.append(f"{files} keep no partial transparency")
        if written.mode == "P" and image.getcolors(256) is None:
            notices.append(f"{files} keep no more than 256 colours")
        if written.size != image.size:
            notices.append(f"{target}: written as {written.width} x {written.height} pixels")
    return data, notices


def _is_partly_transparent(image: Image.Image) -> bool:
    return any(image.getchannel("A").histogram()[1:255])
