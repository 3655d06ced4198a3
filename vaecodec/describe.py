"""What a `.vae` file says of itself, and which models are installed."""

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
    """A `.vae` file, undecoded.

    - `width`, `height`: pixels.
    - `colour`: "grey", "RGB", "grey with alpha" or "RGB with alpha".
    - `depth`: bits per sample.
    - `version`: of the format.
    - `lossless`: stored without a model.
    - `model`, `tune`: of the model it needs, if that is installed; `model_id`: 8 hexadecimal digits.
    - `level`: quality level, 0..63.
    - `groups`: how many parts it is coded in.
    - `metadata`: bytes, unpacked, of "icc", "exif" and "xmp" where there are any.
    - `size`: bytes of the file; `picture_size`: of these, all but container and metadata; `trailing`:
      of these, bytes after the end, which mean nothing.
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
        """Of the whole file."""
        return 8 * self.size / (self.width * self.height)


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """An installed model: `id` is what files name it by; `default`: whether it is taken for its tune
    when none is named. `steps`, `minutes`: of training."""

    name: str
    size: str
    tune: str
    id: str
    steps: int
    minutes: float
    default: bool


def info(source: Source, *, max_pixels: int = container.MAX_PIXELS) -> FileInfo:
    """What a `.vae` file says of itself. `source`: path, bytes or file object. Raises as
    `vaecodec.decode`."""
    check_whole("max_pixels", max_pixels, 1, sys.maxsize)
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
    """The installed models, by name."""
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
