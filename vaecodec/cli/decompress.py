"""`vaecodec decompress`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bitstream.errors import VaeError
from vaecodec.cli import options
from vaecodec.cli.convert import convert
from vaecodec.files import expand, output_paths, read_file

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage


@click.command("decompress")
@options.inputs
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="Output file (its extension chooses the format), or folder for PNG files.",
)
@options.model
@options.device
@options.force
def command(
    inputs: tuple[str, ...], output: str | None, model: str | None, device: str, force: bool
) -> int:
    """Turn .vae files back into images: PNG, or the format of OUT's extension.

    INPUT: .vae files, folders (searched recursively) or glob patterns. The model is the one each file
    names; --model adds one that is not installed.
    """
    pairs = output_paths(expand(inputs, {".vae"}), output, ".png")
    for _, target in pairs:
        _format_of(target)
    from vaecodec.codec import Codec

    codec = Codec(model, device)

    def work(source: Path, target: Path) -> bytes:
        return _file_bytes(codec.decode(read_file(source)), target)

    return convert(pairs, work, force)


def _format_of(target: Path) -> str:
    from PIL import Image

    name = Image.registered_extensions().get(target.suffix.lower())
    if name is None or name not in Image.SAVE:
        raise VaeError(f"{target}: Pillow writes no image format with this extension")
    return name


def _file_bytes(image: PilImage, target: Path) -> bytes:
    file = io.BytesIO()
    try:
        image.save(file, _format_of(target))
    except (OSError, ValueError) as error:
        raise VaeError(f"{target}: cannot be written in this format ({error})") from error
    return file.getvalue()
