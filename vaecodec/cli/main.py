"""Entry point: the command group. Each command's module is imported only when it runs."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import click

import vaecodec
from bitstream.errors import VaeError
from vaecodec.cli.messages import harmless, notice
from vaecodec.cores import settle_threads

#: Commands, each in the module of its name, with a line of help.
COMMANDS = {
    "compress": "Compress image files to .vae files.",
    "decompress": "Turn .vae files back into images.",
    "info": "Show what a .vae file holds.",
    "models": "List the installed models.",
    "compare": "Show an image beside JPEG, WebP and AVIF of the same size, on one page.",
    "repair": "Fill in what is scratched, written over or torn out.",
    "sample": "Draw pictures from the model: what it believes photographs look like.",
    "similar": "Find .vae files whose pictures look alike, without decoding them.",
    "serve": "Try the codec in the browser, on this machine only.",
    "bench": "Measure rate and distortion of codecs side by side on images.",
    "train": "Train a model on a folder of images or tar shards.",
}


class NobodyReads(Exception):
    """What reads our output has enough. Of a BrokenPipeError click makes exit code 1 by itself."""


@contextlib.contextmanager
def _nobody_reads() -> Iterator[None]:
    """Raise NobodyReads for a broken pipe."""
    try:
        yield
    except BrokenPipeError as error:
        raise NobodyReads from error


class Group(click.Group):
    """Commands for `main`."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:  # prints --help
        with _nobody_reads():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _nobody_reads():
            return super().invoke(ctx)


class LazyGroup(Group):
    """Lists commands without importing them: `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"vaecodec.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(vaecodec.__version__, prog_name="vaecodec")
def group() -> None:
    """A learned image codec: photographs to .vae files, smaller than AVIF at equal SSIMULACRA2."""


@contextlib.contextmanager
def _told_to_end() -> Iterator[list[int]]:
    """Let SIGTERM interrupt as SIGINT does. Yields the signals received, in order."""
    received: list[int] = [signal.SIGINT]

    def interrupt(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def main(command: Group = group, name: str = "vaecodec") -> None:
    """Run the command line; exit code 0, 1 (a file failed), 2 (wrong usage), or as after a signal
    130 (interrupted), 143 (told to end) or 141 (nobody reads the output)."""
    settle_threads()  # before a command imports torch
    with _told_to_end() as received:
        _main(command, name, received)


def _main(command: Group, name: str, received: list[int]) -> None:
    try:
        sys.exit(command.main(prog_name=name, standalone_mode=False) or 0)
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        click.echo(harmless(text.getvalue()), err=True, nl=False)
        sys.exit(error.exit_code)
    except click.Abort:
        notice("interrupted")
        os._exit(128 + received[-1])  # what threads are at work on is not waited for
    except NobodyReads:
        # Without this, Python complains as it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except MemoryError:
        notice("not enough memory")
        sys.exit(1)
    except VaeError as error:
        notice(str(error))
        sys.exit(1 if error.filename else 2)
    except OSError as error:
        if error.filename is not None:
            raise
        # Of what click prints by itself, such as --help. Without this, Python complains as it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        notice(f"standard output cannot be written ({error.strerror})")
        sys.exit(1)


if __name__ == "__main__":
    main()
