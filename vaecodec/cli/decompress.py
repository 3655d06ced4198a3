"""`vaecodec decompress`."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bitstream.errors import VaeError
from vaecodec.cli import options
from vaecodec.cli.convert import Converted, Manner, Pair, convert, with_manner
from vaecodec.files import STANDARD_STREAM, expand, output_paths, source_of

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

#: Formats that lose something, and the quality they are written with unless -q says otherwise.
LOSSY_FORMATS = ("JPEG", "WEBP", "AVIF", "MPO", "PDF")
LOSSY_QUALITY = 90
#: Modes to save a picture of a mode in: a format may have no transparency, or no grey.
_MODES = {
    "L": ("L", "RGB"),
    "LA": ("LA", "L", "RGBA", "RGB"),
    "RGB": ("RGB",),
    "RGBA": ("RGBA", "RGB"),
}
#: Argument of --scale -> samples averaged into one, along each axis.
SCALES = {"1": 1, "1/2": 2, "1/4": 4, "1/8": 8}


@click.command("decompress")
@options.inputs
@click.option(
    "-o",
    "--output",
    type=options.PATH,
    metavar="OUT",
    help="Output file (its extension chooses the format), or folder for PNG files.",
)
@click.option("--region", metavar="X,Y,W,H", help="Only this rectangle, in pixels.")
@click.option(
    "--scale",
    type=click.Choice(list(SCALES)),
    default="1",
    show_default=True,
    help="Shrink the picture, averaging samples.",
)
@click.option("--recover", is_flag=True, help="Decode what is intact of damaged files.")
@options.max_pixels
@options.model
@options.device
@click.option(
    "-q",
    "--quality",
    type=click.IntRange(1, 100),
    help=f"Of the format written, where it loses something. [default: {LOSSY_QUALITY}]",
)
@with_manner
@options.recursive
def command(
    inputs: tuple[str, ...],
    output: str | None,
    region: str | None,
    scale: str,
    recover: bool,
    max_pixels: int,
    model: str | None,
    device: str,
    quality: int | None,
    manner: Manner,
    recursive: bool,
) -> int:
    """Turn .vae files back into images: PNG, or the format of OUT's extension.

    INPUT: .vae files, folders, glob patterns, or - for standard input; - as OUT
    is standard output, PNG. The model is the one each file names; --model adds one that is not
    installed.

    Examples:

    \b
        vaecodec decompress photo.vae
        vaecodec decompress small/ -o back/
        vaecodec decompress photo.vae -o photo.jpg -q 95
        vaecodec decompress photo.vae --region 0,0,640,480 --scale 1/2
    """
    pairs = output_paths(expand(inputs, {".vae"}, recursive=recursive), output, ".png", {".vae"})
    for _, target in pairs:
        _format_of(target)
    from vaecodec.codec import pick_device
    from vaecodec.model import registry

    registry.find(model)  # what there is none of is said once, before any file
    pick_device(device)
    work = _Decompress(
        max_pixels=max_pixels,
        box=None if region is None else _region(region),
        reduce=SCALES[scale],
        recover=recover,
        model=model,
        device=device,
        quality=quality,
    )
    return convert(pairs, work, manner)


@dataclass(frozen=True, kw_only=True)
class _Decompress:
    """What is done with a file, in whatever process: options of the command."""

    max_pixels: int
    box: tuple[int, int, int, int] | None
    reduce: int
    recover: bool
    model: str | None
    device: str
    quality: int | None

    def __call__(self, pair: Pair) -> Converted:
        import vaecodec

        source, target = pair
        image = vaecodec.decode(
            source_of(source),
            max_pixels=self.max_pixels,
            box=self.box,
            reduce=self.reduce,
            recover=self.recover,
            model=self.model,
            device=self.device,
        )
        notices = []
        if "trailing_bytes" in image.info:
            trailing = image.info["trailing_bytes"]
            notices.append(f"{source}: {trailing} bytes after the end are ignored")
        if "damage" in image.info:
            lost = "; ".join(f"{r - x} x {b - y} at {x},{y}" for x, y, r, b in image.info["lost"])
            outcome = f"filled in from around: {lost}" if lost else "the picture is whole"
            notices.append(f"{source}: recovered, although {image.info['damage']}; {outcome}")
        data, more = _file_bytes(image, source, target, self.quality)
        return Converted(data=data, pixels=image.width * image.height, notices=(*notices, *more))


def _region(text: str) -> tuple[int, int, int, int]:
    try:
        left, top, width, height = (int(part) for part in text.split(","))
    except ValueError:
        message = f"{text!r} is not four whole numbers: left, top, width, height"
        raise click.BadParameter(message, param_hint="--region") from None
    return left, top, left + width, top + height


def _format_of(target: Path) -> str:
    from PIL import Image

    if target == STANDARD_STREAM:
        return "PNG"
    name = Image.registered_extensions().get(target.suffix.lower())
    if name is None or name not in Image.SAVE:
        raise VaeError("Pillow writes no image format with this extension").in_file(str(target))
    return name


def _file_bytes(
    image: PilImage, source: Path, target: Path, quality: int | None
) -> tuple[bytes, list[str]]:
    """A picture in the format of `target`, and in words, what that loses."""
    from PIL import Image

    from vaecodec.pictures.metadata import save_options

    notices = []
    kind = _format_of(target)
    options, dropped = save_options(image, kind)
    if dropped:
        notices.append(f"{source}: {target.suffix or kind} files keep no {', no '.join(dropped)}")
    if kind in LOSSY_FORMATS:
        options["quality"] = quality or LOSSY_QUALITY
        if quality is None:
            notices.append(f"{target}: encoded anew, as {kind} of quality {LOSSY_QUALITY} (see -q)")
    try:
        data = _saved(image, kind, options)
    except (OSError, ValueError, SyntaxError) as error:
        raise VaeError(f"cannot be written in this format ({error})").in_file(str(target)) from error
    if kind in Image.OPEN:  # Pillow leaves out without a word what a format has no room for
        written, files = Image.open(io.BytesIO(data)), f"{source}: {target.suffix or kind} files"
        if image.has_transparency_data and not written.has_transparency_data:
            notices.append(f"{files} keep no transparency")
        if written.mode == "P" and image.getcolors(256) is None:
            notices.append(f"{files} keep no more than 256 colours")
        if written.size != image.size:
            notices.append(f"{target}: written as {written.width} x {written.height} pixels")
    return data, notices


def _saved(image: PilImage, kind: str, options: dict[str, object]) -> bytes:
    """The bytes of a picture in a format, in the first of `_MODES` that it takes. Raises what Pillow
    does."""
    *others, last = _MODES[image.mode]
    for mode in others:
        file = io.BytesIO()
        with contextlib.suppress(OSError, ValueError):  # what is refused is tried in the next
            image.convert(mode).save(file, kind, **options)
            return file.getvalue()
    file = io.BytesIO()
    image.convert(last).save(file, kind, **options)
    return file.getvalue()
