"""Options that several commands share."""

from __future__ import annotations

import click

model = click.option(
    "--model", metavar="NAME", help="Model name, size, or path to a .safetensors file."
)
device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the networks run.",
)
force = click.option("--force", is_flag=True, help="Replace existing output files.")
inputs = click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
