"""`vaecodec decompress`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bitstream.errors import VaeError
from vaecodec.cli import options
from vaecodec.cli.convert import Converted, Manner, Pair, Work, convert, with_manner
from vaecodec.cli.saving import file_bytes, format_of
from vaecodec.files import expand, output_paths, source_of
from vaecodec.parallel import FAILURES, Failure, filled_in, settled
from vaecodec.quality import LOSSY_QUALITY

if TYPE_CHECKING:
    from PIL import Image

#: Argument of --scale -> samples averaged into one, along each axis.
REDUCTIONS = {"1": 1, "1/2": 2, "1/4": 4, "1/8": 8}


@click.command("decompress")
@options.inputs
@click.option(
    "-o",
    "--output",
    type=options.PATH,
    metavar="OUT",
    help="Output file (its extension chooses the format), or folder.",
)
@click.option(
    "--format",
    "extension",
    metavar="EXT",
    help="Format of files that -o does not name, by its extension. [default: png]",
)
@click.option("--region", metavar="X,Y,W,H", help="Decode only this rectangle, in pixels.")
@click.option(
    "--scale",
    type=click.Choice(list(REDUCTIONS)),
    default="1",
    show_default=True,
    help="Shrink the picture by averaging samples.",
)
@click.option("--recover", is_flag=True, help="Decode what is intact of damaged files.")
@options.max_pixels
@options.model
@options.device
@click.option(
    "-q",
    "--quality",
    type=click.IntRange(1, 100),
    help=f"Quality of the format written, if it is lossy. [default: {LOSSY_QUALITY}]",
)
@with_manner
@options.recursive("Search subfolders as well; outputs keep the folder tree.")
def command(
    inputs: tuple[str, ...],
    output: str | None,
    extension: str | None,
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
    is standard output. Each file names its model; --model adds one that is not installed.

    Examples:

    \b
        vaecodec decompress photo.vae
        vaecodec decompress small/ -o back/ --format webp
        vaecodec decompress photo.vae -o photo.jpg -q 95
        vaecodec decompress photo.vae --region 0,0,640,480 --scale 1/2
    """
    from vaecodec.pictures import saving

    suffix = "." + (extension or "png").lower().removeprefix(".")
    found = expand(inputs, {".vae"}, recursive=recursive)
    try:
        kind = saving.format_of(suffix)
    except VaeError as error:
        raise click.BadParameter(f"{extension!r}: {error}", param_hint="--format") from error
    pairs = output_paths(found, output, suffix, {".vae"}, saving.extensions())
    kinds = {format_of(target, suffix) for _, target in pairs}
    if extension and kinds - {kind}:
        raise click.UsageError("--format and the extension of -o name different formats")
    from vaecodec.codec import pick_device
    from vaecodec.model import registry

    registry.find(model)  # a missing model is reported once, before any file
    pick_device(device)
    work = _Decompress(
        max_pixels=max_pixels,
        box=None if region is None else _region(region),
        suffix=suffix,
        reduce=REDUCTIONS[scale],
        recover=recover,
        model=model,
        device=device,
        quality=quality,
    )
    return convert(pairs, work, manner)


@dataclass(frozen=True, kw_only=True)
class _Decompress(Work):
    """What is done with a file, in whatever process: options of the command."""

    max_pixels: int
    suffix: str
    box: tuple[int, int, int, int] | None
    reduce: int
    recover: bool
    quality: int | None

    @property
    def together(self) -> bool:
        return self.box is None and self.reduce == 1 and not self.recover

    def pixels(self, pair: Pair) -> int:
        from vaecodec.sources import announced_pixels

        return announced_pixels(pair[0])

    def several(self, pairs: list[Pair]) -> list[Converted | Failure]:
        from vaecodec.pictures.reading import set_limit_of_pillow

        set_limit_of_pillow(self.max_pixels)  # of whatever process this is; what is written is read
        if len(pairs) > 1:
            sources = [settled(source_of, source) for source, _ in pairs]
            open_ones = [source for source in sources if not isinstance(source, FAILURES)]
            images = filled_in(
                sources,
                self.codec.decode_batch(open_ones, max_pixels=self.max_pixels, on_error="return"),
            )
        else:
            images = [settled(self._image, source) for source, _ in pairs]
        return [
            image if isinstance(image, FAILURES) else settled(partial(self._converted, image), pair)
            for pair, image in zip(pairs, images, strict=True)
        ]

    def _image(self, source: Path) -> Image.Image:
        return self.codec.decode(
            source_of(source),
            max_pixels=self.max_pixels,
            box=self.box,
            reduce=self.reduce,
            recover=self.recover,
        )

    def _converted(self, image: Image.Image, pair: Pair) -> Converted:
        source, target = pair
        notices = []
        if "trailing_bytes" in image.info:
            trailing = image.info["trailing_bytes"]
            notices.append(f"{source}: {trailing} bytes after the end are ignored")
        if "damage" in image.info:
            lost = "; ".join(f"{r - x} x {b - y} at {x},{y}" for x, y, r, b in image.info["lost"])
            outcome = f"filled in from around: {lost}" if lost else "the picture is whole"
            notices.append(f"{source}: recovered, although {image.info['damage']}; {outcome}")
        data, more = file_bytes(image, source, target, self.quality, self.suffix)
        return Converted(data=data, pixels=image.width * image.height, notices=(*notices, *more))


def _region(text: str) -> tuple[int, int, int, int]:
    try:
        left, top, width, height = (int(part) for part in text.split(","))
    except ValueError:
        message = f"{text!r} is not four whole numbers: left, top, width, height"
        raise click.BadParameter(message, param_hint="--region") from None
    return left, top, left + width, top + height
