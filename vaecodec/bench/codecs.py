"""Codecs as the benchmark sees them: adapters from a picture and a quality to bytes and back."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import PIL
from PIL import Image

import vaecodec
from vaecodec.codec import Codec
from vaecodec.quality import DEFAULT_EFFORT


class BenchCodec(Protocol):
    """`name` and `settings` identify the codec in results; `qualities` are the default ones."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> str: ...

    @property
    def qualities(self) -> Sequence[int]: ...

    def encode(self, image: np.ndarray, quality: int) -> bytes:
        """uint8 H x W x 3 -> the bytes of a complete file."""

    def decode(self, data: bytes) -> np.ndarray:
        """The bytes of a file -> uint8 H x W x 3."""


@dataclass(frozen=True)
class Pillow:
    """A format that Pillow writes, with fixed options besides the quality."""

    name: str
    format: str
    about: str
    qualities: Sequence[int]
    options: Mapping[str, object]

    @property
    def settings(self) -> str:
        return f"Pillow {PIL.__version__}, {self.about}"

    def encode(self, image: np.ndarray, quality: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image).save(file, self.format, quality=quality, **self.options)
        return file.getvalue()

    def decode(self, data: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


JPEG = Pillow(
    "jpeg",
    "JPEG",
    "4:2:0, optimize, progressive",
    (5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 85, 90, 93, 95, 97),
    {"optimize": True, "progressive": True, "subsampling": "4:2:0"},
)
WEBP = Pillow("webp", "WEBP", "method 6", (1, 10, 25, 45, 65, 80, 90, 96, 100), {"method": 6})
AVIF = Pillow(
    "avif",
    "AVIF",
    "4:4:4, speed 4",
    (10, 25, 40, 55, 68, 78, 86, 92, 96),
    {"subsampling": "4:4:4", "speed": 4},
)
#: Every codec but this one, by the name that `vaecodec bench --codecs` takes.
OTHERS = {codec.name: codec for codec in (JPEG, WEBP, AVIF)}


class Vae:
    """This codec, with one model on one device.

    `effort`, `lossless`: as in `Codec.encode`. Rate-distortion curves take lossless=False: they compare
    models, and have no place for a picture without distortion.
    """

    qualities = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)

    def __init__(
        self,
        model: str | None = None,
        device: str | None = None,
        effort: int = DEFAULT_EFFORT,
        lossless: bool | None = False,
    ) -> None:
        self._codec = Codec(model, device)
        self._effort, self._lossless = effort, lossless
        self.name = f"vae {self._codec.entry.name}"
        if effort != DEFAULT_EFFORT:
            self.name += f" effort {effort}"
        self.settings = (
            f"vaecodec {vaecodec.__version__}, model {self._codec.entry.card['id']}, effort {effort}"
        )

    def encode(self, image: np.ndarray, quality: int) -> bytes:
        return self._codec.encode(image, quality, effort=self._effort, lossless=self._lossless)

    def decode(self, data: bytes) -> np.ndarray:
        return np.asarray(self._codec.decode(data).convert("RGB"))
