"""`vaecodec info`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from bitstream.errors import VaeError
from vaecodec.cli.messages import notice, say
from vaecodec.describe import info
from vaecodec.files import source_of


@click.command("info")
@click.argument("file", type=click.Path(path_type=Path, readable=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(file: Path, as_json: bool) -> int:
    """Show what a .vae file holds, without decoding it."""
    try:
        about = info(source_of(file))
    except VaeError as error:
        notice(str(error))
        return 1
    bpp, around = round(about.bits_per_pixel, 4), about.size - about.picture_size - about.trailing
    if as_json:
        fields = dataclasses.asdict(about)
        size, picture, trailing = (fields.pop(n) for n in ("size", "picture_size", "trailing"))
        sizes = {"file": size, "picture": picture, "container": around, "trailing": trailing}
        say(json.dumps({"file": str(file), **fields, "bytes": sizes, "bits_per_pixel": bpp}, indent=1))
        return 0
    carried = ", ".join(f"{name} ({size} bytes unpacked)" for name, size in about.metadata.items())
    coding = {
        "model": f"{about.model or 'not installed'} ({about.model_id})",
        **({} if about.tune is None else {"tune": about.tune}),
        "quality level": f"{about.level} of 0..63",
        "groups": about.groups,
    }
    rows = {
        "file": str(file),
        "dimensions": f"{about.width} x {about.height}, {about.colour}, {about.depth} bits",
        "format version": about.version,
        **({"coding": "without loss"} if about.lossless else coding),
        **({"metadata": carried} if carried else {}),
        "bits per pixel": bpp,
        "bytes": f"{about.size} = {about.picture_size} of picture + {around} around it",
        **({"after the end": f"{about.trailing} bytes"} if about.trailing else {}),
    }
    for name, value in rows.items():
        say(f"{name + ':':<16}{value}")
    return 0
