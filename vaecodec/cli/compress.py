"""`vaecodec compress`."""

from __future__ import annotations

from pathlib import Path

import click

from vaecodec.cli import options
from vaecodec.cli.convert import convert
from vaecodec.cli.report import notice
from vaecodec.files import expand, output_paths
from vaecodec.quality import DEFAULT_QUALITY


@click.command("compress")
@options.inputs
@click.option("-o", "--output", metavar="OUT", help="Output file, or folder for several inputs.")
@click.option(
    "-q",
    "--quality",
    type=click.IntRange(1, 100),
    default=DEFAULT_QUALITY,
    show_default=True,
    help="From 1 (smallest) to 100 (best).",
)
@options.effort
@options.tune
@click.option(
    "--lossless/--no-lossless",
    default=None,
    help="Store without loss, or never; by default drawings, if that takes hardly more bytes.",
)
@click.option("--strip", is_flag=True, help="Leave out colour profile, EXIF and XMP.")
@options.model
@options.device
@options.force
def command(
    inputs: tuple[str, ...],
    output: str | None,
    quality: int,
    effort: int,
    tune: str | None,
    lossless: bool | None,
    strip: bool,
    model: str | None,
    device: str,
    force: bool,
) -> int:
    """Compress image files to .vae files.

    INPUT: image files, folders (searched recursively) or glob patterns. Outputs go beside the inputs
    unless -o is given.
    """
    from PIL import Image

    from bitstream.container import MAX_PIXELS
    from vaecodec.codec import Codec
    from vaecodec.model import registry
    from vaecodec.pictures.reading import read_picture

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # our limit, not Pillow's smaller one
    # Formats that Pillow only writes (PDF, for one) are no inputs.
    readable = {e for e, name in Image.registered_extensions().items() if name in Image.OPEN}
    pairs = output_paths(expand(inputs, readable), output, ".vae")
    registry.find(model, tune)  # what there is none of is said once, before any file
    codec = Codec(model, device)

    def work(source: Path, target: Path) -> bytes:
        picture = read_picture(source)
        if picture.notices:
            notice(f"{source}: not kept in the .vae file: {', '.join(picture.notices)}")
        return codec.encode(picture, quality, effort=effort, tune=tune, lossless=lossless, strip=strip)

    return convert(pairs, work, force)
