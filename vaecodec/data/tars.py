"""Members of a tar file, read by their position in it."""

from __future__ import annotations

import json
import os
import posixpath
import tarfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from bitstream.errors import NoSuchFile, VaeError
from vaecodec.files import is_of_a_mac, write_whole
from vaecodec.sources import NamedBytes

#: Version of the index file's format.
_VERSION = 2
#: Links that may lead to one another, as on Linux.
MOST_LINKS = 40


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
        name = self._named(member.name)
        try:
            with open(self.path, "rb") as file:
                if _state(os.fstat(file.fileno())) != self._state:
                    raise VaeError("the tar has changed since it was opened").in_file(name)
                file.seek(member.offset)
                return NamedBytes(file.read(member.size), name)
        except OSError as error:
            raise VaeError(f"cannot be read ({error.strerror or error})").in_file(name) from error

    def _scan(self) -> list[Member]:
        """Every member, from the headers. Of those of one name the last counts, as in unpacking. A link
        has the contents of the member that it leads to; one that leads to none raises VaeError."""
        wanted: list[str] = []
        files: dict[str, Member] = {}
        links: dict[str, str] = {}
        try:
            with tarfile.open(self.path, "r:") as tar:
                for entry in tar:
                    if entry.size < 0:  # tarfile would read it again and again
                        raise VaeError(f"the tar is damaged at byte {entry.offset}").in_file(self.path)
                    name = posixpath.normpath(entry.name)
                    if not (entry.isreg() or entry.islnk() or entry.issym()):
                        continue
                    if self._is_wanted(PurePosixPath(name)):
                        if entry.issparse():
                            raise VaeError("a sparse file cannot be read").in_file(self._named(name))
                        wanted.append(entry.name)
                    folder = posixpath.dirname(name) if entry.issym() else ""
                    target = posixpath.normpath(posixpath.join(folder, entry.linkname))
                    if not entry.isreg() and target == name:  # as it is
                        continue
                    files.pop(name, None)
                    links.pop(name, None)
                    if entry.isreg():
                        files[name] = Member(entry.name, entry.offset_data, entry.size)
                    else:
                        links[name] = target
                end = tar.offset
        # Of numbers that are none or too large (a MemoryError for the length of a name), and of many
        # long names in a row.
        except (tarfile.TarError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            reason = error or type(error).__name__
            raise VaeError(f"is no tar without compression, or damaged ({reason})").in_file(
                self.path
            ) from error
        with open(self.path, "rb") as file:
            file.seek(end)
            # tarfile ends silently at a header that is none.
            if any(file.read(tarfile.BLOCKSIZE)):
                raise VaeError(f"the tar is damaged, it has no header at byte {end}").in_file(self.path)
        return [self._followed(name, files, links) for name in dict.fromkeys(wanted)]

    def _followed(self, name: str, files: dict[str, Member], links: dict[str, str]) -> Member:
        """The member `name`, with the contents of the file that it is or leads to."""
        target = posixpath.normpath(name)
        for _ in range(MOST_LINKS):
            parts = PurePosixPath(target)
            link = next((p for p in (parts, *parts.parents) if str(p) in links), None)
            if link is None:
                break
            inside = posixpath.join(links[str(link)], parts.relative_to(link))
            target = posixpath.normpath(inside)
        if target not in files:
            raise VaeError(f"a link to {target}, which is no file in the tar").in_file(
                self._named(name)
            )
        return Member(name, files[target].offset, files[target].size)

    def _named(self, name: str) -> str:
        return f"{self.path}: {name}"

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
