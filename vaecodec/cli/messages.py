"""What the commands tell the user: one sentence per failure, and a progress bar for long work."""

from __future__ import annotations

import contextlib
import sys
import threading
import unicodedata
from types import TracebackType
from typing import TYPE_CHECKING

import click

from bitstream.errors import VaeError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Seconds of work after which a progress bar appears.
PATIENCE = 1.0


def notice(message: str) -> None:
    """Print one line on standard error. What cannot be told is no reason to end."""
    with contextlib.suppress(OSError):
        click.echo("vaecodec: " + harmless(" ".join(str(message).split())), err=True)


def harmless(text: str) -> str:
    """Return lines with their control characters escaped: names of files may hold a terminal's."""
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) == "Cc" and c != "\n" else c
        for c in text
    )


def say(text: str) -> None:
    """Print on standard output. Raises VaeError if that cannot be written."""
    if sys.stdout is None:
        raise _unwritable("it is closed")
    if sys.stdout.isatty():
        text = harmless(text)
    try:
        try:
            click.echo(text, color=True)  # or click would take sequences out of names of files
        except UnicodeEncodeError:  # of a file's name that is none in the terminal's encoding
            encoding = sys.stdout.encoding
            click.echo(text.encode(encoding, "backslashreplace").decode(encoding))
    except BrokenPipeError:  # what reads has enough
        raise
    except OSError as error:
        raise _unwritable(error.strerror) from error


def _unwritable(cause: str | None) -> VaeError:
    error = VaeError(f"standard output cannot be written ({cause})")
    error.filename = "-"  # a file failed, and not the usage
    return error


class ProgressBar:
    """A bar on standard error, shown after `PATIENCE` seconds and only on a terminal."""

    def __init__(self, total: float, unit: str, *, silent: bool = False) -> None:
        self._total, self._unit, self._silent = total, unit, silent
        self._done, self._text, self._over = 0.0, "", False
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(PATIENCE, self._show)  # one long file gets a bar as well
        self._timer.daemon = True

    def __enter__(self) -> ProgressBar:
        if sys.stderr is not None and sys.stderr.isatty() and not self._silent:
            self._timer.start()
        return self

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        with self._lock:
            if self._over:
                return
            self._bar = Progress(
                BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[unit]}"), Remaining(),
                # Names of files are no markup.
                TextColumn("{task.description}", markup=False),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task(self._text, total=self._total, unit=self._unit)
            self._bar.update(self._task, completed=self._done)
            self._bar.start()

    def update(self, done: float, text: str = "") -> None:
        """Say that `done` of the total is done."""
        with self._lock:
            self._done, self._text = done, text
            if self._bar is not None and self._task is not None:
                self._bar.update(self._task, completed=done, description=text)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._over = True
            if self._bar is not None:
                self._bar.stop()
