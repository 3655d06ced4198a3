"""Codecs as the benchmark sees them: adapters from a picture and a quality to bytes and back."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import PIL
from PIL import Image

import vaecodec
from vaecodec.codec import Codec


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


class Jpeg:
    """Pillow's JPEG: 4:2:0, optimised Huffman tables, progressive."""

    name = "jpeg"
    settings = f"Pillow {PIL.__version__}, 4:2:0, optimize, progressive"
    qualities = (5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 85, 90, 93, 95, 97)

    def encode(self, image: np.ndarray, quality: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image).save(
            file, "JPEG", quality=quality, optimize=True, progressive=True, subsampling="4:2:0"
        )
        return file.getvalue()

    def decode(self, data: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


class Vae:
    """This codec, with one model on one device."""

    qualities = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)

    def __init__(self, model: str | None = None, device: str | None = None) -> None:
        self._codec = Codec(model, device)
        self.name = f"vae {self._codec.entry.name}"
        self.settings = f"vaecodec {vaecodec.__version__}, model {self._codec.entry.card['id']}"

    def encode(self, image: np.ndarray, quality: int) -> bytes:
        return self._codec.encode(image, quality)

    def decode(self, data: bytes) -> np.ndarray:
        return np.asarray(self._codec.decode(data).convert("RGB"))
