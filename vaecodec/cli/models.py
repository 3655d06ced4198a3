"""`vaecodec models`."""

from __future__ import annotations

import click

from vaecodec import weights


@click.command("models")
def command() -> int:
    """List the installed models."""
    click.echo(f"{'name':<16}{'size':<8}{'tune':<8}{'id':<10}{'trained':<28}default")
    for entry in weights.registered():
        card = entry.card
        trained = f"{card['steps']} steps, {card['minutes']:.0f} minutes"
        mark = ""
        if entry == weights.find(None, entry.tune):
            mark = "*" if entry == weights.find(None) else f"with --tune {entry.tune}"
        described = f"{entry.name:<16}{card['size']:<8}{entry.tune:<8}{card['id']:<10}{trained:<28}"
        click.echo(f"{described}{mark}".rstrip())
    return 0
