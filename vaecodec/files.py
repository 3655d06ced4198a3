"""Files on disk: finding those that a command works on, and writing files whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
import stat
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, TypeVar

from bitstream.errors import VaeError

AnyPath = TypeVar("AnyPath", bound=PurePath)

#: In place of a file: standard input or output.
STANDARD_STREAM = Path("-")


def path_named(name: str) -> Path:
    """Return the path of a name given on the command line: "-" is a standard stream, "./-" a file."""
    path = Path(name)
    return path.absolute() if path == STANDARD_STREAM and name != str(STANDARD_STREAM) else path


def check_apart(source: Path, target: Path) -> None:
    """Raise VaeError if an output would replace its input."""
    # os.path returns False where pathlib raises: for names that are too long.
    if STANDARD_STREAM in (source, target):
        return
    if os.path.exists(target) and os.path.exists(source) and source.samefile(target):
        raise VaeError("would be replaced by its own output").in_file(str(source))


def check_output(path: Path, *, force: bool) -> None:
    """Raise VaeError if `path` is a folder, a file that may not be replaced, or a terminal."""
    # os.path returns False where pathlib raises: in folders that may not be searched.
    if path == STANDARD_STREAM:
        if sys.stdout is None:
            raise VaeError("standard output is closed")
        if sys.stdout.isatty() and not force:
            raise VaeError("standard output is a terminal; use a pipe or -o (or --force)")
        return
    if os.path.isdir(path):
        raise VaeError("is a folder, a file was expected").in_file(str(path))
    if not force and os.path.lexists(path) and not _is_stream(path):
        raise VaeError("exists already (use --force to replace it)").in_file(str(path))


def make_parents(path: Path) -> None:
    """Make the folder of a file, and all folders above it. Raises VaeError naming it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VaeError(f"cannot be made ({error.strerror})").in_file(str(path.parent)) from error


def write_whole(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write `data` to a temporary file beside `path`, then rename it; it gets the mode of the file that
    it replaces. The target of a link is replaced, not the link; devices and pipes are written to.

    Raises VaeError, leaving nothing behind, if `path` exists without `force`, or the system refuses.
    """
    check_output(path, force=force)
    try:
        if path == STANDARD_STREAM:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        if _is_stream(path):
            # A pipe that nobody reads is an error, not something to wait for.
            descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
            os.set_blocking(descriptor, True)
            with open(descriptor, "wb") as file:
                file.write(data)
            return
        target = Path(os.path.realpath(path))
        # Not derived from the target's name, which may be as long as names can be.
        partial = target.with_name(f".{secrets.token_hex(8)}.partial")
        try:
            with partial.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError):
                partial.chmod(stat.S_IMODE(target.stat().st_mode))
            os.replace(partial, target)
        except BaseException:  # even an interrupt leaves nothing behind
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
    except BrokenPipeError:  # the reader has had enough
        raise
    except OSError as error:
        raise VaeError(f"cannot be written ({error.strerror})").in_file(str(path)) from error


def write_json(path: Path, value: object, *, force: bool = True) -> None:
    """Write `value` as JSON, as `write_whole` writes bytes, but replacing what is there by default."""
    write_whole(path, (json.dumps(value, indent=1) + "\n").encode(), force=force)


def _is_stream(path: Path) -> bool:
    """Whether `path` is standard output, a device or a pipe, or a link to one."""
    if path == STANDARD_STREAM:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def source_of(path: Path) -> Path | IO[bytes]:
    """Return what to read: the file, or standard input. Raises VaeError if that is closed."""
    if path == STANDARD_STREAM and sys.stdin is None:
        raise VaeError("standard input is closed")
    return sys.stdin.buffer if path == STANDARD_STREAM else path


@dataclass(frozen=True, kw_only=True)
class Input:
    """A file to work on. `root`: the folder from which its relative path starts. `of_folder`: whether
    the folder was named, not the file."""

    path: Path
    root: Path
    of_folder: bool


def expand(inputs: Sequence[str], extensions: Iterable[str], *, recursive: bool = True) -> list[Input]:
    """Return the files meant by `inputs`: files, folders (searched for `extensions`, with the folders
    in them if `recursive`) and glob patterns that the shell left alone.

    A name that matches nothing is returned as it is: working on it will tell what is wrong.
    """
    wanted = {extension.lower() for extension in extensions}
    found: list[Input] = []
    for name in inputs:
        if not name:  # from an unset shell variable; Path would take it for the current folder
            raise VaeError("a name of a file or a folder is empty")
        names = [name]
        if name != str(STANDARD_STREAM) and not os.path.lexists(name) and glob.has_magic(name):
            names = sorted(glob.glob(name, recursive=True)) or [name]
        for path in map(path_named, names):
            if os.path.isdir(path):
                inside = sorted(p for p in files_inside(path, recursive) if p.suffix.lower() in wanted)
                files = [p for p in inside if is_input(p) and not is_of_a_mac(p)]
                found += [Input(path=p, root=path, of_folder=True) for p in files]
            else:
                found.append(Input(path=path, root=path.parent, of_folder=False))
    return found


def files_inside(folder: Path, recursive: bool) -> Iterator[Path]:
    """Yield all files in a folder, and in the folders in it if `recursive`; then those in folders that
    links lead to, but of no folder twice. Raises VaeError for a folder that cannot be listed."""

    def refuse(error: OSError) -> None:
        raise VaeError(f"cannot be listed ({error.strerror})").in_file(str(error.filename)) from error

    seen: set[str] = set()
    tops = [str(folder)]
    for top in tops:
        for root, folders, files in os.walk(top, onerror=refuse):
            if (real := os.path.realpath(root)) in seen:
                folders.clear()
                continue
            seen.add(real)
            yield from (Path(root, name) for name in files)
            if not recursive:
                return
            tops += sorted(str(path) for f in folders if (path := Path(root, f)).is_symlink())


def is_input(path: Path) -> bool:
    """Whether a path found in a folder is one to work on: a file, or a broken link, which will then be
    told of."""
    return os.path.isfile(path) or not os.path.exists(path)  # noqa: PTH113


def renamed(path: AnyPath, extension: str, replaced: Collection[str]) -> AnyPath:
    """Replace an extension in `replaced` (lower case) by `extension`; to other names, add it."""
    whole = path.suffix.lower() not in replaced
    return path.with_name(path.name + extension) if whole else path.with_suffix(extension)


def is_of_a_mac(path: PurePath) -> bool:
    """Whether this is one of the files that a Mac puts beside others, with "._" before their names."""
    return path.name.startswith("._")


def output_paths(
    found: Sequence[Input],
    out: str | None,
    extension: str,
    replaced: Iterable[str],
    of_files: Collection[str] = (),
) -> list[tuple[Path, Path]]:
    """Pair every input with its output: beside the input, or where `out` says.

    `out` is a file if there is one input, not from a folder, and `out` has an extension and does not
    name a folder; otherwise it is a folder, in which the inputs' relative paths are kept.
    `extension`, `replaced`: as in `renamed`. `of_files`: extensions besides `extension` that no new
    folder has. Raises VaeError if `out` cannot be that.
    """
    known = {suffix.lower() for suffix in replaced}

    def named(path: Path) -> Path:
        return renamed(path, extension, known)

    if out is None:
        paths = [each.path for each in found]
        return [(p, p if p == STANDARD_STREAM else named(p)) for p in paths]
    if not out:  # from an unset shell variable
        raise VaeError("a name of a file or a folder is empty")
    target = path_named(out)
    if target == STANDARD_STREAM:
        if len(found) != 1:
            raise VaeError("standard output takes one file, several inputs were given")
        return [(found[0].path, target)]
    # Every output file has an extension, unless it is a device or a file already.
    several = len(found) != 1 or found[0].of_folder or not (target.suffix or os.path.lexists(target))
    if several and target.suffix.lower() in {extension, *of_files} and not os.path.isdir(target):
        raise VaeError("is the name of a file, but several inputs need a folder to go to").in_file(out)
    if not several and not os.path.isdir(target) and not out.endswith(("/", os.sep)):
        return [(found[0].path, target)]
    if os.path.exists(target) and not os.path.isdir(target):
        raise VaeError("is a file, but several inputs need a folder to go to").in_file(out)
    return [(each.path, named(target / each.path.relative_to(each.root))) for each in found]
