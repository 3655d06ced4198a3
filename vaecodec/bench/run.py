"""Every image through every codec at every quality, as real files, and the means over images."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bitstream.errors import VaeError
from vaecodec.bench.codecs import JPEG, BenchCodec
from vaecodec.bench.metrics import Curve, ms_ssim, psnr
from vaecodec.pictures.reading import open_image


@dataclass(frozen=True)
class Row:
    """One image through one codec at one quality; `ms_ssim` is None where it was not measured."""

    image: str
    codec: str
    quality: int
    bytes: int
    bpp: float
    psnr: float
    encode_seconds: float
    decode_seconds: float
    ms_ssim: float | None = None

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def measure(
    name: str, image: np.ndarray, codec: BenchCodec, quality: int, structure: bool = False
) -> Row:
    """Encode to a real file's bytes, decode those, and compare (uint8 H x W x 3); with `structure`, by
    MS-SSIM too."""
    start = time.perf_counter()
    data = codec.encode(image, quality)
    middle = time.perf_counter()
    decoded = codec.decode(data)
    end = time.perf_counter()
    bpp = 8 * len(data) / (image.shape[0] * image.shape[1])
    return Row(
        name,
        codec.name,
        quality,
        len(data),
        bpp,
        psnr(image, decoded),
        middle - start,
        end - middle,
        ms_ssim(image, decoded) if structure else None,
    )


def run(
    paths: Sequence[Path],
    codecs: Iterable[tuple[BenchCodec, Sequence[int]]],
    progress: Callable[[int, str], None] = lambda *_: None,
    failed: Callable[[str], None] = lambda _: None,
    structure: bool = False,
) -> list[Row]:
    """Rows for all images; an unreadable image goes to `failed` and the others go on."""
    rows: list[Row] = []
    codecs = list(codecs)
    for number, path in enumerate(paths):
        progress(number, path.name)
        try:
            image = np.asarray(open_image(path).convert("RGB"))
        except VaeError as error:
            failed(str(error))
            continue
        for codec, qualities in codecs:
            rows += [measure(path.name, image, codec, q, structure) for q in qualities]
    return rows


def mean_curve(rows: Sequence[Row], codec: str) -> Curve:
    """(bits per pixel, PSNR) per quality, each a mean of per-image values, as CompressAI reports."""
    qualities = sorted({row.quality for row in rows if row.codec == codec})
    curve = []
    for quality in qualities:
        chosen = [row for row in rows if row.codec == codec and row.quality == quality]
        curve.append(
            (
                float(np.mean([row.bpp for row in chosen])),
                float(np.mean([row.psnr for row in chosen])),
            )
        )
    return curve


def machine() -> str:
    """The machine in words, for results."""
    import torch

    return f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def jpeg_bytes_at(image: np.ndarray, target: float) -> float:
    """Size of the JPEG of `image` (uint8 H x W x 3) whose PSNR is `target` dB, log-interpolated
    between the two neighbouring qualities; NaN if no JPEG quality reaches it."""
    low, high = 0, 101  # PSNR is below the target at `low`, at or above it at `high`
    found: dict[int, Row] = {}
    while high - low > 1:
        middle = (low + high) // 2
        found[middle] = measure("", image, JPEG, middle)
        if found[middle].psnr >= target:
            high = middle
        else:
            low = middle
    if high == 101:
        return float("nan")
    if low == 0:
        return float(found[high].bytes)
    a, b = found[low], found[high]
    share = (target - a.psnr) / (b.psnr - a.psnr)
    return float(np.exp(np.log(a.bytes) + share * (np.log(b.bytes) - np.log(a.bytes))))
