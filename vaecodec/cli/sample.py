"""`vaecodec sample`."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from bitstream.errors import VaeError
from vaecodec.cli import options
from vaecodec.cli.messages import ProgressBar
from vaecodec.cli.saving import format_of
from vaecodec.files import STANDARD_STREAM, check_output, make_parents, source_of, write_whole
from vaecodec.quality import LOSSY_QUALITY
from vaecodec.sources import naming


class Dimensions(click.ParamType):
    """Width and height: 512x512."""

    name = "WxH"

    def convert(self, value: object, param: object, ctx: object) -> tuple[int, int]:
        match = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", str(value))
        if match is None:
            raise click.BadParameter(f"{value!r} is no width and height, such as 512x512")
        return int(match[1]), int(match[2])


@click.command("sample")
@click.option("--size", type=Dimensions(), help="Width and height in pixels. [default: 512x512]")
@click.option("--level", type=int, help="Quality level, 0 to 63. [default: 20]")
@click.option(
    "--like",
    type=options.PATH,
    metavar="FILE",
    help="Keep the hyper-latent, size, level and model of this .vae file; draw the rest.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="The same seed gives the same pictures."
)
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1, 100_000),
    default=1,
    show_default=True,
    help="How many pictures; several get numbered names.",
)
@click.option(
    "-o",
    "--output",
    type=options.PATH,
    metavar="OUT",
    help="Output file (.vae or image), or folder. [default: sample-SEED.png]",
)
@options.tune
@options.model
@options.device
@options.force
@options.quiet
def command(
    size: tuple[int, int] | None,
    level: int | None,
    like: str | None,
    seed: int,
    count: int,
    output: str | None,
    tune: str | None,
    model: str | None,
    device: str,
    force: bool,
    quiet: bool,
) -> int:
    """Draw pictures from the model.

    The pictures show what the prior believes photographs look like: textures and edges, no objects.

    Examples:

    \b
        vaecodec sample --size 512x512 --level 20 --seed 7 -n 4
        vaecodec sample --like photo.vae -o variation.png
    """
    from vaecodec.codec import Codec
    from vaecodec.pictures.saving import saved
    from vaecodec.uses.sampling import sample

    if "" in (output, like):
        raise VaeError("a name of a file is empty")
    target = Path(f"sample-{seed}.png" if output is None else output)
    if output is not None and (output.endswith(("/", os.sep)) or os.path.isdir(target)):
        target /= f"sample-{seed}.png"
    if count > 1 and target == STANDARD_STREAM:
        raise click.UsageError("several pictures do not fit into standard output; use -n 1")
    coded = target.suffix.lower() == ".vae"
    kind = "PNG" if coded else format_of(target)
    codec = Codec(model, device)
    source = None if like is None else source_of(Path(like))
    files = sample(size, level=level, tune=tune, like=source, seed=seed, count=count, codec=codec)
    digits = len(str(count))
    numbered = [target.with_stem(f"{target.stem}-{n:0{digits}}") for n in range(1, count + 1)]
    targets = [target] if count == 1 else numbered
    for path in targets:
        check_output(path, force=force)
    make_parents(target)
    with ProgressBar(count, "pictures", silent=quiet) as bar:
        for number, (path, data) in enumerate(zip(targets, files, strict=True)):
            bar.update(number, str(path))
            with naming(str(path)):
                picture = data if coded else saved(codec.decode(data), kind, LOSSY_QUALITY)[0]
            write_whole(path, picture, force=force)
    return 0
