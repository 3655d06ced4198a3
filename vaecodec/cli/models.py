"""`vaecodec models`."""

from __future__ import annotations

import click

from vaecodec import weights


@click.command("models")
def command() -> int:
    """List the installed models."""
    default = weights.find(None).name
    click.echo(f"{'name':<12}{'size':<8}{'id':<10}{'trained':<28}default")
    for entry in weights.registered():
        card = entry.card
        trained = f"{card['steps']} steps, {card['minutes']:.0f} minutes"
        mark = "*" if entry.name == default else ""
        click.echo(f"{entry.name:<12}{card['size']:<8}{card['id']:<10}{trained:<28}{mark}")
    return 0
