"""The progress bar on a terminal."""

from __future__ import annotations

import io
import re
import sys

import pytest

from vaecodec.cli import messages

COLOUR = re.compile(r"\x1b\[[0-9;]*[34][0-9][0-9;]*m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """What a bar that appears at once and goes on to its end writes."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(messages, "PATIENCE", 0.0)
    with messages.ProgressBar(2, "files") as bar:
        bar._timer.join()
        bar.update(1, "a.png")
    return terminal.getvalue()


def test_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(monkeypatch)
    assert COLOUR.search(text) and "files" in text
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") > -1  # the cursor is back


def test_no_colours_where_nobody_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(monkeypatch, NO_COLOR="1")
    assert not COLOUR.search(text) and "files" in text
