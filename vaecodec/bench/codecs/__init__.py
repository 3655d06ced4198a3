"""Codecs as the benchmark sees them: adapters from a picture and a quality to bytes and back.

To add one, write a class that implements `BenchCodec`, in a module here, and add a line to `OTHERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from bitstream.errors import VaeError
from vaecodec.bench.codecs.jpegxl import JpegXl
from vaecodec.bench.codecs.pillow import JPEG, JPEG_444, JPEG_2000, WEBP, avif


class BenchCodec(Protocol):
    """A codec with all its settings except the quality. It can be pickled for another process.

    `name` tells it from the others; `settings` states versions and settings: if both are the same, so
    are the files. `qualities` are the default ones, from worst to best.
    """

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


#: Every codec except vaecodec and external ones, by its name for `vaecodec bench --codecs`; a number
#: after a colon sets the parameter named second, within the range given third.
OTHERS: dict[str, tuple[Callable[..., BenchCodec], str | None, tuple[int, int]]] = {
    "jpeg": (lambda: JPEG, None, (0, 0)),
    "jpeg-444": (lambda: JPEG_444, None, (0, 0)),
    "webp": (lambda: WEBP, None, (0, 0)),
    "avif": (avif, "speed", (0, 10)),
    "avif-psnr": (partial(avif, tune="psnr"), "speed", (0, 10)),
    "jxl": (JpegXl, "effort", (1, 10)),
    "jpeg2000": (lambda: JPEG_2000, None, (0, 0)),
}


def other(spec: str) -> BenchCodec:
    """Return the codec for `NAME` or `NAME:NUMBER`, such as `avif:6`.

    Raises VaeError if there is none, the number is out of range, or a library is missing.
    """
    name, colon, number = spec.partition(":")
    if name not in OTHERS:
        raise VaeError(f"no codec is called {name!r}; there are vae, {', '.join(OTHERS)}")
    make, parameter, (low, high) = OTHERS[name]
    if not colon:
        return make()
    if parameter is None:
        raise VaeError(f"{spec}: {name} has nothing to set but its quality")
    if not (number.isdecimal() and low <= int(number) <= high):
        raise VaeError(f"{spec}: the {parameter} of {name} is a number from {low} to {high}")
    return make(int(number))
