"""`vaecodec repair`."""

from __future__ import annotations

from pathlib import Path

import click

from bitstream.errors import VaeError
from vaecodec.cli import options
from vaecodec.cli.report import notice
from vaecodec.cli.saving import file_bytes, format_of
from vaecodec.files import STANDARD_STREAM, check_output, make_parents, source_of, write_whole
from vaecodec.quality import DEFAULT_QUALITY
from vaecodec.sources import naming


@click.command("repair")
@click.argument("picture", type=options.PATH, metavar="PICTURE")
@click.option(
    "--mask",
    type=options.PATH,
    metavar="MASK",
    required=True,
    help="A picture of the same size, white where PICTURE is to be made new.",
)
@click.option(
    "-o",
    "--output",
    type=options.PATH,
    metavar="OUT",
    help="Output file, an image format or .vae. [default: NAME-repaired.png beside PICTURE]",
)
@click.option("-q", "--quality", type=click.IntRange(1, 100), help="Of OUT, where it loses something.")
@options.tune
@options.model
@options.device
@options.force
@options.quiet
def command(
    picture: str,
    mask: str,
    output: str | None,
    quality: int | None,
    tune: str | None,
    model: str | None,
    device: str,
    force: bool,
    quiet: bool,
) -> int:
    """Fill in what is scratched, written over or torn out.

    What MASK marks is made new from what surrounds it; the rest stays as it is,
    to the last bit if OUT is PNG. Wide holes become soft shades: nothing is
    invented.

    Examples:

    \b
        vaecodec repair scan.png --mask scratches.png
        vaecodec repair photo.jpg --mask date.png -o photo.vae -q 70
    """
    from vaecodec.codec import Codec
    from vaecodec.pictures.masks import to_mask
    from vaecodec.pictures.reading import read_picture, set_limit_of_pillow
    from vaecodec.uses.repair import repair

    if "" in (picture, mask, output):
        raise VaeError("a name of a file is empty")
    source = Path(picture)
    if output is None and source == STANDARD_STREAM:
        raise click.UsageError("what comes from standard input needs a name: use -o")
    target = source.with_name(f"{source.stem}-repaired.png") if output is None else Path(output)
    coded = target.suffix.lower() == ".vae"
    if not coded:
        format_of(target)
    if source == STANDARD_STREAM == Path(mask):
        raise click.UsageError("only one of PICTURE and MASK can come from standard input")
    set_limit_of_pillow()
    codec = Codec(model, device)
    notices: list[str] = []
    check_output(target, force=force)
    with naming(mask):
        marked = to_mask(source_of(Path(mask)))
    with naming(picture):
        before = source_of(source)
        image = codec.decode(before) if source.suffix.lower() == ".vae" else read_picture(before)
        if coded:
            data = codec.encode(image, quality or DEFAULT_QUALITY, tune=tune, mask=marked)
        else:
            made = repair(image, marked, tune=tune, codec=codec)
            data, notices = file_bytes(made, source, target, quality)
    for text in () if quiet else notices:
        notice(text)
    make_parents(target)
    write_whole(target, data, force=force)
    return 0
