"""The formats that Pillow writes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import PIL
from PIL import Image, features

from bitstream.errors import VaeError


@dataclass(frozen=True, kw_only=True)
class Pillow:
    """A format that Pillow writes, with fixed options besides the quality. `ends`: its lowest and
    highest quality."""

    name: str
    format: str
    about: str
    feature: str
    qualities: Sequence[int]
    ends: tuple[int, int] = (0, 100)
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def settings(self) -> str:
        return (
            f"Pillow {PIL.__version__}, {self.feature} {features.version(self.feature)}, {self.about}"
        )

    def encode(self, image: np.ndarray, quality: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image).save(file, self.format, **self._with(quality))
        return file.getvalue()

    def _with(self, quality: int) -> dict[str, object]:
        return {**self.options, "quality": quality}

    def decode(self, data: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


class _Jpeg2000(Pillow):
    """Quality is the PSNR, in dB, that OpenJPEG aims at."""

    def _with(self, quality: int) -> dict[str, object]:
        return {**self.options, "quality_mode": "dB", "quality_layers": [quality]}


JPEG, JPEG_444 = (
    Pillow(
        name=name,
        format="JPEG",
        about=f"{subsampling}, optimize, progressive",
        feature="jpg",
        qualities=qualities,
        ends=(1, 100),
        options={"optimize": True, "progressive": True, "subsampling": subsampling},
    )
    for name, subsampling, qualities in (
        ("jpeg", "4:2:0", (5, 10, 15, 22, 32, 45, 58, 70, 80, 88, 94, 97)),
        ("jpeg-444", "4:4:4", (5, 12, 22, 40, 60, 80, 92, 97)),
    )
)
WEBP = Pillow(
    name="webp",
    format="WEBP",
    about="method 6",
    feature="webp",
    qualities=(1, 10, 25, 45, 65, 80, 91, 100),
    options={"method": 6},
)
JPEG_2000 = _Jpeg2000(
    name="jpeg2000",
    format="JPEG2000",
    about="9/7 wavelet, decorrelated colours, one layer, quality in dB",
    feature="jpg_2000",
    qualities=(24, 27, 30, 33, 36, 40, 44),
    ends=(10, 60),
    options={"irreversible": True, "mct": 1},  # Pillow's default codes R, G and B separately
)


#: From this version of libavif on, its default tune for aom is iq.
LIBAVIF_IQ = (1, 4)


def avif(speed: int = 4, tune: str | None = None) -> Pillow:
    """AVIF at 4:4:4. `tune`: one of aom's; None for libavif's default, which trades PSNR for looks.

    Raises VaeError if Pillow was built without AVIF, or, with a tune, without aom.
    """
    if not features.check("avif"):
        raise VaeError("avif: this Pillow cannot write AVIF; pip install 'pillow>=11.3'")
    # Tiles make coding faster and files larger; by default there are as many as threads.
    options: dict[str, object] = {"subsampling": "4:4:4", "speed": speed, "autotiling": False}
    if tune is None:
        name, version = "avif", str(features.version("avif"))
        iq = tuple(int(part) for part in version.split(".")[:2]) >= LIBAVIF_IQ
        about = "tune iq, libavif's default" if iq else "libavif's default tune"
    else:
        from PIL import _avif

        name, about = f"avif-{tune}", f"tune {tune}"
        if not _avif.encoder_codec_available("aom"):
            raise VaeError(f"{name}: this Pillow's AVIF lacks aom, the encoder that has tunes")
        options |= {"codec": "aom", "advanced": {"tune": tune}}
    return Pillow(
        name=name if speed == 4 else f"{name} speed {speed}",
        format="AVIF",
        about=f"4:4:4, speed {speed}, one tile, {about}",
        feature="avif",
        qualities=(10, 25, 40, 55, 68, 78, 86, 92, 96),
        options=options,
    )
