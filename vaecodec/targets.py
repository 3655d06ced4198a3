"""Targets in place of a quality, and how to meet them with few encodings.

Sizes and figures rise with the quality level. A size is approached first by levels, each of which takes
some 5 % more bytes than the one before, and then, at the lowest that is too large, by a lower
weight of squared error in rounding than is best at the level (`error_weight`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bitstream.errors import BadValue, VaeError
from vaecodec import figures
from vaecodec.encoding import Encoded, Prepared, exact_if_better
from vaecodec.model.ssimulacra2 import SMALLEST_SIDE
from vaecodec.pictures import lossless, packing
from vaecodec.quality import TOP_LEVEL, Setting, Target

#: A size is met by this share of it or more.
CLOSE_ENOUGH = 0.96
#: The share of a size that is aimed at, since estimates may turn out a little too small.
AIM = 0.985
#: Most encodings that the search for a size may take.
MOST_ENCODINGS = 7
#: For typical pictures: growth of the size's logarithm per level, and the level to begin with.
_SLOPE, _FIRST = 0.052, 37
#: An error weight of w saves a share of the size of about _SAVED * (1/w - 1) ** _POWER.
_SAVED, _POWER = 0.02, 0.8
LEAST_ERROR_WEIGHT = 0.02


@dataclass(frozen=True, kw_only=True)
class Trials:
    """How to find out what a setting gives. `encode`: encodes the picture with loss. `decode`: turns a
    file into samples, uint8, H x W or H x W x 2 to 4."""

    encode: Callable[[Setting], Encoded]
    decode: Callable[[bytes], np.ndarray]


def meet(target: Target, item: Prepared, exact: bool | None, model_id: bytes, trials: Trials) -> bytes:
    """Return the file of a picture that meets the target. `exact`: `lossless` of `Codec.encode`.

    Raises VaeError if there is none.
    """
    if target.is_size:
        return _of_size(target, item, exact, model_id, trials)
    return _of_figure(target, item, exact, trials)


def _of_size(
    target: Target, item: Prepared, exact: bool | None, model_id: bytes, trials: Trials
) -> bytes:
    picture = item.picture
    height, width, _ = picture.samples.shape
    size = target.goal if target.name == "size" else target.goal * width * height / 8
    limit = int(min(size, sys.maxsize))
    if limit < 1:
        raise BadValue(f"{target} of {target.goal!r} is less than one byte for this picture")
    if exact:
        without = packing.without_loss(picture)
        if len(without) > limit:
            raise VaeError(f"without loss the file does not fit into {limit} bytes")
        return without
    if exact is None and item.degradation is None and lossless.fits(height, width):
        without = packing.without_loss(picture)
        if len(without) <= limit:
            return without
    fixed = packing.without_streams(picture, model_id)
    return to_size(lambda setting: trials.encode(setting).file, limit, fixed)


def _of_figure(target: Target, item: Prepared, exact: bool | None, trials: Trials) -> bytes:
    picture = item.picture
    height, width, _ = picture.samples.shape
    if exact:
        return packing.without_loss(picture)
    if target.name == "ssimulacra2" and min(height, width) < SMALLEST_SIDE:
        raise BadValue(f"{target} needs a picture of {SMALLEST_SIDE} pixels a side")
    if target.name == "ssimulacra2" and height * width > figures.MEASURED_PIXELS:
        raise BadValue(f"{target} takes pictures of at most {figures.MEASURED_PIXELS} pixels")
    found: dict[int, Encoded] = {}

    def figure(level: int) -> float:
        found[level] = trials.encode(Setting(level=level))
        return figures.of(target.name, picture, trials.decode(found[level].file))

    level = lowest_level(figure, target.goal)
    if level is not None:
        return found[level].file if exact is False else exact_if_better(item, found[level])
    if exact is None and lossless.fits(height, width):
        return packing.without_loss(picture)
    raise VaeError(f"{target} {target.goal:g} cannot be reached with loss")


def lowest_level(measure: Callable[[int], float], goal: float) -> int | None:
    """Return the lowest level at which `measure` is at least `goal`, or None. `measure` must rise with
    the level; it is called once for each level examined, about five times."""
    below, above = (-1, -math.inf), (TOP_LEVEL + 1, math.inf)
    guess = _FIRST
    while above[0] - below[0] > 1:
        value = measure(guess)
        if value >= goal:
            above = (guess, value)
        else:
            below = (guess, value)
        if math.isfinite(below[1]) and math.isfinite(above[1]):
            share = (goal - below[1]) / max(above[1] - below[1], 1e-9)
            guess = below[0] + math.ceil(share * (above[0] - below[0]))
        else:  # only one side is known: move away from it, further each time
            known = below[0] if math.isfinite(below[1]) else above[0]
            step = 2 * abs(known - _FIRST) + 8
            guess = known + step if known == below[0] else known - step
        guess = min(max(guess, below[0] + 1), above[0] - 1)
    return above[0] if above[0] <= TOP_LEVEL else None


def to_size(encode: Callable[[Setting], bytes], limit: int, fixed: int = 0) -> bytes:
    """Return the best file of at most `limit` bytes, after at most MOST_ENCODINGS calls of `encode`, or
    one more if none of those fits. It mostly takes CLOSE_ENOUGH of what `limit` leaves, or more, unless
    the highest level takes less.

    `fixed`: bytes of a file that no setting changes, such as transparency and metadata.

    Raises VaeError if no file is that small.
    """
    room = limit - fixed
    if room <= 0:
        raise VaeError(
            f"the file cannot be as small as {limit} bytes: transparency and metadata take {fixed}"
        )
    sizes: dict[int, int] = {}  # without `fixed`
    best = b""
    level = _FIRST
    for _ in range(MOST_ENCODINGS - 2):
        data = encode(Setting(level=level))
        sizes[level] = len(data) - fixed
        if len(best) < len(data) <= limit:
            best = data
        fitting = [known for known, size in sizes.items() if size <= room]
        too_large = [known for known, size in sizes.items() if size > room]
        low, high = max(fitting, default=-1), min(too_large, default=TOP_LEVEL + 1)
        if len(best) - fixed >= CLOSE_ENOUGH * room or high - low == 1:
            break
        wanted = level + math.log(AIM * room / sizes[level]) / _slope(sizes)
        level = min(max(math.floor(wanted), low + 1), high - 1)
    if len(best) - fixed >= CLOSE_ENOUGH * room or not too_large:
        return best
    return _by_error_weight(encode, min(too_large), sizes, best, limit, fixed)


def _slope(sizes: dict[int, int]) -> float:
    """Slope of the logarithm of sizes between the two closest levels, within a factor of 4 of the
    typical slope; the latter if only one level is known."""
    levels = sorted(sizes)
    pairs = [(b - a, a, b) for a, b in pairwise(levels)]
    if not pairs:
        return _SLOPE
    distance, a, b = min(pairs)
    return min(max(math.log(sizes[b] / sizes[a]) / distance, _SLOPE / 4), 4 * _SLOPE)


def _by_error_weight(
    encode: Callable[[Setting], bytes],
    level: int,
    sizes: dict[int, int],
    best: bytes,
    limit: int,
    fixed: int,
) -> bytes:
    """Return `best`, or a larger file of at most `limit` bytes at `level`, made to fit by a lower
    `error_weight`."""
    room, saved, smallest = limit - fixed, _SAVED, sizes[level]
    for _ in range(MOST_ENCODINGS - len(sizes)):
        share = max(1 - AIM * room / sizes[level], 1e-4)
        error_weight = max(1 / (1 + (share / saved) ** (1 / _POWER)), LEAST_ERROR_WEIGHT)
        data = encode(Setting(level=level, error_weight=error_weight))
        smallest = min(smallest, len(data) - fixed)
        if len(best) < len(data) <= limit:
            best = data
        if len(best) - fixed >= CLOSE_ENOUGH * room:
            return best
        found = max(1 - (len(data) - fixed) / sizes[level], 1e-4)
        saved = found / (1 / error_weight - 1) ** _POWER
    if not best:
        data = encode(Setting(level=0, error_weight=LEAST_ERROR_WEIGHT))
        smallest = min(smallest, len(data) - fixed)
        if len(data) > limit:
            takes = f"it takes {fixed + smallest} at least"
            raise VaeError(f"the file cannot be as small as {limit} bytes; {takes}")
        best = data
    return best
