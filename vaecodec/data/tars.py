"""Members of a tar file, read by their position in it."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from bitstream.errors import NoSuchFile, VaeError
from vaecodec.files import is_of_a_mac, write_whole
from vaecodec.sources import NamedBytes

#: Version of the index file's format.
_VERSION = 1


class Member(NamedTuple):
    """A file in a tar: `offset` and `size` of its contents, in bytes."""

    name: str
    offset: int
    size: int


class Tar:
    """The files in a tar whose names end in `extension`, in the tar's order.

    Their positions are taken from the index beside the tar (`photos.tar.index`), if that belongs to
    this tar; otherwise all headers are read, and with `keep_index` the index is written. It is JSON:
    "size" and "mtime_ns" of the tar, and its "members", each with name, offset and size.

    Every read opens the file anew, so that no position is shared with other processes. Raises VaeError
    naming what cannot be read or written.
    """

    def __init__(self, path: str, extension: str, *, keep_index: bool = False) -> None:
        self.path = path
        self._extension = extension
        try:
            self._state = _state(Path(path).stat())
            index = Path(f"{path}.index")
            kept = _kept(index, *self._state)
            self.members = self._scan() if kept is None else kept
        except OSError as error:
            kind = NoSuchFile if isinstance(error, FileNotFoundError) else VaeError
            raise kind(f"cannot be read ({error.strerror or error})").in_file(path) from error
        if kept is None and keep_index:
            write_whole(index, self._index(), force=True)

    def read(self, number: int) -> NamedBytes:
        """The contents of a member, named "photos.tar: member". Raises VaeError."""
        member = self.members[number]
        name = f"{self.path}: {member.name}"
        try:
            with open(self.path, "rb") as file:
                if _state(os.fstat(file.fileno())) != self._state:
                    raise VaeError("the tar has changed since it was opened").in_file(name)
                file.seek(member.offset)
                return NamedBytes(file.read(member.size), name)
        except OSError as error:
            raise VaeError(f"cannot be read ({error.strerror or error})").in_file(name) from error

    def _scan(self) -> list[Member]:
        """Every member, from the headers. Of those of one name the last counts, as in unpacking."""
        found: dict[str, Member] = {}
        try:
            with tarfile.open(self.path, "r:") as tar:
                for entry in tar:
                    path = PurePosixPath(entry.name)
                    if not self._is_wanted(path) or not entry.isreg():
                        continue
                    if entry.issparse():
                        raise VaeError("a sparse file cannot be read").in_file(f"{self.path}: {path}")
                    found[entry.name] = Member(entry.name, entry.offset_data, entry.size)
                end = tar.offset
        except (tarfile.TarError, ValueError) as error:  # ValueError: of numbers that are none
            raise VaeError(f"is no tar without compression, or damaged ({error})").in_file(
                self.path
            ) from error
        with open(self.path, "rb") as file:
            file.seek(end)
            # tarfile ends silently at a header that is none.
            if any(file.read(tarfile.BLOCKSIZE)):
                raise VaeError(f"the tar is damaged, it has no header at byte {end}").in_file(self.path)
        return list(found.values())

    def _is_wanted(self, path: PurePosixPath) -> bool:
        return path.suffix.lower() == self._extension and not is_of_a_mac(path)

    def _index(self) -> bytes:
        size, mtime = self._state
        index = {"version": _VERSION, "size": size, "mtime_ns": mtime, "members": self.members}
        return json.dumps(index, separators=(",", ":")).encode()


def _state(status: os.stat_result) -> tuple[int, int]:
    """What changes when a tar does."""
    return status.st_size, status.st_mtime_ns


def _kept(path: Path, size: int, mtime: int) -> list[Member] | None:
    """What the index says of a tar of this size and time; None if it is of another, or is no index."""
    try:
        index = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    match index:
        case {"version": version, "size": of, "mtime_ns": when, "members": [*rows]} if (
            version,
            of,
            when,
        ) == (_VERSION, size, mtime):
            members = [member for row in rows if (member := _member(row, size)) is not None]
            return members if len(members) == len(rows) else None
    return None


def _member(row: object, end: int) -> Member | None:
    """A row of an index, if what it says lies within a tar of `end` bytes."""
    match row:
        case [str(name), int(offset), int(size)] if 0 <= offset <= offset + size <= end and size >= 0:
            return Member(name, offset, size)
    return None
