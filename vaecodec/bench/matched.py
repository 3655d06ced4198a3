"""Code the same picture with every codec at about the same size, to look at side by side."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vaecodec.bench import cache as caching
from vaecodec.bench.cache import Cache
from vaecodec.bench.codecs import BenchCodec
from vaecodec.bench.run import Failed, Plan, Source, Task, finish, guarded, read_samples
from vaecodec.figures import psnr
from vaecodec.geometry import middle

#: Pixels of all pictures in a report together, originals included: a browser opens that in a moment.
PIXELS = 24_000_000
MAX_SIDE, MIN_SIDE = 512, 128
#: Growth of the logarithm of the size per step of quality, for typical codecs.
_SLOPE = 0.03


@dataclass(frozen=True, kw_only=True)
class Match:
    """A codec's largest file of a picture that is no larger than the target (if none is, its smallest).

    `picture`: the middle of the decoded picture, as a lossless WebP in base64. `psnr` is of the whole.
    """

    quality: int
    bytes: int
    bpp: float
    psnr: float | None
    picture: str


def side(images: int, codecs: int) -> int:
    """Side of the cuts, in pixels, so that they have about `PIXELS` in all."""
    room = int((PIXELS / max(1, images * (codecs + 1))) ** 0.5)
    return max(MIN_SIDE, min(MAX_SIDE, room // 16 * 16))


def cut(image: np.ndarray, side: int) -> str:
    """The middle of `image` (uint8 H x W x 3), at most `side` wide and high, as base64 of a WebP."""
    inner = middle(image.shape, side, side).slices()
    file = io.BytesIO()
    Image.fromarray(image[inner]).save(file, "WEBP", lossless=True, method=2)
    return base64.b64encode(file.getvalue()).decode()


@dataclass(frozen=True, kw_only=True)
class Coded:
    """A codec's file, and the quality that gave it. `fits`: whether it is as small as was asked for."""

    quality: int
    data: bytes
    fits: bool


def largest_within(
    image: np.ndarray,
    codec: BenchCodec,
    size: float,
    ends: tuple[int, int],
    before_each: Callable[[], None] = lambda: None,
) -> Coded:
    """Find the best file that `codec` makes of `image` (uint8 H x W x 3) in at most `size` bytes, or
    its smallest if there is none. `ends`: the worst and the best quality to try. `before_each` is
    called before each encoding, and may raise an error to end the search."""
    worst, best = ends
    step = 1 if best >= worst else -1  # for some codecs, a larger number means a worse picture
    low, high = -1, abs(best - worst) + 1  # the last that fits, the first that does not
    logarithms: dict[int, float] = {}
    data = b""
    guess = high // 2
    while high - low > 1:
        before_each()
        tried = codec.encode(image, worst + step * guess)
        logarithms[guess] = math.log(len(tried) / size)
        if len(tried) <= size:
            low, data = guess, tried
        else:
            high = guess
            data = tried if guess == 0 else data
        guess = _between(low, high, logarithms)
    return Coded(quality=worst + step * max(low, 0), data=data, fits=low >= 0)


def _between(low: int, high: int, logarithms: dict[int, float]) -> int:
    """Guess the quality that meets a size, strictly between `low` and `high` if any is. `logarithms`:
    quality -> logarithm of the size found there relative to the one sought."""
    known = [q for q in (low, high) if q in logarithms]
    if len(logarithms) % 4 == 0:  # bisect now and then, since guesses may creep
        return (low + high) // 2
    both = len(known) == 2
    slope = (logarithms[high] - logarithms[low]) / (high - low) if both else _SLOPE
    start = min(known, key=lambda q: abs(logarithms[q]))
    wanted = start - logarithms[start] / max(slope, 1e-6)
    # Try the quality just below `wanted`, likely the last that fits: then the next ends the search.
    return min(max(math.floor(wanted) if start == low else math.ceil(wanted) - 1, low + 1), high - 1)


def _ends(codec: BenchCodec) -> tuple[int, int]:
    """The lowest and the highest quality to try."""
    return codec.qualities[0], codec.qualities[-1]


def match(image: np.ndarray, codec: BenchCodec, bpp: float, side: int) -> Match:
    """Run `largest_within` for `bpp` bits per pixel, between the default qualities, and decode."""
    coded = largest_within(image, codec, bpp * image.shape[0] * image.shape[1] / 8, _ends(codec))
    decoded = codec.decode(coded.data)
    decibels = psnr(image, decoded)
    return Match(
        quality=coded.quality,
        bytes=len(coded.data),
        bpp=8 * len(coded.data) / (image.shape[0] * image.shape[1]),
        psnr=decibels if math.isfinite(decibels) else None,
        picture=cut(decoded, side),
    )


def _matched(path: Path, name: str, codec: BenchCodec, bpp: float, side: int) -> dict[str, Any]:
    with guarded(f"{name}: {codec.name} failed at {bpp} bits per pixel"):
        return asdict(match(read_samples(path), codec, bpp, side))


def match_all(
    pictures: Sequence[Source],
    plan: Plan,
    bpp: float,
    *,
    cache: Cache,
    jobs: int = 1,
    failed: Failed = lambda _: None,
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> dict[str, dict[str, Match]]:
    """Match `pictures` (from `vaecodec.bench.run.readable`): image name -> codec name -> match."""
    pixels = side(len(pictures), len(plan))
    keys, tasks = {}, []
    for picture in pictures:
        name = picture.name
        for codec, _ in plan:
            low, high = _ends(codec)
            what = f"{bpp} bits per pixel, qualities {low} to {high}, middle of {pixels}"
            key = caching.key(picture.id, codec, what)
            keys[name, codec.name] = key
            if cache.get(key) is None:
                call = partial(_matched, picture.path, name, codec, bpp, pixels)
                tasks.append(
                    Task(key=key, text=f"{name}, {codec.name} at {bpp} bpp", codec=codec, call=call)
                )
    done = len(keys) - len(tasks)
    finish(tasks, cache, jobs, failed, lambda n, text: progress(done + n, len(keys), text))
    found: dict[str, dict[str, Match]] = {}
    for (name, codec_name), key in keys.items():
        if (stored := cache.get(key)) is not None:
            found.setdefault(name, {})[codec_name] = Match(**stored)
    return found
