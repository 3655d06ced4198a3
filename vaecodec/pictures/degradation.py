"""Estimating what noise and JPEG did to a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vaecodec.quality import AUTO, LOWEST_JPEG, MAX_NOISE, NEVER_JPEG, Degradation, Restoration

if TYPE_CHECKING:
    from vaecodec.pictures.reading import Picture

#: Side of the cells in which noise is measured; the quantile over cells that the estimate uses; and
#: what that quantile is, in white noise, relative to the true deviation.
CELL, QUANTILE, AT_QUANTILE = 16, 0.15, 0.955
#: Rows of cells that are measured at a time.
BAND = 16
#: Cells with a mean this close to black or white are left out: clipping removes noise there.
MARGIN = 8
#: Standard deviation of `differences` for white noise of 1 (Immerkaer, 1996).
RESPONSE = 6.0
#: Qualities as libjpeg counts them, and for each the sum of its luminance table: the table of ITU-T
#: T.81, K.1, in per cent of itself, rounded and limited to 8 bits.
JPEG_QUALITIES = np.arange(1, 101)
_LUMINANCE = np.array(
    (
        16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
        14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
        18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
        49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
    )
)  # fmt: skip
_PER_CENT = np.where(JPEG_QUALITIES < 50, 5000 // JPEG_QUALITIES, 200 - 2 * JPEG_QUALITIES)
JPEG_SUMS = ((_LUMINANCE * _PER_CENT[:, None] + 50) // 100).clip(1, 255).sum(axis=1)
#: If the strength is to be found, noise below this is left alone: textures look like noise of 3, and at
#: 5 nothing is gained at equal size (docs/encoder.md).
LEAST_NOISE = 8.0


def to_undo(picture: Picture, restoration: Restoration) -> Degradation | None:
    """Return what to undo in a picture, or None if there is nothing."""
    noise, quality = restoration.denoise, restoration.deblock
    if noise == AUTO:
        found = noise_of(picture.samples)
        noise = found if found >= LEAST_NOISE else None
    if quality == AUTO:
        quality = picture.jpeg
    degradation = Degradation(
        noise=0.0 if noise is None else float(noise),
        jpeg=NEVER_JPEG if quality is None else float(quality),
    )
    return None if degradation == Degradation() else degradation


def differences(samples: np.ndarray) -> np.ndarray:
    """Second differences along columns, then along rows, which are small on smooth surfaces and
    straight edges: H x W x C -> float32, (H - 2) x (W - 2) x C."""
    x = samples.astype(np.float32)
    x = x[2:] - 2 * x[1:-1] + x[:-2]
    return x[:, 2:] - 2 * x[:, 1:-1] + x[:, :-2]


def noise_of(samples: np.ndarray) -> float:
    """Standard deviation of the noise in a picture (uint8, H x W x C), as far as it is white. It is
    measured in the smoother cells, since textures look like noise (Immerkaer, 1996); 0 if no cell is
    usable."""
    bands = _bands(samples, CELL * BAND, overlap=2)
    usable = np.concatenate([np.empty(0, np.float32), *map(_usable_cells, bands)])
    if not usable.size:
        return 0.0
    deviation = float(np.quantile(usable, QUANTILE)) * np.sqrt(np.pi / 2) / RESPONSE
    return min(float(deviation) / AT_QUANTILE, MAX_NOISE)


def _bands(samples: np.ndarray, height: int, overlap: int) -> Iterator[np.ndarray]:
    """Yield bands of `height` rows, and `overlap` rows of the next: all at once take much memory."""
    for start in range(0, len(samples), height):
        yield samples[start : start + height + overlap]


def _usable_cells(samples: np.ndarray) -> np.ndarray:
    """Mean absolute `differences` in the cells of a band that are neither nearly black nor white."""
    found = np.abs(differences(samples)).mean(axis=2)
    rows, columns = (side // CELL for side in found.shape)
    inner = samples[1 : 1 + rows * CELL, 1 : 1 + columns * CELL].mean(axis=2)
    cells, means = (
        x[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL).mean(axis=(1, 3))
        for x in (found, inner)
    )
    return cells[(means > MARGIN) & (means < 255 - MARGIN)]


def quality_of(tables: Mapping[int, Sequence[int]]) -> float | None:
    """Quality of a JPEG file, as libjpeg counts it, from its quantisation tables; None without a table
    for luminance."""
    luminance = tables.get(0)
    if not luminance:
        return None
    quality = float(np.interp(sum(luminance), JPEG_SUMS[::-1], JPEG_QUALITIES[::-1]))
    return min(max(quality, LOWEST_JPEG), NEVER_JPEG)
