"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

import click

from bitstream.container import MAX_PIXELS
from bitstream.errors import BadValue
from vaecodec.quality import (
    AUTO,
    DEFAULT_EFFORT,
    DEFAULT_QUALITY,
    DEFAULT_TUNE,
    LOWEST_JPEG,
    MAX_EFFORT,
    MAX_NOISE,
    NEVER_JPEG,
    TUNES,
    Restoration,
)

Command = TypeVar("Command", bound=Callable[..., Any])


class Size(click.ParamType):
    """A number of bytes: 200000, 200k (thousands), 1.5M, 64Ki (1024)."""

    name = "size"
    UNITS: ClassVar = {"": 1, "k": 10**3, "M": 10**6, "Ki": 2**10, "Mi": 2**20}

    def convert(self, value: object, param: object, ctx: object) -> int:
        match = re.fullmatch(r"([0-9]*\.?[0-9]+)(k|M|Ki|Mi|)", str(value))
        if match is None:
            raise click.BadParameter(f"{value!r} is no size, such as 200000, 200k or 64Ki")
        return int(Decimal(match[1]) * self.UNITS[match[2]])


device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the networks run.",
)
#: For shell completion; what a name stands for is found out later.
PATH = click.Path(readable=False)
model = click.option(
    "--model", type=PATH, metavar="NAME", help="Model name, size, or path to a .safetensors file."
)


def recursive(help_text: str) -> Callable[[Command], Command]:
    """Whether subfolders are searched."""
    return click.option(
        "--recursive/--no-recursive", "-r/ ", default=True, show_default=True, help=help_text
    )


def jobs(help_text: str, default: int | None = 1) -> Callable[[Command], Command]:
    """How much is done at a time."""
    return click.option(
        "-j",
        "--jobs",
        type=click.IntRange(min=1),
        default=default,
        show_default=default is not None,
        help=help_text,
    )


force = click.option("--force", is_flag=True, help="Replace existing output files.")
resume = click.option(
    "--resume",
    is_flag=True,
    help="Resume an earlier run: skip files that already have an output.",
)
report = click.option(
    "--report",
    type=PATH,
    metavar="FILE",
    help="Write the outcome of every file, and totals, as JSON.",
)
quiet = click.option("--quiet", is_flag=True, help="Print only what went wrong.")
as_json = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print everything as JSON on standard output, a line per file.",
)
keep_times = click.option(
    "--keep-times", is_flag=True, help="Give outputs the access and modification times of their inputs."
)
effort = click.option(
    "--effort",
    type=click.IntRange(0, MAX_EFFORT),
    default=DEFAULT_EFFORT,
    show_default=True,
    help="Rounds of search for a better trade-off between size and quality; 0 is fastest.",
)
tune = click.option(
    "--tune",
    type=click.Choice(TUNES),
    help="Weigh distortion as people see it, or as squared error. "
    f"[default: {DEFAULT_TUNE}, or the model's]",
)
quality = click.option(
    "-q",
    "--quality",
    type=click.IntRange(1, 100),
    default=DEFAULT_QUALITY,
    show_default=True,
    help="From 1 (smallest) to 100 (best).",
)
lossless = click.option(
    "--lossless/--no-lossless",
    default=None,
    help="Store without loss, or never; by default, drawings if that takes hardly more bytes.",
)


def _strength(_: object, option: click.Parameter, value: str | None) -> float | str | None:
    """AUTO or a number that `Restoration` takes."""
    if value is None:
        return None
    try:
        wish = value if value == AUTO else float(value)
        Restoration(**{str(option.name): wish})
    except BadValue as error:
        raise click.BadParameter(str(error)) from error
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is neither {AUTO} nor a number") from error
    return wish


denoise = click.option(
    "--denoise",
    metavar="auto|SIGMA",
    callback=_strength,
    help=f"Undo noise of this standard deviation (up to {MAX_NOISE:g} of 255); auto measures it.",
)
deblock = click.option(
    "--deblock",
    metavar="auto|QUALITY",
    callback=_strength,
    help=f"Undo JPEG of this quality ({LOWEST_JPEG} to {NEVER_JPEG - 1}); auto takes the file's own.",
)
strip = click.option("--strip", is_flag=True, help="Leave out colour profile, EXIF and XMP.")
inputs = click.argument("inputs", type=PATH, metavar="INPUT...", nargs=-1, required=True)
max_pixels = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=MAX_PIXELS,
    show_default=True,
    help="Refuse larger pictures.",
)
