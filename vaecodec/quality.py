"""What the user chooses: quality, 1..100 (levels 0..63 of the model), effort, tune, and what is to be
undone of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real

from bitstream.container import LEVELS
from bitstream.errors import BadType, BadValue

DEFAULT_QUALITY = 60
#: Rounds of search in the encoder (`vaecodec.model.search`).
DEFAULT_EFFORT = 0
MAX_EFFORT = 32
#: What a model's distortion is in training: as people see it, or squared error.
TUNES = ("visual", "psnr")
DEFAULT_TUNE = "visual"
TOP_LEVEL = LEVELS - 1
#: Of other formats that a decoded picture is written in, where they lose something.
LOSSY_QUALITY = 90
#: The most noise that can be named: its standard deviation, on the scale 0..255.
MAX_NOISE = 50.0
#: Qualities of JPEG, in libjpeg's terms: the lowest that can be named, and what stands for never.
LOWEST_JPEG, NEVER_JPEG = 10, 100
#: In the place of a strength: as the picture shows it.
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is asked of an encoding: a quality level (0..TOP_LEVEL), and how much its rounding minds
    squared error relative to what is best at that level (`thrift`, at most 1)."""

    level: int
    thrift: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Restoration:
    """What is to be undone of a picture. `denoise`: standard deviation of its noise, above 0, at most
    MAX_NOISE; `deblock`: quality at which it was JPEG, from LOWEST_JPEG to below NEVER_JPEG; either
    AUTO, or None for nothing. Raises BadType or BadValue for what is neither."""

    denoise: float | str | None = None
    deblock: float | str | None = None

    def __post_init__(self) -> None:
        noise = _strength("denoise", self.denoise)
        if noise is not None and not 0 < noise <= MAX_NOISE:
            raise BadValue(f"denoise must be above 0 and at most {MAX_NOISE:g}, not {noise:g}")
        quality = _strength("deblock", self.deblock)
        if quality is not None and not LOWEST_JPEG <= quality < NEVER_JPEG:
            raise BadValue(f"deblock must be from {LOWEST_JPEG} to {NEVER_JPEG - 1}, not {quality:g}")

    def __bool__(self) -> bool:
        return self.denoise is not None or self.deblock is not None

    def check_beside(self, options: Mapping[str, object]) -> None:
        """Raises BadValue if something is to be undone, and one of `options`, by their names, is set:
        they ask for the picture as it is."""
        for name, value in options.items():
            if self and value:
                raise BadValue(f"{name} asks for the picture as it is: not with denoise or deblock")


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """What happened to a picture. `noise`: standard deviation, 0..MAX_NOISE, on the scale 0..255, as
    `vaecodec.pictures.degradation` finds it. `jpeg`: quality at which it was a JPEG file,
    LOWEST_JPEG..NEVER_JPEG."""

    noise: float = 0.0
    jpeg: float = NEVER_JPEG


def _strength(name: str, value: object) -> float | None:
    """The number that `value` is, None where there is nothing to undo or it is to be found."""
    if value is None or (isinstance(value, str) and value == AUTO):
        return None
    if isinstance(value, bool) or not isinstance(value, Real):
        raise BadType(f"{name} must be a number or {AUTO!r}, not {value!r}")
    return float(value)


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
