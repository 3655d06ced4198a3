"""Reading pictures: everything `encode` accepts, as 8-bit samples, transparency and metadata."""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Union, cast

import numpy as np
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

from bitstream.chunks import SIGNATURE
from bitstream.container import GREY, GREY_ALPHA, MAX_PIXELS, RGB, RGB_ALPHA, check_size
from bitstream.errors import BadImage, BadType, LimitExceeded, VaeError
from vaecodec.pictures import metadata as meta
from vaecodec.pictures.alpha import OPAQUE
from vaecodec.pictures.degradation import quality_of
from vaecodec.sources import Source, is_plain, naming, read_source

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as it is coded.

    `samples`: uint8, H x W x 3, upright. `grey`: whether all three channels are equal. `alpha`: uint8,
    H x W, or None if there is no transparency. `metadata`: whichever of "icc", "exif" and "xmp" are
    present. `notices`: in words, what of the original is not kept. `jpeg`: quality of a JPEG file, as
    libjpeg counts it. `name`: of the file, if it has one.
    """

    samples: np.ndarray
    grey: bool
    alpha: np.ndarray | None = None
    metadata: dict[str, bytes] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    jpeg: float | None = None
    name: str | None = None

    @property
    def colour(self) -> int:
        """The colour mode, as in the header."""
        if self.grey:
            return GREY if self.alpha is None else GREY_ALPHA
        return RGB if self.alpha is None else RGB_ALPHA

    def stripped(self) -> Picture:
        """Return the picture without metadata."""
        return replace(self, metadata={})


ImageLike = Union[Image.Image, np.ndarray, "torch.Tensor", Picture, Source]

#: By EXIF's orientation, what turns a picture upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GREY_MODES = {"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N"}
_DEEP_MODES = {"I;16", "I;16B", "I;16L", "I;16N"}
#: TIFF's tag for the meaning of samples, and its value if 0 is white.
_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
#: Attribute of a PIL image that holds its `OfFile`.
_OF_FILE = "_vaecodec_of_file"


@contextlib.contextmanager
def _pillow_reads(what: str) -> Iterator[None]:
    """Turn whatever Pillow's plugins raise on a damaged file into a BadImage; `what` says what
    happened."""
    try:
        yield
    except (MemoryError, VaeError):
        raise
    except UnidentifiedImageError as error:
        raise BadImage("not an image in a format that can be read") from error
    except Image.DecompressionBombError as error:
        numbers = re.match(r"Image size \((\d+) pixels\) exceeds limit of (\d+) pixels", str(error))
        text = "the picture has {} pixels, the limit is {} pixels"
        raise LimitExceeded(text.format(*numbers.groups()) if numbers else str(error)) from error
    except OSError as error:
        raise BadImage(f"{what} ({error.strerror or error})") from error
    except Exception as error:  # plugins raise anything
        raise BadImage(f"{what} ({str(error) or type(error).__name__})") from error


def set_limit_of_pillow(max_pixels: int = MAX_PIXELS) -> None:
    """For commands: replace Pillow's own limit, which already holds when a file is opened. Its
    warnings, from half that limit on and about damage, would only stand beside our errors."""
    Image.MAX_IMAGE_PIXELS = -(-max_pixels // 2)  # Pillow refuses more than twice as many
    warnings.filterwarnings("ignore", module=r"PIL\.")


def read_picture(source: Source, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture file into a `Picture`. Raises BadImage or LimitExceeded, naming the file and the
    cause."""
    data, name = read_source(source)
    with naming(name):
        image = _opened(data)
        _check_size(*image.size, max_pixels)
        return replace(_from_image(image, meta.unread_chunks(data)), name=name)


def open_image(source: Source) -> Image.Image:
    """Read a picture file completely. Raises as `read_picture` does."""
    data, name = read_source(source)
    with naming(name):
        image = _opened(data)
        with _pillow_reads("a damaged image"):
            image.load()
        return image


def _opened(data: bytes) -> Image.Image:
    if not data:
        raise BadImage("the file is empty")
    with _pillow_reads("a damaged image"):
        try:
            return Image.open(io.BytesIO(data), formats=formats())
        except UnidentifiedImageError:
            if data.startswith(SIGNATURE):
                raise BadImage("a .vae file already, and no picture to make one of") from None
            raise


def formats() -> tuple[str, ...]:
    """Formats that are read: all that Pillow and its plugins open without starting another program."""
    Image.init()
    return tuple(name for name in Image.ID if name != "EPS")


def extensions() -> set[str]:
    """Extensions, in lower case, of files that Pillow reads by itself: some formats it only writes, or
    only knows by name."""
    return {e for e, name in Image.registered_extensions().items() if _is_read(name)}


def _is_read(name: str) -> bool:
    if name not in formats() or name == "MPEG":
        return False
    factory = Image.OPEN[name][0]
    return not (isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile))


def to_picture(image: ImageLike) -> Picture:
    """Convert anything that `encode` accepts to a `Picture`. Raises BadImage if it is no valid picture,
    LimitExceeded if it is too large, BadType if its type cannot be one.

    EXIF orientation is applied. Palettes become RGB, CMYK becomes sRGB through its profile, 16 bits
    per sample become 8, and of an animation the first frame is taken; `notices` tells what is lost.
    """
    if isinstance(image, Picture):
        return image
    if isinstance(image, Image.Image):
        return _from_image(image)
    if isinstance(image, np.ndarray):
        return _from_array(np.asarray(image))  # as a plain array, not a subclass
    if isinstance(image, (str, os.PathLike, bytes, bytearray, memoryview)) or hasattr(image, "read"):
        return read_picture(cast(Source, image))
    if hasattr(image, "detach"):  # torch is not imported just to find out
        return _from_array(_tensor_samples(image))
    raise BadType(
        f"a picture, an array, a tensor, a path or a file was expected, not {type(image).__name__}"
    )


def taken(image: ImageLike) -> ImageLike:
    """Return `image`, or a `Picture` of it if it may change later: buffers are reused, and frames of
    one file share its position. Raises as `to_picture` does."""
    if isinstance(image, (str, os.PathLike, bytes, Picture)):
        return image
    picture = to_picture(image)
    if isinstance(image, Image.Image) or hasattr(image, "read"):
        return picture
    copied = None if picture.alpha is None else picture.alpha.copy()
    return replace(picture, samples=picture.samples.copy(), alpha=copied)


def announced_pixels(image: ImageLike) -> int:
    """Number of pixels of a picture from `taken`; for files, what their first bytes say, or 0."""
    if isinstance(image, Picture):
        return image.samples.shape[0] * image.samples.shape[1]
    source: str | io.BytesIO
    if isinstance(image, bytes):
        source = io.BytesIO(image)
    else:
        source = os.fsdecode(cast(str, image))
        if not is_plain(source):
            return 0
    try:
        with Image.open(source, formats=formats()) as file:
            return file.width * file.height
    except Exception:  # plugins raise anything; reported when the file is read
        return 0


def _from_image(image: Image.Image, unread: Sequence[str] = ()) -> Picture:
    """Convert a PIL image. `unread`: what else the file holds that Pillow does not read."""
    _check_size(*image.size)
    if getattr(image, "tile", []) and getattr(image, "fp", image) is None:
        raise BadImage("the picture cannot be read completely (its file is closed)")
    with _pillow_reads("the picture cannot be read completely"):
        file = of_file(image)
        animated = getattr(image, "is_animated", False)  # counting frames takes long
        image.load()
    notices = []
    if file.deepest > OPAQUE:
        notices.append(f"{file.deepest.bit_length()} bits per sample (reduced to 8)")
    if animated:
        notices.append("frames but the first")
    metadata, carried = meta.of_image(image)
    notices += [*carried, *unread]
    if (turn := _UPRIGHT.get(meta.orientation_of(image))) is not None:
        image = image.transpose(turn)
    if image.mode in ("I", "F") and file.deepest <= OPAQUE:
        raise BadImage(
            f"a picture of mode {image.mode} has no range of samples to convert from; convert it first"
        )
    # Pillow reads grey of 16 bits with alpha as RGBA.
    grey = image.mode in _GREY_MODES or image.mode == "I" or file.raw[:1] == ("LA;16B",)
    mode, alpha = "L" if grey else "RGB", None
    if image.mode in _DEEP_MODES or image.mode == "I":
        deep = np.asarray(image)
        if isinstance(clear := image.info.get("transparency"), int):
            alpha = np.where(deep == clear, 0, OPAQUE).astype(np.uint8)
        samples = _to_8_bits(deep, file.deepest)
        samples = OPAQUE - samples if file.inverted else samples
    else:
        with _pillow_reads(f"a picture of mode {image.mode} cannot be converted to {mode}"):
            if image.has_transparency_data:
                image = _with_clear_value_of_8_bits(image, file.raw)
                image = image.convert(mode + "A")
                alpha = np.asarray(image.getchannel("A"))
            elif image.mode == "CMYK":
                image, useless = _from_cmyk(image, metadata.pop("icc", b""))
                notices += useless
            samples = np.asarray(image if image.mode == mode else image.convert(mode))
    notices += meta.drop_unfit_profile(metadata, grey=grey)
    if grey:
        samples = np.repeat(samples[:, :, None], 3, axis=2)
    return Picture(
        samples=samples,
        grey=grey,
        alpha=alpha,
        metadata=metadata,
        notices=tuple(notices),
        jpeg=file.jpeg,
    )


@dataclass(frozen=True, kw_only=True)
class OfFile:
    """What the file of a PIL image says of its samples, which Pillow forgets once it has loaded them.

    `raw`: how they lie in the file, in Pillow's words. `deepest`: full scale; 255 for 8-bit samples and
    for those without a defined range. `inverted`: whether 0 is white in a deep TIFF; Pillow inverts
    only shallow ones. `jpeg`: quality of a JPEG file, None for others.
    """

    raw: tuple[str, ...]
    deepest: int
    inverted: bool
    jpeg: float | None


def of_file(image: Image.Image) -> OfFile:
    """What the file of `image` says of it; the image remembers. One that was loaded before this was
    asked may lack the depth of its samples."""
    known = getattr(image, _OF_FILE, None)
    if known is not None and not getattr(image, "tile", []):
        return cast(OfFile, known)
    tiles = [tile[3] for tile in getattr(image, "tile", [])]
    found = OfFile(
        raw=tuple(str(arguments) for arguments in tiles),
        deepest=_deepest_sample(image, tiles),
        inverted=image.mode in _DEEP_MODES and _white_is_zero(image),
        jpeg=quality_of(getattr(image, "quantization", None) or {}),
    )
    remember(image, found)
    return found


def remember(image: Image.Image, found: OfFile) -> None:
    """Let `image` know what its file says, for instance a copy."""
    setattr(image, _OF_FILE, found)


def _with_clear_value_of_8_bits(image: Image.Image, raw: Sequence[str]) -> Image.Image:
    """Return a picture whose transparent value is scaled as Pillow has scaled the samples of its PNG
    file: 16 bits to the higher 8 of them. `raw`: of `OfFile`."""
    clear = image.info.get("transparency")
    if isinstance(clear, tuple) and (raw[:1] == ("RGB;16B",) or max(clear) > OPAQUE):
        scaled: object = tuple(value >> 8 for value in clear)
    elif isinstance(clear, int) and raw[:1] in (("L;2",), ("L;4",)):
        scaled = clear * (OPAQUE // (3 if raw[0] == "L;2" else 15))
    else:
        return image
    image = image.copy()  # the caller's stays as it is
    image.info["transparency"] = scaled
    return image


def _deepest_sample(image: Image.Image, tiles: Sequence[object]) -> int:
    """The `deepest` of `OfFile`. `tiles`: the arguments of Pillow's decoder. They alone tell of colours
    of 16 bits, which it reads as 8."""
    raw = [str(arguments) for arguments in tiles]
    if any("I;12" in text for text in raw) or _tags(image).get(_TIFF_BITS) == (12,):
        return 2**12 - 1
    if image.mode in _DEEP_MODES or any(";16" in text for text in raw):
        signed = any(";16S" in text or ";16BS" in text for text in raw)
        return OPAQUE if signed else 2**16 - 1
    if image.format == "PPM":  # Pillow scales all deep samples to 16 bits, or colours to 8
        maxima = [arguments[1] for arguments in tiles if isinstance(arguments, tuple)]
        if image.mode == "I" or any(isinstance(value, int) and value > OPAQUE for value in maxima):
            return 2**16 - 1
    return OPAQUE


def _white_is_zero(image: Image.Image) -> bool:
    return _tags(image).get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO


def _tags(image: Image.Image) -> Mapping[int, object]:
    """The tags of a TIFF file; none of others."""
    return getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}


def _check_size(width: int, height: int, limit: int = MAX_PIXELS) -> None:
    """Check the size before anything is allocated."""
    if width == 0 or height == 0:
        raise BadImage(f"the picture has no pixels ({width} x {height})")
    check_size(width, height, limit)


def _to_8_bits(samples: np.ndarray, deepest: int) -> np.ndarray:
    """Scale 0..`deepest` to 0..255, rounded to nearest: uint8."""
    wide = np.clip(samples.astype(np.int64), 0, deepest)
    return ((wide * 255 + deepest // 2) // deepest).astype(np.uint8)


def _from_cmyk(image: Image.Image, profile: bytes) -> tuple[Image.Image, list[str]]:
    """Convert CMYK to RGB, through its profile if that can be used; also return notices about it."""
    if not profile:
        return image.convert("RGB"), ["CMYK (converted to RGB)"]
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB"), ["CMYK (converted to RGB)", "a colour profile that cannot be used"]
    assert converted is not None  # only conversion in place returns None
    return converted, ["CMYK (converted to sRGB)"]


def _tensor_samples(tensor: torch.Tensor) -> np.ndarray:
    """Convert a torch tensor (C x H x W, uint8 or float 0..1) to H x W x C, uint8."""
    if tensor.is_nested:
        raise BadImage("a tensor must be C x H x W, not nested")
    if tensor.ndim != 3:
        raise BadImage(f"a tensor must be C x H x W, not of {tensor.ndim} dimensions")
    if tensor.shape[0] not in (1, 2, 3, 4):
        sides = " x ".join(map(str, tensor.shape))
        raise BadImage(f"a tensor must be C x H x W with C of 1 to 4, not {sides}")
    if tensor.is_meta or str(tensor.layout) != "torch.strided":
        raise BadImage("a tensor must be dense, and have values")
    samples = tensor.detach().resolve_neg().movedim(0, 2)
    if samples.device.type != "cpu":
        samples = samples.contiguous().cpu()  # rearranged where that is fast
    if samples.is_floating_point():
        samples = samples.double()
        if not bool(((samples >= 0) & (samples <= 1)).all()):
            raise BadImage("a tensor of floats must hold values from 0 to 1")
        return np.rint(samples.numpy() * 255).astype(np.uint8)
    if str(samples.dtype) != "torch.uint8":
        raise BadImage(f"a tensor must be of uint8 or floats, not {samples.dtype}")
    return samples.numpy()


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
