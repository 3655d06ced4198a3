"""The hierarchy of errors: everything that a bad file or a bad argument can cause.

A message is one sentence that names what was expected and what was found. Code that reads bytes never
sees the file's name; whoever opened the file adds it (`VaeError.in_file`).
"""

from __future__ import annotations

from typing import Self


class VaeError(Exception):
    """Base class of every error that vaecodec raises on purpose. `filename`: name of the file it is
    about, if known."""

    filename: str | None = None

    def in_file(self, name: str) -> Self:
        """Return the same error with the file's name in front of its message."""
        named = type(self)(f"{name}: {self}")
        named.filename = name
        return named


class BadValue(VaeError, ValueError):
    """An argument has an invalid value."""


class BadType(VaeError, TypeError):
    """An argument has the wrong type."""


class NoSuchFile(VaeError, FileNotFoundError):
    """The file does not exist."""


class NotAVaeFile(VaeError):
    """The data does not begin with the signature of a `.vae` file."""


class UnsupportedVersion(VaeError):
    """The file was written in a newer version of the format."""


class UnknownModel(VaeError):
    """No installed model has the requested name or id."""


class CorruptFile(VaeError):
    """A checksum is wrong, or a field has a value that no encoder writes."""


class TruncatedFile(CorruptFile):
    """The data ends before the file is complete."""


class LimitExceeded(VaeError):
    """The picture is larger than the caller allows, or its metadata larger than the format allows."""


class BadImage(VaeError):
    """The input is not a picture that this codec can encode."""
