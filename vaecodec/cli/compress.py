"""`vaecodec compress`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitstream.errors import BadValue, VaeError
from vaecodec.cli import options
from vaecodec.cli.convert import Converted, Manner, Pair, Work, convert, with_manner
from vaecodec.files import STANDARD_STREAM, expand, output_paths, source_of
from vaecodec.parallel import FAILURES, Failure, filled_in, settled
from vaecodec.quality import AUTO, NEVER_JPEG, Degradation, Restoration, Target

if TYPE_CHECKING:
    from vaecodec.pictures.reading import Picture


def _possible(_: object, option: click.Parameter, value: float | None) -> float | None:
    if value is not None:
        try:
            Target(name=str(option.name).removeprefix("target_"), goal=value)
        except BadValue as error:
            raise click.BadParameter(str(error)) from error
    return value


@click.command("compress")
@options.inputs
@click.option(
    "-o",
    "--output",
    type=options.PATH,
    metavar="OUT",
    help="Output file; folder if it has no extension, or for several inputs.",
)
@options.quality
@click.option(
    "--target-size",
    type=options.Size(),
    callback=_possible,
    metavar="BYTES",
    help="In place of a quality: the best file no larger than this, such as 200k.",
)
@click.option(
    "--target-bpp",
    type=float,
    callback=_possible,
    metavar="BPP",
    help="The same in bits per pixel.",
)
@click.option(
    "--target-psnr",
    type=float,
    callback=_possible,
    metavar="DB",
    help="The lowest quality that reaches this PSNR.",
)
@click.option(
    "--target-ssimulacra2",
    type=float,
    callback=_possible,
    metavar="POINTS",
    help="The lowest quality that reaches this SSIMULACRA2 score.",
)
@options.effort
@options.tune
@options.lossless
@options.strip
@options.denoise
@options.deblock
@options.model
@options.device
@with_manner
@options.recursive("Search subfolders as well; outputs keep the folder tree.")
def command(
    inputs: tuple[str, ...],
    output: str | None,
    quality: int,
    effort: int,
    tune: str | None,
    lossless: bool | None,
    strip: bool,
    denoise: float | str | None,
    deblock: float | str | None,
    model: str | None,
    device: str,
    manner: Manner,
    recursive: bool,
    **targets: Any,
) -> int:
    """Compress image files to .vae files.

    INPUT: image files, folders, glob patterns, or - for standard input. Outputs
    go beside the inputs unless -o is given; -o - is standard output.

    Examples:

    \b
        vaecodec compress photo.jpg
        vaecodec compress holiday/ -o small/ -q 40 --resume --report small.json
        vaecodec compress photo.jpg --target-size 100k
        curl -s URL | vaecodec compress - > photo.vae
    """
    from vaecodec.codec import pick_device
    from vaecodec.model import registry
    from vaecodec.pictures.reading import extensions

    readable = extensions()
    pairs = output_paths(expand(inputs, readable, recursive=recursive), output, ".vae", readable)
    for source, target in pairs:
        other = target.suffix.lower() != ".vae" and target != STANDARD_STREAM
        # Of a source that is not there, that will be told instead: was it a folder?
        other &= source == STANDARD_STREAM or os.path.lexists(source)
        if other and (not os.path.exists(target) or target.is_file()):
            raise VaeError("the name of a .vae file was expected").in_file(str(target))
    quality_from = click.get_current_context().get_parameter_source("quality")
    given = sum(value is not None for value in targets.values())
    if given + (quality_from is click.core.ParameterSource.COMMANDLINE) > 1:
        names = ", ".join("--" + name.replace("_", "-") for name in targets)
        raise click.UsageError(f"give one of -q, {names}")
    try:
        Restoration(denoise=denoise, deblock=deblock).check_beside(
            {
                "--effort": effort,
                "--lossless": lossless,
                "--target-psnr": targets["target_psnr"],
                "--target-ssimulacra2": targets["target_ssimulacra2"],
            }
        )
    except BadValue as error:
        raise click.UsageError(str(error)) from error
    registry.find(model, tune)  # a missing model is reported once, before any file
    pick_device(device)

    work = _Compress(
        quality=quality,
        effort=effort,
        tune=tune,
        lossless=lossless,
        strip=strip,
        denoise=denoise,
        deblock=deblock,
        targets=targets,
        model=model,
        device=device,
    )
    return convert(pairs, work, manner)


@dataclass(frozen=True, kw_only=True)
class _Compress(Work):
    """What is done with a picture, in whatever process: options of the command."""

    quality: int
    effort: int
    tune: str | None
    lossless: bool | None
    strip: bool
    denoise: float | str | None
    deblock: float | str | None
    targets: dict[str, Any]

    @property
    def together(self) -> bool:
        # Without loss no network is passed; of the others each picture has its own.
        own = (self.denoise, self.deblock, *self.targets.values())
        return not self.lossless and not self.effort and all(wish is None for wish in own)

    def pixels(self, pair: Pair) -> int:
        from vaecodec.pictures.reading import announced_pixels, set_limit_of_pillow

        set_limit_of_pillow()
        return announced_pixels(pair[0])

    def several(self, pairs: list[Pair]) -> list[Converted | Failure]:
        from vaecodec.pictures.reading import set_limit_of_pillow

        set_limit_of_pillow()
        read = [settled(self._read, source) for source, _ in pairs]
        intact = [found for found in read if not isinstance(found, FAILURES)]
        files = filled_in(read, self._encoded(intact))
        return [
            _converted(source, found, file, self.lossless)
            for (source, _), found, file in zip(pairs, read, files, strict=True)
        ]

    def _read(self, source: Path) -> _Read:
        from vaecodec.pictures.degradation import to_undo
        from vaecodec.pictures.reading import read_picture

        picture = read_picture(source_of(source))
        wished = Restoration(denoise=self.denoise, deblock=self.deblock)
        undone = to_undo(picture, wished) or Degradation()
        return _Read(picture=picture, undone=undone, found=tuple(_found(wished, undone)))

    def _encoded(self, given: list[_Read]) -> list[bytes | Failure]:
        """The file of each."""
        if len(given) == 1:
            return [settled(self._alone, each) for each in given]
        return self.codec.encode_batch(
            [each.picture for each in given],
            self.quality,
            effort=self.effort,
            tune=self.tune,
            lossless=self.lossless,
            strip=self.strip,
            on_error="return",
        )

    def _alone(self, given: _Read) -> bytes:
        undone = given.undone
        return self.codec.encode(
            given.picture,
            self.quality,
            effort=self.effort,
            tune=self.tune,
            lossless=self.lossless,
            strip=self.strip,
            denoise=undone.noise or None,
            deblock=undone.jpeg if undone.jpeg < NEVER_JPEG else None,
            **self.targets,
        )


@dataclass(frozen=True, kw_only=True)
class _Read:
    """A picture, what is to be undone of it, and in words, what was found of that."""

    picture: Picture
    undone: Degradation
    found: tuple[str, ...]


def _converted(
    source: Path, read: _Read | Failure, file: bytes | Failure, lossless: bool | None
) -> Converted | Failure:
    from vaecodec.pictures.lossless import LIMITS, fits, looks_drawn

    if isinstance(read, FAILURES):
        return read
    if isinstance(file, FAILURES):
        return file
    lost = ", ".join(read.picture.notices)
    notices = [f"{source}: not kept in the .vae file: {lost}"] if lost else []
    notices += [f"{source}: {found}" for found in read.found]
    height, width, _ = read.picture.samples.shape
    if lossless is None and not fits(height, width) and looks_drawn(read.picture.samples):
        notices.append(f"{source}: a drawing that is too large to be stored without loss; {LIMITS}")
    return Converted(data=file, pixels=height * width, notices=tuple(notices))


def _found(wished: Restoration, undone: Degradation) -> Iterator[str]:
    """In words, what `AUTO` came to."""
    if wished.denoise == AUTO:
        yield f"noise of about {undone.noise:.0f} found" if undone.noise else "hardly any noise found"
    if wished.deblock == AUTO:
        jpeg = undone.jpeg < NEVER_JPEG
        no = "no JPEG file below the best quality; of what once was one, give the quality"
        yield f"JPEG of quality about {undone.jpeg:.0f} found" if jpeg else no
