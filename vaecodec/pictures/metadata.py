"""What a picture carries beside its samples: colour profile, EXIF and XMP, kept byte for byte.

Only the orientation changes: it is applied to the samples, so both places that may name one are set
to "upright" in place.
"""

from __future__ import annotations

import re
import struct

from PIL import Image
from PIL.PngImagePlugin import PngInfo

EXIF_PREFIX = b"Exif\0\0"
_ORIENTATION_TAG = 0x0112
_SHORT = 3
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|\s*>\s*))[1-8]")

#: Where Pillow keeps them in `Image.info`; `Image.save` takes them by the same names.
_INFO_KEYS = {"icc": "icc_profile", "exif": "exif", "xmp": "xmp"}
#: What Pillow writes into files of each format.
_WRITTEN = {
    "PNG": {"icc", "exif", "xmp"},
    "JPEG": {"icc", "exif", "xmp"},
    "WEBP": {"icc", "exif", "xmp"},
    "AVIF": {"icc", "exif", "xmp"},
    "TIFF": {"icc", "exif"},
}
_WORDS = {"icc": "colour profile", "exif": "EXIF data", "xmp": "XMP data"}


def of_image(image: Image.Image) -> dict[str, bytes]:
    """What there is of "icc", "exif" (without the prefix it has in JPEG) and "xmp", upright."""
    found = {name: image.info.get(key) for name, key in _INFO_KEYS.items()}
    metadata = {
        name: bytes(value) for name, value in found.items() if isinstance(value, bytes) and value
    }
    if "exif" in metadata:
        metadata["exif"] = upright_exif(metadata["exif"].removeprefix(EXIF_PREFIX))
    if "xmp" in metadata:
        metadata["xmp"] = _XMP_ORIENTATION.sub(rb"\g<1>1", metadata["xmp"])
    return metadata


def upright_exif(exif: bytes) -> bytes:
    """EXIF data with the orientation of the main image, if there is one, set to 1.

    Everything else stays where it is; what is no EXIF data is returned as it came.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    try:
        if order is None:
            return exif
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", exif, entry)
            if (tag, kind, number) == (_ORIENTATION_TAG, _SHORT, 1):
                changed = bytearray(exif)
                struct.pack_into(order + "H", changed, entry + 8, 1)
                return bytes(changed)
    except struct.error:  # the data ends inside a field: nothing to set
        return exif
    return exif


def to_info(metadata: dict[str, bytes]) -> dict[str, bytes]:
    """The entries of `Image.info` under which Pillow keeps the same."""
    info = {_INFO_KEYS[name]: value for name, value in metadata.items()}
    if "exif" in info:
        info["exif"] = EXIF_PREFIX + info["exif"]
    return info


def save_options(image: Image.Image, file_format: str) -> tuple[dict[str, object], list[str]]:
    """Arguments of `Image.save` that keep the metadata of a decoded picture, and in words what this
    format cannot keep."""
    carried = {name: image.info[key] for name, key in _INFO_KEYS.items() if key in image.info}
    kept = _WRITTEN.get(file_format, set())
    options: dict[str, object] = {_INFO_KEYS[n]: value for n, value in carried.items() if n in kept}
    if file_format == "PNG" and "xmp" in options:
        chunk = PngInfo()
        chunk.add_itxt("XML:com.adobe.xmp", carried["xmp"].decode("utf-8", "replace"))
        del options["xmp"]
        options["pnginfo"] = chunk
    return options, [_WORDS[name] for name in carried if name not in kept]
