"""Folders that all machines see, on a shared file system or in an object store."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from bitstream.errors import BadType, VaeError
from vaecodec.files import files_inside, is_input, make_parents, write_whole
from vaecodec.sources import read_path

#: pyarrow's names of the stores in which an object is there once it is whole, and not before.
_STORES = ("s3", "gcs", "abfs")


@dataclass(frozen=True)
class Place:
    """A folder, and the pyarrow file system that reaches it."""

    filesystem: FileSystem
    path: str

    @classmethod
    def of(cls, folder: str | os.PathLike[str]) -> Place:
        """`folder`: a path, or a URI such as s3://bucket/photos. Raises VaeError."""
        text = address(folder)
        try:
            filesystem, path = FileSystem.from_uri(text)
        except (OSError, pa.ArrowException) as error:
            raise VaeError(f"is no folder that can be reached ({_first_line(error)})").in_file(
                text
            ) from error
        if not isinstance(filesystem, LocalFileSystem) and filesystem.type_name not in _STORES:
            raise VaeError("a folder, or a URI of s3, gs or abfs was expected").in_file(text)
        return cls(filesystem, path.rstrip("/"))

    @property
    def _local(self) -> bool:
        return isinstance(self.filesystem, LocalFileSystem)

    def files(self, *, outputs: bool = False) -> Iterator[str | UnicodeDecodeError]:
        """Paths of all files in the folder and its subfolders; an error in place of a path that is not
        UTF-8. `outputs`: without broken links, and none if there is no such folder, for which VaeError
        is raised otherwise."""
        if self._local:
            if outputs and not os.path.exists(self.path):
                return
            wanted = os.path.isfile if outputs else is_input
            yield from map(_utf8, filter(wanted, files_inside(Path(self.path), recursive=True)))
            return
        selector = FileSelector(self.path, allow_not_found=outputs, recursive=True)
        try:
            for info in self.filesystem.get_file_info(selector):
                if info.type is FileType.File:
                    yield info.path
        except (OSError, pa.ArrowException) as error:
            raise VaeError(f"cannot be listed ({_first_line(error)})").in_file(self.path) from error

    def inside(self, path: str) -> PurePosixPath:
        """The path of the file `path` within the folder. Raises VaeError if it is not in it."""
        whole = _absolute(path) if self._local else path
        if not PurePosixPath(whole).is_relative_to(self.path):
            raise VaeError(f"is not in {self.path}").in_file(path)
        return PurePosixPath(whole).relative_to(self.path)

    def read(self, path: str) -> bytes:
        """The bytes of a file, by its whole path. Raises VaeError naming it."""
        if self._local:
            return read_path(path)
        try:
            with self.filesystem.open_input_file(path) as file:
                return bytes(file.read())
        except (OSError, pa.ArrowException) as error:
            raise VaeError(f"cannot be read ({_first_line(error)})").in_file(path) from error

    def write(self, name: str, data: bytes, *, force: bool) -> None:
        """Write a file in the folder, whole or not at all. Raises VaeError if it exists and `force` is
        not set, or if it cannot be written."""
        # A store has keys such as ../a.jpg, of which a name on disk may be made.
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise VaeError(f"would be written outside {self.path}").in_file(name)
        path = posixpath.join(self.path, name)
        if self._local:
            make_parents(Path(path))
            write_whole(Path(path), data, force=force)
            return
        try:
            if not force and self.filesystem.get_file_info(path).type is not FileType.NotFound:
                raise VaeError("exists already (use --force to replace it)").in_file(path)
            with self.filesystem.open_output_stream(path, compression=None) as file:
                file.write(data)
        except (OSError, pa.ArrowException) as error:
            raise VaeError(f"cannot be written ({_first_line(error)})").in_file(path) from error


def address(folder: str | os.PathLike[str]) -> str:
    """A name of the folder that holds on all machines, wherever their processes were started. Raises
    VaeError."""
    if not isinstance(folder, (str, os.PathLike)):
        raise BadType(f"a folder is named by a string or a path, not {type(folder).__name__}")
    text = os.fspath(folder)
    if not text:  # of a variable of the shell that is not set
        raise VaeError("a name of a folder is empty")
    return text if "://" in text else _absolute(text)


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - a link stays the name it is


def _utf8(path: Path) -> str | UnicodeDecodeError:
    try:
        return os.fsencode(path).decode()
    except UnicodeDecodeError as error:
        return error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
