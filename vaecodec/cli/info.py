"""`vaecodec info`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bitstream import container
from bitstream.errors import UnknownModel, VaeError
from vaecodec.files import read_file
from vaecodec.model import registry


def describe(data: bytes) -> dict[str, object]:
    """What a `.vae` file says of itself; sizes in bytes. Raises VaeError."""
    parsed = container.parse(data)
    header = parsed.header
    try:
        model = None if header.lossless else registry.find_id(header.model_id)
    except UnknownModel:
        model = None
    picture = sum(len(stream) for stream in (*parsed.streams, *parsed.alphas))
    return {
        "width": header.width,
        "height": header.height,
        "colour": container.COLOURS[header.colour],
        "depth": header.depth,
        "version": parsed.version,
        "lossless": header.lossless,
        "model": None if model is None else model.name,
        "tune": None if model is None else model.tune,
        "model_id": container.model_id_text(header.model_id),
        "level": header.level,
        "groups": header.group_count,
        "metadata": {name: len(content) for name, content in parsed.metadata.items()},
        "bytes": {"file": len(data), "picture": picture, "container": len(data) - picture},
        "bits_per_pixel": round(8 * len(data) / (header.width * header.height), 4),
    }


@click.command("info")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(file: Path, as_json: bool) -> int:
    """Show what a .vae file holds, without decoding it."""
    try:
        about = describe(read_file(file))
    except VaeError as error:
        text = str(error)
        raise click.ClickException(text if str(file) in text else f"{file}: {text}") from error
    if as_json:
        click.echo(json.dumps({"file": str(file), **about}, indent=1))
        return 0
    sizes = about["bytes"]
    assert isinstance(sizes, dict)
    metadata = about["metadata"]
    assert isinstance(metadata, dict)
    carried = ", ".join(f"{name} ({size} bytes unpacked)" for name, size in metadata.items())
    coding = {
        "model": f"{about['model'] or 'not installed'} ({about['model_id']})",
        **({} if about["tune"] is None else {"tune": about["tune"]}),
        "quality level": f"{about['level']} of 0..63",
        "groups": about["groups"],
    }
    rows = {
        "file": str(file),
        "dimensions": f"{about['width']} x {about['height']}, {about['colour']}, {about['depth']} bits",
        "format version": about["version"],
        **({"coding": "without loss"} if about["lossless"] else coding),
        **({"metadata": carried} if carried else {}),
        "bits per pixel": about["bits_per_pixel"],
        "bytes": f"{sizes['file']} = {sizes['picture']} of picture + {sizes['container']} around it",
    }
    for name, value in rows.items():
        click.echo(f"{name + ':':<16}{value}")
    return 0
