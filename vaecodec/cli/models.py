"""`vaecodec models`."""

from __future__ import annotations

import click

from vaecodec.model import registry


@click.command("models")
def command() -> int:
    """List the installed models."""
    click.echo(f"{'name':<16}{'size':<8}{'tune':<8}{'id':<10}{'trained':<28}default")
    for entry in registry.registered():
        card = entry.card
        trained = f"{card['steps']} steps, {card['minutes']:.0f} minutes"
        mark = ""
        if entry == registry.find(None, entry.tune):
            mark = "*" if entry == registry.find(None) else f"with --tune {entry.tune}"
        described = f"{entry.name:<16}{card['size']:<8}{entry.tune:<8}{card['id']:<10}{trained:<28}"
        click.echo(f"{described}{mark}".rstrip())
    return 0
