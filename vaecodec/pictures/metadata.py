"""What a picture carries besides its samples: colour profile, EXIF and XMP, kept byte for byte.

Only two things change. The orientation is applied to the samples, so both places that may name one are
set to "upright", in place. A repaired picture loses its thumbnail, which shows it as it was.
"""

from __future__ import annotations

import contextlib
import re
import struct
from math import isfinite
from numbers import Real

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from vaecodec.quality import as_float

EXIF_PREFIX = b"Exif\0\0"
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ORIENTATION_TAG = 0x0112
#: Offset and length of the thumbnail: as JPEG, and uncompressed.
_THUMBNAIL_TAGS = (0x0201, 0x0202), (0x0111, 0x0117)
#: TIFF's integer types: BYTE, SHORT, LONG, and the signed ones.
_INTEGER_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|\s*>\s*))[1-8]")

#: Where Pillow keeps metadata in `Image.info`; `Image.save` takes it by the same names.
_INFO_KEYS = {"icc": "icc_profile", "exif": "exif", "xmp": "xmp"}
#: What Pillow writes into files of each format.
_WRITTEN = {
    "PNG": {"icc", "exif", "xmp"},
    "JPEG": {"icc", "exif", "xmp"},
    "WEBP": {"icc", "exif", "xmp"},
    "AVIF": {"icc", "exif", "xmp"},
    "TIFF": {"icc", "exif"},
}
#: What else a picture may carry, by its key in `Image.info`.
_OTHERS = {
    "dpi": "pixel density",
    "gamma": "gamma",
    "chromaticity": "chromaticities",
    "comment": "a comment",
    "photoshop": "Photoshop resources (IPTC)",
    "Raw profile type iptc": "IPTC data",
    "mp": "further pictures (MPF)",
}
#: The same for some tags of TIFF files.
_OTHER_TAGS = {33723: "Raw profile type iptc", 34377: "photoshop"}
#: Tags of TIFF files that belong to EXIF: who, what, when and with what, and orientation.
_TIFF_TAGS = {
    ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model,
    ExifTags.Base.Orientation, ExifTags.Base.Software, ExifTags.Base.DateTime,
    ExifTags.Base.Artist, ExifTags.Base.Copyright,
}  # fmt: skip
#: JPEG keeps EXIF and XMP in one segment each, of at most this many bytes, after a prefix.
_JPEG_SEGMENT = 2**16 - 3
_JPEG_PREFIXES = {"exif": EXIF_PREFIX, "xmp": b"http://ns.adobe.com/xap/1.0/\0"}
_WORDS = {"icc": "colour profile", "exif": "EXIF data", "xmp": "XMP data"}


def of_image(image: Image.Image) -> tuple[dict[str, bytes], list[str]]:
    """Return whichever of "icc", "exif" (without the prefix it has in JPEG) and "xmp" are present, with
    upright orientation; and, in words, what else the picture carries."""
    found = {name: image.info.get(key) for name, key in _INFO_KEYS.items()}
    for name in ("exif", "xmp"):
        found[name] = found[name] or _raw_profile(image, name)
    if image.format == "TIFF":
        found["exif"] = _exif_of_tags(image)
    metadata = {
        name: bytes(value) for name, value in found.items() if isinstance(value, bytes) and value
    }
    if "exif" in metadata:
        exif = metadata["exif"]
        while exif.startswith(EXIF_PREFIX):  # some writers add it twice
            exif = exif.removeprefix(EXIF_PREFIX)
        metadata["exif"] = upright_exif(exif)
    if "xmp" in metadata:
        metadata["xmp"] = _XMP_ORIENTATION.sub(rb"\g<1>1", metadata["xmp"])
    told = {key for key in _OTHERS if _is_told(image.info.get(key))}
    told |= {key for tag, key in _OTHER_TAGS.items() if tag in getattr(image, "tag_v2", {})}
    return metadata, [words for key, words in _OTHERS.items() if key in told] + _text(image)


def _text(image: Image.Image) -> list[str]:
    """In words, whether a PNG file has text besides metadata that was written as text."""
    if image.format != "PNG":
        return []
    known = {"comment", "xmp", "XML:com.adobe.xmp"}
    texts = {str(key) for key, value in image.info.items() if isinstance(value, str)} - known
    return ["text"] if any(not key.startswith("Raw profile type ") for key in texts) else []


def orientation_of(image: Image.Image) -> int:
    """How a picture is stored, as EXIF numbers it (1, upright, to 8): what its EXIF says, else XMP."""
    try:
        exif = image.getexif()
        if ExifTags.Base.Orientation in exif:
            return int(exif[ExifTags.Base.Orientation])
    except Exception:  # Pillow raises anything on damaged EXIF data, which then counts as none
        return 1
    xmp = image.info.get("xmp") or _raw_profile(image, "xmp")
    # Pillow turns TIFF files by itself.
    found = _XMP_ORIENTATION.search(xmp) if isinstance(xmp, bytes) and image.format != "TIFF" else None
    return int(found[0][-1:]) if found else 1


def _is_told(value: object) -> bool:
    """Whether an entry of `Image.info` says anything: writers that know no density put 72 dpi."""
    if isinstance(value, tuple):
        numbers = [as_float(v) for v in value if isinstance(v, Real)]
        return any(isfinite(v) and round(v) not in (0, 1, 72) for v in numbers)
    return value is not None and not (isinstance(value, bytes) and not value)


def unread_chunks(data: bytes) -> list[str]:
    """Return, in words, what a PNG file says about its colours that Pillow does not read."""
    head = data[: data.find(b"IDAT")] if data.startswith(b"\x89PNG") else b""
    return ["cICP (how its colours are coded)"] if b"cICP" in head else []


def drop_unfit_profile(metadata: dict[str, bytes], *, grey: bool) -> list[str]:
    """Remove from `metadata` a colour profile that does not fit the samples, and say so in words."""
    profile = metadata.get("icc")
    if profile is None or profile_fits(profile, grey=grey):
        return []
    del metadata["icc"]
    return ["a colour profile that cannot be used"]


def profile_fits(profile: bytes, *, grey: bool) -> bool:
    """Whether `profile` is an ICC profile, and for the colour space of the samples."""
    return profile[36:40] == b"acsp" and profile[16:20] == (b"GRAY" if grey else b"RGB ")


def _raw_profile(image: Image.Image, name: str) -> bytes | None:
    """Metadata as ImageMagick keeps it in the text of PNG files: in hexadecimal, after three lines."""
    text = image.info.get(f"Raw profile type {name}")
    if not isinstance(text, str):
        return None
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return None


def _exif_of_tags(image: Image.Image) -> bytes | None:
    """Make EXIF data from what a picture's tags say about it, not about the layout of its file."""
    exif = Image.Exif()
    try:
        tags = image.getexif()
        for tag, value in tags.items():
            if tag in _TIFF_TAGS:
                exif[tag] = value
        for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            if entries := dict(tags.get_ifd(directory)):
                exif[directory] = entries
        return exif.tobytes() if len(exif) else None
    except Exception:  # Pillow raises anything on damaged EXIF data, which then counts as none
        return None


def upright_exif(exif: bytes) -> bytes:
    """Return EXIF data with every orientation of the main image, of whatever integer type, set to 1.

    Everything else stays where it is; what is not EXIF data is returned unchanged.
    """
    order = _BYTE_ORDERS.get(exif[:4])
    if order is None:
        return exif
    changed = bytearray(exif)
    with contextlib.suppress(struct.error):  # the data ends inside a field: nothing more to set
        (start,) = struct.unpack_from(order + "I", exif, 4)
        for entry in _entries(exif, order, start):
            tag, kind, number = struct.unpack_from(order + "HHI", exif, entry)
            if tag == _ORIENTATION_TAG and number == 1 and kind in _INTEGER_TYPES:
                struct.pack_into(order + _INTEGER_TYPES[kind], changed, entry + 8, 1)
    return bytes(changed)


def without_thumbnail(exif: bytes) -> bytes:
    """Return EXIF data without its thumbnail, which a second directory describes: the link to that is
    cut, and the bytes of the thumbnail are set to 0 if they lie behind that directory.

    Copies elsewhere (in a camera maker's notes) stay. What is not EXIF data is returned unchanged.
    """
    order = _BYTE_ORDERS.get(exif[:4])
    if order is None:
        return exif
    changed = bytearray(exif)
    with contextlib.suppress(struct.error):  # the data ends inside a field: nothing more to take out
        (start,) = struct.unpack_from(order + "I", exif, 4)
        link = _entries(exif, order, start).stop
        (second,) = struct.unpack_from(order + "I", exif, link)
        if not second:
            return exif
        struct.pack_into(order + "I", changed, link, 0)
        entries = _entries(exif, order, second)
        found = {}
        for entry in entries:
            tag, kind, number = struct.unpack_from(order + "HHI", exif, entry)
            if number == 1 and kind in _INTEGER_TYPES:
                (found[tag],) = struct.unpack_from(order + _INTEGER_TYPES[kind], exif, entry + 8)
        for where, length in _THUMBNAIL_TAGS:
            offset = found.get(where, 0)
            end = min(offset + found.get(length, 0), len(exif))
            if max(link, entries.stop) + 4 <= offset < end:
                changed[offset:end] = bytes(end - offset)
    return bytes(changed)


def _entries(exif: bytes, order: str, directory: int) -> range:
    """Return the offsets of a directory's entries; `stop` is where the offset of the next directory is
    stored. Raises struct.error."""
    (count,) = struct.unpack_from(order + "H", exif, directory)
    return range(directory + 2, directory + 2 + 12 * count, 12)


def to_info(metadata: dict[str, bytes]) -> dict[str, bytes]:
    """Return metadata as Pillow keeps it in `Image.info`."""
    info = {_INFO_KEYS[name]: value for name, value in metadata.items()}
    if "exif" in info:
        info["exif"] = EXIF_PREFIX + info["exif"]
    return info


def save_options(image: Image.Image, file_format: str) -> tuple[dict[str, object], list[str]]:
    """Return the arguments of `Image.save` that keep the metadata of a decoded picture, and, in words,
    what this format cannot keep."""
    carried = {name: image.info[key] for name, key in _INFO_KEYS.items() if key in image.info}
    kept = set(_WRITTEN.get(file_format, set()))
    words = dict(_WORDS)
    # Pillow stores these grey pictures as RGB.
    coloured = file_format == "WEBP" or (file_format == "AVIF" and image.mode == "LA")
    grey = image.mode in ("L", "LA") and not coloured
    if "icc" in carried and not profile_fits(carried["icc"], grey=grey):
        words["icc"] = "colour profile that does not fit the picture"
        kept.discard("icc")
    if "exif" in carried and not _can_be_read(carried["exif"]):
        words["exif"] = "damaged EXIF data"
        kept.discard("exif")
    if file_format == "JPEG":
        for name, prefix in _JPEG_PREFIXES.items():
            room = _JPEG_SEGMENT - len(prefix)
            if len(carried.get(name, b"").removeprefix(prefix)) > room:
                words[name] = f"{_WORDS[name]} as long as here"
                kept.discard(name)
    options: dict[str, object] = {_INFO_KEYS[n]: value for n, value in carried.items() if n in kept}
    options.setdefault(_INFO_KEYS["icc"], None)  # else some writers take that of `image.info`
    if file_format == "TIFF" and "exif" in options:
        # Pillow would write tags about the layout of another file, in place of its own.
        del options["exif"]
        if (exif := _exif_of_tags(image)) is not None:
            options["exif"] = exif
    if file_format == "PNG" and "xmp" in options:
        chunk = PngInfo()
        chunk.add_itxt("XML:com.adobe.xmp", carried["xmp"].decode("utf-8", "replace"))
        del options["xmp"]
        options["pnginfo"] = chunk
    return options, [words[name] for name in carried if name not in kept]


def _can_be_read(exif: bytes) -> bool:
    """Whether Pillow can parse EXIF data, as it does when it writes some formats."""
    try:
        parsed = Image.Exif()
        parsed.load(exif)
        parsed.tobytes()
    except Exception:  # Pillow raises anything on damaged EXIF data
        return False
    return True
