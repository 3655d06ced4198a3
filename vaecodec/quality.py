"""The user's quality, 1..100, and the model's quality levels, 0..63."""

from __future__ import annotations

from numbers import Integral

from bitstream.errors import VaeError

DEFAULT_QUALITY = 60
_TOP_LEVEL = 63


def level_of(quality: int) -> int:
    """Quality level for `quality`; monotonic, 1 -> 0, 100 -> 63. Raises VaeError outside 1..100."""
    if isinstance(quality, bool) or not isinstance(quality, Integral) or not 1 <= quality <= 100:
        raise VaeError(f"quality must be a whole number from 1 to 100, not {quality!r}")
    return round((quality - 1) * _TOP_LEVEL / 99)
