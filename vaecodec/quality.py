"""What the user chooses: quality, 1..100 (levels 0..63 of the model), effort and tune."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

from bitstream.errors import BadType, BadValue

DEFAULT_QUALITY = 60
#: Rounds of search in the encoder (`vaecodec.model.search`).
DEFAULT_EFFORT = 0
MAX_EFFORT = 32
#: What a model's distortion is in training: as people see it, or squared error.
TUNES = ("visual", "psnr")
DEFAULT_TUNE = "visual"
TOP_LEVEL = 63
#: Of other formats that a decoded picture is written in, where they lose something.
LOSSY_QUALITY = 90


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is asked of an encoding: a quality level (0..TOP_LEVEL), and how much its rounding minds
    squared error relative to what is best at that level (`thrift`, at most 1)."""

    level: int
    thrift: float = 1.0


def level_of(quality: int) -> int:
    """Quality level for `quality`; monotonic, 1 -> 0, 100 -> 63. Raises BadValue outside 1..100."""
    check_whole("quality", quality, 1, 100)
    return round((quality - 1) * TOP_LEVEL / 99)


def check_effort(effort: int) -> None:
    """Raises BadValue outside 0..MAX_EFFORT."""
    check_whole("effort", effort, 0, MAX_EFFORT)


def check_tune(tune: str) -> None:
    """Raises BadType for what is no string, BadValue for what is none of TUNES."""
    if not isinstance(tune, str):
        raise BadType(f"a tune is named by a string, not {type(tune).__name__}")
    if tune not in TUNES:
        raise BadValue(f"no tune is called {tune!r}; there are: {', '.join(TUNES)}")


def check_whole(name: str, value: int, low: int, high: int) -> None:
    """Raises BadType for what is no whole number, BadValue outside `low`..`high`."""
    message = f"{name} must be a whole number from {low} to {high}, not {value!r}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise BadType(message)
    if not low <= value <= high:
        raise BadValue(message)
