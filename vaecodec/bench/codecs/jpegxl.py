"""JPEG XL, through imagecodecs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bitstream.errors import VaeError


def distance(quality: int) -> float:
    """Butteraugli distance for cjxl's `quality` (libjxl's JxlEncoderDistanceFromQuality)."""
    if quality >= 100:
        return 0.0
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25


@dataclass(frozen=True, kw_only=True)
class JpegXl:
    """Lossy JPEG XL (VarDCT in XYB) at a given effort; qualities are cjxl's.

    Raises VaeError if imagecodecs is missing, or lacks JPEG XL.
    """

    effort: int = 7
    qualities: Sequence[int] = (5, 20, 40, 60, 76, 88, 94, 98)

    def __post_init__(self) -> None:
        try:
            import imagecodecs
        except ImportError as error:
            raise VaeError("jxl needs the extra: pip install 'vaecodec[bench]'") from error
        if not imagecodecs.JPEGXL.available:
            raise VaeError("jxl: this imagecodecs was built without JPEG XL")

    @property
    def name(self) -> str:
        return "jxl" if self.effort == 7 else f"jxl effort {self.effort}"

    @property
    def settings(self) -> str:
        import imagecodecs

        version = f"imagecodecs {imagecodecs.__version__}, {imagecodecs.jpegxl_version()}"
        return f"{version}, effort {self.effort}"

    def encode(self, image: np.ndarray, quality: int) -> bytes:
        import imagecodecs

        data = imagecodecs.jpegxl_encode(image, effort=self.effort, distance=distance(quality))
        return bytes(data)

    def decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return np.asarray(imagecodecs.jpegxl_decode(data))
