"""`vaecodec models`."""

from __future__ import annotations

import click

from vaecodec.cli.messages import say
from vaecodec.describe import models
from vaecodec.quality import DEFAULT_TUNE


@click.command("models")
def command() -> int:
    """List the installed models."""
    say(f"{'name':<16}{'size':<8}{'tune':<8}{'id':<10}{'trained':<28}default")
    for model in models():
        trained = f"{model.steps} steps, {model.minutes:.0f} minutes"
        mark = "*" if model.tune == DEFAULT_TUNE else f"with --tune {model.tune}"
        described = f"{model.name:<16}{model.size:<8}{model.tune:<8}{model.id:<10}{trained:<28}"
        say(f"{described}{mark if model.default else ''}".rstrip())
    return 0
