"""What the user chooses: quality, 1..100 (levels 0..63 of the model), effort, tune, and what to undo in
the picture; and the checks of all that."""

from __future__ import annotations

import math
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
#: SSIMULACRA2 of two pictures that are the same.
IDENTICAL = 100
#: In place of a strength: find it from the picture.
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is asked of an encoding: a quality level (0..TOP_LEVEL), and the weight that rounding gives
    squared error relative to what is best at that level (`error_weight`, at most 1)."""

    level: int
    error_weight: float = 1.0


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
class EncodeOptions:
    """What `Codec.encode` is asked besides a quality or a target, as described there. Raises BadType or
    BadValue for what it does not take, and for options that contradict each other."""

    effort: int = DEFAULT_EFFORT
    tune: str | None = None
    lossless: bool | None = None
    strip: bool = False
    denoise: float | str | None = None
    deblock: float | str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "effort", check_effort(self.effort))  # NumPy's are taken as well
        if self.tune is not None:
            check_tune(self.tune)
        if self.lossless is not None:
            check_flag("lossless", self.lossless)
            object.__setattr__(self, "lossless", bool(self.lossless))
        check_flag("strip", self.strip)
        self.restoration.check_beside({"effort": self.effort, "lossless": self.lossless})

    @property
    def restoration(self) -> Restoration:
        return Restoration(denoise=self.denoise, deblock=self.deblock)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What to meet. `name`: "size" (bytes), "bpp" (bits per pixel), "psnr" (dB) or "ssimulacra2"
    (points). Raises BadType for a goal that is not a number, BadValue for one that is not above 0 and
    finite, or more than is possible."""

    name: str
    goal: float

    def __post_init__(self) -> None:
        if isinstance(self.goal, bool) or not isinstance(self.goal, Real):
            raise BadType(f"{self} must be a number, not {told(self.goal)}")
        number = as_float(self.goal)
        if not 0 < number < math.inf:
            raise BadValue(f"{self} must be a finite number above 0, not {told(self.goal)}")
        if self.name == "ssimulacra2" and number > IDENTICAL:
            raise BadValue(
                f"{self} must be at most {IDENTICAL}, which means identical, not {told(self.goal)}"
            )
        object.__setattr__(self, "goal", number)

    def __str__(self) -> str:
        return f"target_{self.name}"  # as users give it

    @property
    def is_size(self) -> bool:
        return self.name in ("size", "bpp")

    def check_beside(self, options: EncodeOptions) -> None:
        """Raise BadValue if something is to be undone in a picture that is to be met as it is."""
        options.restoration.check_beside({str(self): not self.is_size})


def chosen_target(**goals: float | None) -> Target | None:
    """Return the target whose goal is not None, if there is one. Raises BadValue for several, and what
    `Target` raises."""
    targets = [Target(name=name, goal=goal) for name, goal in goals.items() if goal is not None]
    if len(targets) > 1:
        raise BadValue(f"one target at most, not {' and '.join(map(str, targets))}")
    return targets[0] if targets else None


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
        raise BadType(f"{name} must be a number or {AUTO!r}, not {told(value)}")
    return as_float(value)


def as_float(value: Real) -> float:
    """Return a number as a float, infinite if it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def level_of(quality: int) -> int:
    """Return the level for `quality`: monotonic, 1 -> 0, 100 -> 63. Raises BadValue outside 1..100."""
    return round((check_whole("quality", quality, 1, 100) - 1) * TOP_LEVEL / 99)


def check_effort(effort: int) -> int:
    """Return an effort as an int. Raises BadValue outside 0..MAX_EFFORT."""
    return check_whole("effort", effort, 0, MAX_EFFORT)


def check_flag(name: str, value: bool) -> None:
    """Raise BadType for what is neither True nor False."""
    import numpy as np  # commands that ask for no flag start sooner without

    if not isinstance(value, (bool, np.bool_)):
        raise BadType(f"{name} must be True or False, not {value!r}")


def check_tune(tune: str) -> None:
    """Raise BadType if `tune` is not a string, BadValue if it is not one of TUNES."""
    if not isinstance(tune, str):
        raise BadType(f"a tune is named by a string, not {type(tune).__name__}")
    if tune not in TUNES:
        raise BadValue(f"no tune is called {tune!r}; there are: {', '.join(TUNES)}")


def check_whole(name: str, value: int, low: int, high: int) -> int:
    """Return `value`, which may be one of NumPy's, as an int. Raises BadType if it is not a whole
    number, BadValue if it is outside `low`..`high`."""
    message = f"{name} must be a whole number from {low} to {high}, not {told(value)}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise BadType(message)
    if not low <= value <= high:
        raise BadValue(message)
    return int(value)


def told(value: object) -> str:
    """Return how an error tells a value."""
    try:
        return repr(value)
    except ValueError:  # Python writes no integers of more than 4300 digits
        return "a number of thousands of digits"
