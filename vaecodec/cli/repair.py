"""`vaecodec repair`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bitstream.chunks import SIGNATURE
from bitstream.container import parse
from bitstream.errors import VaeError
from vaecodec.cli import options
from vaecodec.cli.messages import ProgressBar, notice
from vaecodec.cli.saving import file_bytes, format_of
from vaecodec.files import (
    STANDARD_STREAM,
    check_apart,
    check_output,
    make_parents,
    source_of,
    write_whole,
)
from vaecodec.quality import DEFAULT_QUALITY, LOSSY_QUALITY
from vaecodec.sources import NamedBytes, naming, read_source

if TYPE_CHECKING:
    from vaecodec.codec import Codec
    from vaecodec.pictures.reading import Picture


#: A mask that marks a larger share may be a mistake.
MOST_USUAL = 0.25


@click.command("repair")
@click.argument("picture", type=options.PATH, metavar="PICTURE")
@click.option(
    "--mask",
    type=options.PATH,
    metavar="MASK",
    required=True,
    help="A picture of the same size, white where PICTURE is to be filled in.",
)
@click.option(
    "-o",
    "--output",
    type=options.PATH,
    metavar="OUT",
    help="Output file (image or .vae), or folder. [default: NAME-repaired.png beside PICTURE]",
)
@click.option(
    "-q",
    "--quality",
    type=click.IntRange(1, 100),
    help=f"Quality of OUT. [default: {DEFAULT_QUALITY} for .vae, {LOSSY_QUALITY} for JPEG, WebP, AVIF]",
)
@options.model
@options.device
@options.force
@options.quiet
def command(
    picture: str,
    mask: str,
    output: str | None,
    quality: int | None,
    model: str | None,
    device: str,
    force: bool,
    quiet: bool,
) -> int:
    """Fill in what is scratched, written over or torn out.

    What MASK marks is filled in from its surroundings; the rest stays as it is,
    at 8 bits per sample, to the last bit if OUT is PNG. Mark strokes with a pixel
    or two around them, not boxes around words: wide holes become soft shades.

    PICTURE and MASK: image or .vae files; one of them may be - for standard input.

    Examples:

    \b
        vaecodec repair scan.png --mask scratches.png
        vaecodec repair photo.jpg --mask date.png -o undated.vae -q 70
    """
    from vaecodec.codec import Codec
    from vaecodec.pictures.masks import to_mask
    from vaecodec.pictures.reading import set_limit_of_pillow
    from vaecodec.uses.repair import default_model, repair

    target = _target(picture, mask, output)
    coded = target.suffix.lower() == ".vae"
    for source in (Path(picture), Path(mask)):
        check_apart(source, target)
    check_output(target, force=force)
    if not coded:
        format_of(target)
    codec = Codec(default_model() if model is None else model, device)
    set_limit_of_pillow()

    def tell(text: str) -> None:
        if not quiet:
            notice(text)

    with naming(mask):
        marked = to_mask(_read(mask, codec))
    if (share := marked.mean()) > MOST_USUAL:
        tell(f"{mask}: marks {share:.0%} of the picture; is it the mask?")
    with naming(picture):
        before = _read(picture, codec)
        if before.notices:
            tell(f"{picture}: not kept: {', '.join(before.notices)}")
        with ProgressBar(100, "%", silent=quiet) as bar:
            made = repair(
                before, marked, codec=codec, progress=lambda done: bar.update(round(100 * done))
            )
    if coded:
        encoder = Codec(None, device) if model is None else codec
        data = encoder.encode(made, quality or DEFAULT_QUALITY)
        if quality is None and not parse(data).header.lossless:
            tell(f"{target}: encoded anew, with quality {DEFAULT_QUALITY} (see -q)")
    else:
        data, notices = file_bytes(made, Path(picture), target, quality)
        for text in notices:
            tell(text)
    make_parents(target)
    write_whole(target, data, force=force)
    return 0


def _target(picture: str, mask: str, output: str | None) -> Path:
    """Where the result goes. Raises VaeError or UsageError for names that do not fit together."""
    if "" in (picture, mask, output):
        raise VaeError("a name of a file is empty")
    source = Path(picture)
    if source == STANDARD_STREAM == Path(mask):
        raise click.UsageError("only one of PICTURE and MASK can come from standard input")
    if output is not None and not output.endswith(("/", os.sep)) and not os.path.isdir(output):
        return Path(output)
    if source == STANDARD_STREAM:
        raise click.UsageError("what comes from standard input needs the name of a file: use -o")
    if os.path.isdir(source):
        raise VaeError("is a folder, a file was expected").in_file(picture)
    name = f"{source.stem}-repaired.png"
    return source.with_name(name) if output is None else Path(output) / name


def _read(name: str, codec: Codec) -> Picture:
    """An image or a `.vae` file. Raises VaeError."""
    from vaecodec.pictures.reading import read_picture, to_picture

    data, _ = read_source(source_of(Path(name)))
    if data.startswith(SIGNATURE):
        return to_picture(codec.decode(NamedBytes(data, name)))
    return read_picture(NamedBytes(data, name))
