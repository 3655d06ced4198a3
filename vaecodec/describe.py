"""Information about a `.vae` file, and about the installed models."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from bitstream import container
from bitstream.errors import UnknownModel
from vaecodec.model import registry
from vaecodec.quality import check_whole
from vaecodec.sources import Source, naming, read_source


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """What can be known of a `.vae` file without decoding it.

    - `width`, `height`: pixels.
    - `colour`: "grey", "RGB", "grey with alpha" or "RGB with alpha".
    - `depth`: bits per sample.
    - `version`: format version.
    - `lossless`: whether the picture is stored without loss, and thus without a model.
    - `model`, `tune`: name and tune of the model that the file needs, None if it is not installed;
      `model_id`: its id, 8 hexadecimal digits.
    - `level`: quality level, 0..63.
    - `groups`: number of groups (1024 x 1024 pixels or less) that are coded independently.
    - `metadata`: unpacked size in bytes of each of "icc", "exif" and "xmp" that the file has.
    - `size`: size of the file in bytes; `picture_size`: the part of it that is neither container nor
      metadata; `trailing`: bytes after the end of the picture, which have no meaning.
    """

    width: int
    height: int
    colour: str
    depth: int
    version: int
    lossless: bool
    model: str | None
    tune: str | None
    model_id: str
    level: int
    groups: int
    metadata: dict[str, int]
    size: int
    picture_size: int
    trailing: int

    @property
    def bits_per_pixel(self) -> float:
        """Bits per pixel of the whole file."""
        return 8 * self.size / (self.width * self.height)


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """An installed model. `id`: how files name it, 8 hexadecimal digits; `default`: whether it is
    the one used for its tune unless another is named; `steps`, `minutes`: length of its training."""

    name: str
    size: str
    tune: str
    id: str
    steps: int
    minutes: float
    default: bool


def info(source: Source, *, max_pixels: int = container.MAX_PIXELS) -> FileInfo:
    """Describe a `.vae` file without decoding it. `source`: path, bytes or file object. Raises the same
    errors as `vaecodec.decode`."""
    max_pixels = check_whole("max_pixels", max_pixels, 1, sys.maxsize)
    data, name = read_source(source)
    with naming(name):
        parsed = container.parse(data, max_pixels)
    header = parsed.header
    try:
        model = None if header.lossless else registry.find_id(header.model_id)
    except UnknownModel:
        model = None
    return FileInfo(
        width=header.width,
        height=header.height,
        colour=container.COLOURS[header.colour],
        depth=header.depth,
        version=parsed.version,
        lossless=header.lossless,
        model=None if model is None else model.name,
        tune=None if model is None else model.tune,
        model_id=container.model_id_text(header.model_id),
        level=header.level,
        groups=header.group_count,
        metadata={name: len(content) for name, content in parsed.metadata.items()},
        size=len(data),
        picture_size=sum(len(stream) for stream in (*parsed.streams, *parsed.alphas)),
        trailing=parsed.trailing,
    )


def models() -> list[ModelInfo]:
    """The installed models, sorted by name."""
    return [
        ModelInfo(
            name=entry.name,
            size=entry.card["size"],
            tune=entry.tune,
            id=entry.card["id"],
            steps=entry.card["steps"],
            minutes=entry.card["minutes"],
            default=entry == registry.find(None, entry.tune),
        )
        for entry in registry.registered()
    ]
