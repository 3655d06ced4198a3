"""The one hierarchy of errors: everything a bad file or a bad argument can cause.

A message is one sentence that names what was expected and what was found. What reads bytes never sees
the file's name; whoever opened the file adds it (`VaeError.in_file`).
"""

from __future__ import annotations

from typing import Self


class VaeError(Exception):
    """Base class of every error that vaecodec raises on purpose. `filename`: of the file it is about,
    if it is known."""

    filename: str | None = None

    def in_file(self, name: str) -> Self:
        """The same error, its message beginning with the file's name."""
        named = type(self)(f"{name}: {self}")
        named.filename = name
        return named


class BadValue(VaeError, ValueError):
    """An argument has a value that it cannot have."""


class BadType(VaeError, TypeError):
    """An argument is of a type that it cannot be of."""


class NoSuchFile(VaeError, FileNotFoundError):
    """There is no file of this name."""


class NotAVaeFile(VaeError):
    """The data does not begin with the signature of a `.vae` file."""


class UnsupportedVersion(VaeError):
    """The file was written in a newer version of the format."""


class UnknownModel(VaeError):
    """No installed model has the name or the id asked for."""


class CorruptFile(VaeError):
    """A checksum is wrong, or a field has a value that no encoder writes."""


class TruncatedFile(CorruptFile):
    """The data ends before the file does."""


class LimitExceeded(VaeError):
    """The picture is larger than the caller allows."""


class BadImage(VaeError):
    """The input is not a picture this codec can encode."""
