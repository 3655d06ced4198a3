"""Where bytes come from: a path, an open file, or the bytes themselves."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self, Union, cast

from bitstream import container
from bitstream.errors import BadType, BadValue, NoSuchFile, VaeError
from vaecodec.parallel import Ended

#: What `decode` and `info` read: a path, a bytes-like object, or a binary file from its position on.
Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, IO[bytes]]


#: This many first bytes of a file say how large its picture is.
_FIRST = 32


class NamedBytes(bytes):
    """The bytes of a file, with its `name` for errors about it."""

    name: str

    def __new__(cls, data: bytes, name: str) -> Self:
        named = super().__new__(cls, data)
        named.name = name
        return named

    def __getnewargs__(self) -> tuple[bytes, str]:  # type: ignore[override]
        return bytes(self), self.name


def read_source(source: Source) -> tuple[bytes, str | None]:
    """Return all bytes of `source`, and the file's name if it has one.

    Raises VaeError naming a file that cannot be read, BadType if `source` is none.
    """
    if isinstance(source, (str, os.PathLike)):
        return read_path(source), os.fsdecode(source)
    if isinstance(source, NamedBytes):
        return bytes(source), source.name
    if isinstance(source, io.TextIOBase):
        raise BadType("the file is not open for reading bytes")
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        name = name if isinstance(name, str) else None
        with naming(name):
            try:
                data = source.read()
            except MemoryError:
                raise
            except Exception as error:  # any library's: closed, truncated, not open
                raise VaeError(f"the file cannot be read ({error})") from error
            if not isinstance(data, bytes):
                raise BadType("the file is not open for reading bytes")
        return data, name
    try:
        return bytes(memoryview(source)), None
    except (TypeError, ValueError, BufferError) as error:  # ValueError: a released memoryview
        raise BadType(f"a path, bytes or a file was expected, not {type(source).__name__}") from error


def taken(source: Source) -> Source:
    """Return `source`, or its bytes if a later read could give others: open files share positions."""
    if isinstance(source, (str, os.PathLike, bytes)):
        return source
    data, name = read_source(source)
    return data if name is None else NamedBytes(data, name)


def announced_pixels(source: Source) -> int:
    """Number of pixels that the first bytes of a `.vae` file from `taken` announce; 0 if none."""
    if isinstance(source, bytes):
        return container.announced_pixels(source[:_FIRST])
    path = cast(str, source)
    if not is_plain(path):
        return 0
    try:
        with open(path, "rb") as file:
            return container.announced_pixels(file.read(_FIRST))
    except OSError:  # reported when the file is read
        return 0


def is_plain(path: str | os.PathLike[str]) -> bool:
    """Whether this is a file that can be read twice, as pipes cannot."""
    try:
        return Path(os.fsdecode(path)).is_file()
    except (OSError, ValueError):  # ValueError: a null character in the name
        return False


def read_path(path: str | os.PathLike[str]) -> bytes:
    """Return all bytes of a file. Raises VaeError naming it."""
    if not os.fsdecode(path):
        raise BadValue("a name of a file is empty")
    try:
        return Path(os.fsdecode(path)).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        kind = NoSuchFile if isinstance(error, FileNotFoundError) else VaeError
        raise kind(f"cannot be read ({reason})").in_file(os.fsdecode(path)) from error


@contextlib.contextmanager
def naming(name: str | None) -> Iterator[None]:
    """Add the file's name to errors raised within."""
    try:
        yield
    except MemoryError as error:
        if name is None or str(error).startswith(f"{name}: "):
            raise
        raise MemoryError(f"{name}: {error or 'not enough memory'}") from error
    except VaeError as error:
        if name is None or error.filename is not None or isinstance(error, Ended):
            raise
        raise error.in_file(name) from error
