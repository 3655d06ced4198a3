"""`vaecodec compare`."""

from __future__ import annotations

from pathlib import Path

import click

from bitstream.errors import VaeError
from vaecodec.cli import options
from vaecodec.cli.messages import ProgressBar, notice, say
from vaecodec.files import STANDARD_STREAM, check_output, make_parents, source_of, write_whole


@click.command("compare")
@click.argument("image", type=options.PATH, metavar="IMAGE")
@click.option(
    "-o",
    "--output",
    type=options.PATH,
    metavar="PAGE",
    help="The page to write. [default: IMAGE's name with .compare.html]",
)
@click.option(
    "--codecs",
    default="jpeg,webp,avif,avif-psnr",
    show_default=True,
    metavar="NAME,...",
    help="Codecs to compare with.",
)
@options.quality
@options.effort
@options.tune
@options.model
@options.device
@options.force
@options.quiet
def command(
    image: str,
    output: str | None,
    codecs: str,
    quality: int,
    effort: int,
    tune: str | None,
    model: str | None,
    device: str,
    force: bool,
    quiet: bool,
) -> int:
    """Show IMAGE beside JPEG, WebP and AVIF of the same size.

    Compresses IMAGE with vaecodec, and to the same size with JPEG, WebP and AVIF (in both tunes).

    Writes a page for the browser that needs nothing else: a boundary between any two, sizes, PSNR and
    SSIMULACRA2. - as IMAGE is standard input, as PAGE standard output. AVIF takes most of the time;
    leave it out with --codecs.

    Examples:

    \b
        vaecodec compare photo.jpg
        vaecodec compare photo.png -q 30 -o page.html
    """
    from vaecodec import compare
    from vaecodec.codec import Codec
    from vaecodec.pictures.reading import read_picture, set_limit_of_pillow

    set_limit_of_pillow()
    names = codecs.split(",")
    if unknown := set(names) - compare.PEERS.keys():
        raise click.BadParameter(
            f"no codec is called {min(unknown)!r}; there are: {', '.join(compare.PEERS)}",
            param_hint="--codecs",
        )
    source = Path(image)
    if not source.name:
        raise VaeError("the name of a picture file was expected").in_file(image or "''")
    if output is None and source == STANDARD_STREAM:
        raise click.UsageError("give the page's name with -o, or - for standard output")
    target = source.with_suffix(".compare.html") if output is None else Path(output)
    if target != STANDARD_STREAM and target.suffix.lower() not in (".html", ".htm"):
        raise VaeError("the name of an .html file was expected").in_file(str(target))
    check_output(target, force=force)
    make_parents(target)
    codec = Codec(model, device)
    with ProgressBar(1 + len(names), "codecs", silent=quiet) as bar:
        picture = compare.original(read_picture(source_of(source)))
        bar.update(0, "vaecodec")
        ours = compare.own(picture, codec, quality=quality, tune=tune, effort=effort).version
        versions = [ours]
        missing = []
        for number, name in enumerate(names, 1):
            bar.update(number, compare.PEERS[name])
            try:
                versions.append(compare.peer(picture, name, ours.bytes))
            except VaeError as error:
                missing.append(str(error))
    for text in missing:
        notice(text)
    if not quiet and target != STANDARD_STREAM:
        say(compare.table(versions))
    write_whole(target, compare.page(source.name, picture, versions), force=force)
    if not quiet and target != STANDARD_STREAM:
        say(f"written: {target}")
    return 1 if missing else 0
