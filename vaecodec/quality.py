"""What the user chooses: quality, 1..100 (levels 0..63 of the model), effort, tune, and what to undo in
the picture."""

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
#: Distortions that models are trained for: as people see it, or squared error.
TUNES = ("visual", "psnr")
DEFAULT_TUNE = "visual"
TOP_LEVEL = LEVELS - 1
#: Quality at which decoded pictures are saved in other, lossy formats.
LOSSY_QUALITY = 90
#: Strongest noise that can be given: its standard deviation on the scale 0..255.
MAX_NOISE = 50.0
#: JPEG qualities as libjpeg counts them: the lowest that can be given, and what stands for "no JPEG".
LOWEST_JPEG, NEVER_JPEG = 10, 100
#: In place of a strength: find it from the picture.
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is asked of an encoding: a quality level (0..TOP_LEVEL), and the weight that rounding gives
    squared error relative to what is best at that level (`thrift`, at most 1)."""

    level: int
    thrift: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Restoration:
    """What to undo in a picture. `denoise`: standard deviation of its noise, above 0, at most
    MAX_NOISE; `deblock`: the quality it had as JPEG, from LOWEST_JPEG to below NEVER_JPEG. Either may
    be AUTO, or None for nothing. Raises BadType or BadValue for anything else."""

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
        """Raise BadValue if something is to be undone and one of `options` (by name) is set: they all
        ask for the picture as it is."""
        for name, value in options.items():
            if self and value:
                raise BadValue(f"{name} asks for the picture as it is: not with denoise or deblock")


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """What happened to a picture. `noise`: standard deviation, 0..MAX_NOISE, on the scale 0..255, as
    measured by `vaecodec.pictures.degradation`. `jpeg`: the quality it had as a JPEG file,
    LOWEST_JPEG..NEVER_JPEG."""

    noise: float = 0.0
    jpeg: float = NEVER_JPEG


def _strength(name: str, value: object) -> float | None:
    """Return `value` as a number; None if there is nothing to undo or the strength is to be found."""
    if value is None or (isinstance(value, str) and value == AUTO):
        return None
    if isinstance(value, bool) or not isinstance(value, Real):
        raise BadType(f"{name} must be a number or {AUTO!r}, not {value!r}")
    return float(value)


def level_of(quality: int) -> int:
    """Return the level for `quality`: monotonic, 1 -> 0, 100 -> 63. Raises BadValue outside 1..100."""
    check_whole("quality", quality, 1, 100)
    return round((quality - 1) * TOP_LEVEL / 99)


def check_effort(effort: int) -> None:
    """Raise BadValue outside 0..MAX_EFFORT."""
    check_whole("effort", effort, 0, MAX_EFFORT)


def check_tune(tune: str) -> None:
    """Raise BadType if `tune` is not a string, BadValue if it is not one of TUNES."""
    if not isinstance(tune, str):
        raise BadType(f"a tune is named by a string, not {type(tune).__name__}")
    if tune not in TUNES:
        raise BadValue(f"no tune is called {tune!r}; there are: {', '.join(TUNES)}")


def check_whole(name: str, value: int, low: int, high: int) -> None:
    """Raise BadType if `value` is not a whole number, BadValue if it is outside `low`..`high`."""
    message = f"{name} must be a whole number from {low} to {high}, not {value!r}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise BadType(message)
    if not low <= value <= high:
        raise BadValue(message)
