"""Drawn textures of kinds found on screens, prints and scans but not in photographs.

Checkers, stripes, hatching, dithered areas, zone plates, noise and saturated colours, at all contrasts.
A codec that has only seen photographs answers them with values far beyond any it was trained for; a few
among the training pictures keep it sound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

#: Number of textures drawn beforehand, so that no device waits for the host, and their largest side.
OVERLAYS = 512
SIDE = 128
#: Contrast, from a faint pattern on grey to the whole range of samples.
CONTRASTS = (0.1, 1.0)


@dataclass(frozen=True, kw_only=True)
class Texture:
    """A texture, with everything random about it decided: `kind` is a key of `KINDS`, `size` (pixels,
    at least 1) its period or grain, `angle` in radians, `low` and `high` the two colours (RGB, 0..255)
    between which its values lie, `seed` that of its noise."""

    kind: str
    size: float
    angle: float
    low: tuple[int, int, int]
    high: tuple[int, int, int]
    seed: int

    def draw(self, height: int, width: int) -> np.ndarray:
        """Draw it: uint8, height x width x 3."""
        y, x = np.mgrid[0:height, 0:width].astype(np.float64)
        values = KINDS[self.kind](self, x, y, np.random.default_rng(self.seed))
        if values.ndim == 2:
            values = values[:, :, None]
        low, high = np.array(self.low, float), np.array(self.high, float)
        return (low + values * (high - low) + 0.5).clip(0, 255).astype(np.uint8)


def _turned(t: Texture, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x * np.cos(t.angle) + y * np.sin(t.angle)


def _checker(t: Texture, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    cell = max(1, round(t.size / 2))
    return (x // cell + y // cell) % 2


def _stripes(t: Texture, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    wave = np.cos(2 * np.pi * _turned(t, x, y) / max(2.0, t.size))
    return wave > 0 if t.seed % 2 else 0.5 + 0.5 * wave


def _hatch(t: Texture, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    period = max(3.0, t.size)
    lines = [_turned(t, x, y) % period < 1, _turned(t, y, -x) % period < 1]
    return lines[0] | lines[1]


def _dither(t: Texture, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A gradient in two tones, by error diffusion (Floyd and Steinberg) or at random."""
    ramp = _turned(t, x, y)
    ramp = (ramp - ramp.min()) / max(1.0, float(np.ptp(ramp)))
    if t.seed % 2:
        return rng.random(x.shape) < ramp
    grey = Image.fromarray((255 * ramp).astype(np.uint8))
    return np.asarray(grey.convert("1")).astype(np.float64)


def _zone_plate(t: Texture, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rings whose frequency rises to half a cycle per pixel at the corners."""
    dx, dy = x - x.mean(), y - y.mean()
    reach = max(1.0, float(np.hypot(dx, dy).max()))
    return 0.5 + 0.5 * np.cos(np.pi * (dx**2 + dy**2) / (2 * reach))


def _noise(t: Texture, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of two values or of all, in grey or in each channel separately."""
    grain = max(1, round(t.size / 4))
    channels = 3 if t.seed % 3 == 0 else 1
    values = rng.random((len(x) // grain + 1, x.shape[1] // grain + 1, channels))
    if t.seed % 2:
        values = np.round(values)
    return values.repeat(grain, 0).repeat(grain, 1)[: len(x), : x.shape[1]]


def _salt_and_pepper(t: Texture, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values = np.full(x.shape, 0.5)
    chance = rng.random(x.shape)
    share = 0.01 + 0.1 * rng.random()
    values[chance < share] = 0
    values[chance > 1 - share] = 1
    return values


def _mosaic(t: Texture, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cells of colours in which every channel is off or full."""
    cell = max(1, round(t.size))
    values = rng.integers(0, 2, (len(x) // cell + 1, x.shape[1] // cell + 1, 3))
    return values.repeat(cell, 0).repeat(cell, 1)[: len(x), : x.shape[1]].astype(np.float64)


KINDS: dict[str, Callable[[Texture, np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    "checker": _checker,
    "stripes": _stripes,
    "hatch": _hatch,
    "dither": _dither,
    "zone plate": _zone_plate,
    "noise": _noise,
    "salt and pepper": _salt_and_pepper,
    "mosaic": _mosaic,
}


def random_texture(rng: np.random.Generator) -> Texture:
    """Draw a texture of any kind and contrast: two thirds between greys, the rest between colours."""
    contrast = rng.uniform(*CONTRASTS)
    if rng.random() < 2 / 3:
        ends = np.array([[0.0] * 3, [255.0] * 3])
    else:
        ends = rng.choice([0.0, 128.0, 255.0], (2, 3))
    ends = 128 + contrast * (ends - 128)
    low, high = ([round(v) for v in end] for end in ends)
    return Texture(
        kind=str(rng.choice(list(KINDS))),
        size=float(2 * 16 ** rng.random() ** 2),
        angle=float(rng.integers(0, 4) * np.pi / 4 if rng.random() < 0.5 else rng.uniform(0, np.pi)),
        low=(low[0], low[1], low[2]),
        high=(high[0], high[1], high[2]),
        seed=int(rng.integers(2**31)),
    )


def draw_overlays(seed: int) -> Tensor:
    """Draw the overlays for `paste`: uint8, OVERLAYS x SIDE x SIDE x 4. Each is a texture in a
    rectangle with sides of 16 to SIDE pixels, in which the fourth channel is 1 (0 around it)."""
    rng = np.random.default_rng(seed)
    overlays = np.zeros((OVERLAYS, SIDE, SIDE, 4), np.uint8)
    for overlay in overlays:
        h, w = (min(SIDE, round(16 * (SIDE / 8) ** rng.random())) for _ in range(2))
        top, left = rng.integers(SIDE - h + 1), rng.integers(SIDE - w + 1)
        place = overlay[top : top + h, left : left + w]
        place[..., :3] = random_texture(rng).draw(h, w)
        place[..., 3] = 1
    return torch.from_numpy(overlays)


def paste(overlays: Tensor, pictures: Tensor, drawn: Tensor) -> Tensor:
    """Paste a random one of `overlays` (from `draw_overlays`) at a random place onto each of `pictures`
    (uint8, N x H x W x 3) that is marked in `drawn` (bool, N)."""
    n, height, width, _ = pictures.shape
    device, side = pictures.device, overlays.shape[1]
    corner = torch.rand(n, 2, device=device)
    shift = [(corner[:, i] * (length - side)).long() for i, length in enumerate((height, width))]
    row = torch.arange(height, device=device) - shift[0][:, None]
    column = torch.arange(width, device=device) - shift[1][:, None]
    inside = ((row >= 0) & (row < side))[:, :, None] & ((column >= 0) & (column < side))[:, None, :]
    which = torch.randint(len(overlays), (n, 1, 1), device=device)
    found = overlays[which, row.clamp(0, side - 1)[:, :, None], column.clamp(0, side - 1)[:, None, :]]
    covered = inside[..., None] & (found[..., 3:] > 0) & drawn[:, None, None, None]
    return torch.where(covered, found[..., :3], pictures)
