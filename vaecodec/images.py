"""Pictures in: what `encode` accepts, as uint8 H x W x 3."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Union

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bitstream.container import GREY, RGB
from bitstream.errors import BadImage

ImageLike = Union[Image.Image, np.ndarray, str, "os.PathLike[str]"]

_GREY_MODES = {"1", "L", "LA", "La"}
_DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """Read a picture file completely. Raises BadImage naming the file and the cause."""
    name = os.fspath(path)
    try:
        if Path(name).stat().st_size == 0:
            raise BadImage(f"{name}: the file is empty")
        with Image.open(name) as image:
            image.load()
            return image
    except UnidentifiedImageError as error:
        raise BadImage(f"{name}: not an image in a format that can be read") from error
    except Image.DecompressionBombError as error:
        raise BadImage(f"{name}: {error}") from error
    except OSError as error:
        raise BadImage(f"{name}: {error.strerror or error}") from error
    except BadImage:
        raise
    except Exception as error:  # Pillow's plugins raise anything on damaged files
        raise BadImage(f"{name}: a damaged image ({error})") from error


def losses(image: Image.Image) -> list[str]:
    """What a picture carries that a `.vae` file does not keep, in words."""
    carried = {
        "transparency": image.has_transparency_data,
        "the colour profile": bool(image.info.get("icc_profile")),
        "EXIF data": bool(image.info.get("exif")),
        "XMP data": bool(image.info.get("xmp")),
        "frames but the first": getattr(image, "n_frames", 1) > 1,
    }
    return [name for name, there in carried.items() if there]


def to_samples(image: ImageLike) -> tuple[np.ndarray, int]:
    """Samples (uint8, H x W x 3) and colour mode (GREY or RGB) of a picture.

    EXIF orientation is applied; what `losses` lists is dropped. Raises BadImage for what is no
    picture.
    """
    if isinstance(image, (str, os.PathLike)):
        image = open_image(image)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if not isinstance(image, Image.Image):
        raise BadImage(f"a picture, an array or a path was expected, not {type(image).__name__}")
    if image.width == 0 or image.height == 0:
        raise BadImage(f"the picture has no pixels ({image.width} x {image.height})")
    if image.mode in _DEEP_MODES:
        raise BadImage(f"pictures of mode {image.mode} (more than 8 bits) are not supported yet")
    image = ImageOps.exif_transpose(image)
    if image.mode in _GREY_MODES:
        return _from_array(np.asarray(image.convert("L")))
    return _from_array(np.asarray(image.convert("RGB")))


def _from_array(array: np.ndarray) -> tuple[np.ndarray, int]:
    grey = array.ndim == 2
    if array.dtype != np.uint8 or not (grey or (array.ndim == 3 and array.shape[2] == 3)):
        raise BadImage(
            "an array must be uint8 of shape H x W x 3 or H x W, "
            f"not {array.dtype} of shape {' x '.join(map(str, array.shape))}"
        )
    if array.size == 0:
        raise BadImage(f"the picture has no pixels ({array.shape[1]} x {array.shape[0]})")
    if grey:
        return np.repeat(array[:, :, None], 3, axis=2), GREY
    return array, RGB
