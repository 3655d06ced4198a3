"""Importing this module makes Pillow read and write `.vae` files.

    import vaecodec.pillow
    Image.open("photo.vae").save("again.vae", quality=80, effort=2)

`save` takes the options quality, effort, tune, lossless, targets, denoise, deblock, model and device of
`vaecodec.encode`; icc_profile, exif and xmp replace what the image has (None or empty leaves it out).
Opening a file parses what precedes the picture; the picture is checked and decoded when first used.
"""

from __future__ import annotations

import os
import struct
from typing import IO, Any

from PIL import Image, ImageFile

import vaecodec
from bitstream import container
from bitstream.chunks import SIGNATURE
from bitstream.errors import LimitExceeded, NotAVaeFile, VaeError
from vaecodec.pictures import metadata, reading

FORMAT = "VAE"
_MODES = {
    container.GREY: "L",
    container.RGB: "RGB",
    container.GREY_ALPHA: "LA",
    container.RGB_ALPHA: "RGBA",
}
_OPTIONS = (
    "quality", "effort", "tune", "lossless", "target_size", "target_bpp", "target_psnr",
    "target_ssimulacra2", "denoise", "deblock", "model", "device",
)  # fmt: skip


class VaeImageFile(ImageFile.ImageFile):
    """A `.vae` file opened by Pillow."""

    format = FORMAT
    format_description = "vaecodec learned image"

    #: The file until it is decoded, and why it could not be. Of the class: copies are not opened.
    _data: bytes | None = None
    _failure: str | None = None

    def _open(self) -> None:
        assert self.fp is not None  # Pillow sets it before this is called
        data = self.fp.read()
        try:
            head = container.parse(data, head_only=True)
        except NotAVaeFile as error:
            raise SyntaxError(str(error)) from error
        except LimitExceeded as error:
            raise Image.DecompressionBombError(str(error)) from error
        except VaeError as error:
            raise OSError(str(error)) from error
        self._data = data
        self._size = (head.header.width, head.header.height)
        self._mode = _MODES[head.header.colour]
        self.info.update(metadata.to_info(head.metadata))
        self.tile = []

    def verify(self) -> None:
        """Check every checksum. Raises OSError."""
        if self._data is not None:
            try:
                container.parse(self._data)
            except VaeError as error:
                raise OSError(str(error)) from error
        super().verify()

    def load(self) -> Any:
        """Decode the picture, once. Raises OSError."""
        if self._failure is not None:
            raise OSError(self._failure)
        if self._data is not None:
            if self._exclusive_fp and self.fp is not None:
                self.fp.close()
            try:
                self.im = vaecodec.decode(self._data, recover=bool(ImageFile.LOAD_TRUNCATED_IMAGES)).im
            except VaeError as error:
                self._data = None
                self._failure = (
                    f"{os.fsdecode(self.filename)}: {error}" if self.filename else str(error)
                )
                raise OSError(self._failure) from error
            self._data = None  # not before: after a lack of memory it can be tried again
        return super().load()


def _save(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    options = dict(image.encoderinfo)
    source = image
    if replaced := options.keys() & {"icc_profile", "exif", "xmp"}:
        of_file = reading.of_file(image)
        source = image.copy()
        reading.remember(source, of_file)
        if image.format == "TIFF":  # whose EXIF data is in its tags
            source.info["exif"] = metadata.of_image(image)[0].get("exif", b"")
        for key in replaced:
            source.info[key] = _bytes(key, options[key])
    chosen = {key: options[key] for key in _OPTIONS if key in options}
    try:
        fp.write(vaecodec.encode(source, **chosen))
    except VaeError as error:
        name = f"{os.fsdecode(filename)}: " if filename else ""
        raise OSError(f"{name}{error}") from error


def _bytes(key: str, value: object) -> bytes:
    """Metadata given to `save`. Raises TypeError for what is none, ValueError for EXIF that cannot be
    written."""
    if isinstance(value, Image.Exif):
        try:
            return value.tobytes()
        except (struct.error, AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"the EXIF data cannot be written ({error})") from error
    if value is not None and not isinstance(value, (bytes, bytearray)):
        raise TypeError(f"{key} must be bytes, not {type(value).__name__}")
    return bytes(value or b"")


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(SIGNATURE)


Image.register_open(FORMAT, VaeImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".vae")
Image.register_mime(FORMAT, "image/x-vae")
