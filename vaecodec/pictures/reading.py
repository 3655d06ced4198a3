"""Pictures in: everything `encode` accepts, as 8-bit samples, transparency and metadata."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Union

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from bitstream.container import GREY, GREY_ALPHA, MAX_PIXELS, RGB, RGB_ALPHA
from bitstream.errors import BadImage, LimitExceeded, VaeError
from vaecodec.pictures import metadata as meta
from vaecodec.pictures.alpha import OPAQUE


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What is coded of a picture.

    `samples`: uint8, H x W x 3, upright. `grey`: all three are equal. `alpha`: uint8, H x W, or None if
    there is no transparency. `metadata`: what there is of "icc", "exif" and "xmp". `notices`: in
    words, what of the original is not kept.
    """

    samples: np.ndarray
    grey: bool
    alpha: np.ndarray | None = None
    metadata: dict[str, bytes] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def colour(self) -> int:
        """The colour mode as the header names it."""
        if self.grey:
            return GREY if self.alpha is None else GREY_ALPHA
        return RGB if self.alpha is None else RGB_ALPHA

    def stripped(self) -> Picture:
        """Without metadata."""
        return replace(self, metadata={})


ImageLike = Union[Image.Image, np.ndarray, str, "os.PathLike[str]", Picture]

_GREY_MODES = {"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N"}
_DEEP_MODES = {"I;16", "I;16B", "I;16L", "I;16N"}
_UNBOUNDED_MODES = {"I", "F"}
_DEEP_NOTICE = "16 bits per sample (reduced to 8)"


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """An open picture file; whatever goes wrong with it becomes a BadImage naming the file."""
    name = os.fspath(path)
    try:
        if Path(name).stat().st_size == 0:
            raise BadImage("the file is empty")
        with Image.open(name) as image:
            yield image
    except UnidentifiedImageError as error:
        raise BadImage(f"{name}: not an image in a format that can be read") from error
    except VaeError as error:
        raise type(error)(f"{name}: {error}") from error
    except Image.DecompressionBombError as error:
        raise LimitExceeded(f"{name}: {error}") from error
    except OSError as error:
        raise BadImage(f"{name}: {error.strerror or error}") from error
    except Exception as error:  # Pillow's plugins raise anything on damaged files
        raise BadImage(f"{name}: a damaged image ({error})") from error


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """Read a picture file completely. Raises BadImage naming the file and the cause."""
    with _opened(path) as image:
        image.load()
        return image


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """What is coded of a picture file. Raises as `open_image`."""
    with _opened(path) as image:
        return _from_image(image)


def to_picture(image: ImageLike) -> Picture:
    """What is coded of a picture. Raises BadImage for what is none, LimitExceeded if it is too large.

    EXIF orientation is applied. Palettes become RGB, CMYK becomes sRGB through its profile, 16 bits
    per sample become 8, of an animation the first frame is taken; `notices` says so.
    """
    if isinstance(image, Picture):
        return image
    if isinstance(image, (str, os.PathLike)):
        return read_picture(image)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if not isinstance(image, Image.Image):
        raise BadImage(f"a picture, an array or a path was expected, not {type(image).__name__}")
    return _from_image(image)


def _from_image(image: Image.Image) -> Picture:
    _check_size(*image.size)
    if image.mode in _UNBOUNDED_MODES:
        raise BadImage(
            f"a picture of mode {image.mode} has no range of samples to convert from; convert it first"
        )
    notices = []
    if getattr(image, "n_frames", 1) > 1:
        notices.append("frames but the first")
    # Pillow reads 16-bit colour as 8 bits; only the decoder's instructions tell.
    raw = [str(tile[3]) for tile in getattr(image, "tile", [])]
    if image.mode in _DEEP_MODES or any(";16" in text for text in raw):
        notices.append(_DEEP_NOTICE)
    try:
        image.load()
    except OSError as error:
        raise BadImage(f"the picture cannot be read completely ({error})") from error
    metadata = meta.of_image(image)
    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
    grey = image.mode in _GREY_MODES
    mode = "L" if grey else "RGB"
    alpha = None
    try:
        if image.mode in _DEEP_MODES:
            deep = np.asarray(image)
            if (clear := image.info.get("transparency")) is not None:
                alpha = np.where(deep == clear, 0, OPAQUE).astype(np.uint8)
            image = Image.fromarray(_to_8_bits(deep))
        elif image.has_transparency_data:
            image = image.convert(mode + "A")
            alpha = np.asarray(image.getchannel("A"))
        elif image.mode == "CMYK":
            image = _from_cmyk(image, metadata.pop("icc", b""))
        samples = np.asarray(image if image.mode == mode else image.convert(mode))
    except ValueError as error:
        raise BadImage(f"a picture of mode {image.mode} cannot be converted to {mode}") from error
    if grey:
        samples = np.repeat(samples[:, :, None], 3, axis=2)
    return Picture(samples=samples, grey=grey, alpha=alpha, metadata=metadata, notices=tuple(notices))


def _check_size(width: int, height: int) -> None:
    """Before anything is allocated."""
    if width == 0 or height == 0:
        raise BadImage(f"the picture has no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise LimitExceeded(f"the picture has {width} x {height} pixels, the limit is {MAX_PIXELS}")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises anything on damaged EXIF data, which then says nothing
        return 1


def _to_8_bits(samples: np.ndarray) -> np.ndarray:
    """uint16 to uint8: 0..65535 to 0..255, to nearest."""
    return ((samples.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _from_cmyk(image: Image.Image, profile: bytes) -> Image.Image:
    """CMYK to sRGB, through its profile if it has one that can be used."""
    if not profile:
        return image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError) as error:
        raise BadImage(f"the colour profile of the CMYK picture cannot be used ({error})") from error
    assert converted is not None  # only a conversion in place returns nothing
    return converted


def _from_array(array: np.ndarray) -> Picture:
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if array.dtype != np.uint8 or channels not in (1, 2, 3, 4):
        raise BadImage(
            "an array must be uint8 of shape H x W (grey) or H x W x 1 to 4 (with alpha, RGB, RGBA), "
            f"not {array.dtype} of shape {' x '.join(map(str, array.shape))}"
        )
    _check_size(array.shape[1], array.shape[0])
    array = array.reshape(*array.shape[:2], channels)
    alpha = array[:, :, -1] if channels in (2, 4) else None
    if channels <= 2:
        return Picture(samples=np.repeat(array[:, :, :1], 3, axis=2), grey=True, alpha=alpha)
    return Picture(samples=array[:, :, :3], grey=False, alpha=alpha)
