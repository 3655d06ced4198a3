"""Files on disk: which ones a command works on, and writing them whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from bitstream.errors import VaeError


def check_output(path: Path, *, force: bool) -> None:
    """Raise VaeError if `path` is a folder, or exists and may not be replaced."""
    # os.path answers False where pathlib raises: in folders that may not be searched.
    if os.path.isdir(path):
        raise VaeError(f"{path}: is a folder, a file was expected")
    if not force and os.path.lexists(path):
        raise VaeError(f"{path}: exists already (use --force to replace it)")


def write_whole(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write `data` to a temporary file beside `path`, then rename it.

    Raises VaeError, leaving nothing behind, if `path` exists and not `force`, or the system refuses.
    """
    check_output(path, force=force)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise VaeError(f"{path}: cannot be written ({error.strerror})") from error


def read_file(path: Path) -> bytes:
    """All bytes of `path`. Raises VaeError naming it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise VaeError(f"{path}: cannot be read ({error.strerror})") from error


def expand(inputs: Sequence[str], extensions: Iterable[str]) -> list[tuple[Path, Path]]:
    """The files meant by `inputs`: files, folders (searched for `extensions`, recursively) and glob
    patterns the shell left alone. Each comes with the folder that its relative path starts from.

    A name that matches nothing is returned as it is: working on it will say what is wrong.
    """
    wanted = {extension.lower() for extension in extensions}
    found: list[tuple[Path, Path]] = []
    for name in inputs:
        names = [name]
        if not os.path.lexists(name) and glob.has_magic(name):
            names = sorted(glob.glob(name, recursive=True)) or [name]
        for path in map(Path, names):
            if os.path.isdir(path):
                inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in wanted)
                found += [(p, path) for p in inside if p.is_file()]
            else:
                found.append((path, path.parent))
    return found


def output_paths(
    found: Sequence[tuple[Path, Path]], out: str | None, extension: str
) -> list[tuple[Path, Path]]:
    """Pairs of input and output: beside the input, or where `out` says.

    `out` is a file if there is one input and it does not name a folder; else a folder, in which the
    inputs' folders are kept. Raises VaeError if `out` cannot be that.
    """
    if out is None:
        return [(path, path.with_suffix(extension)) for path, _ in found]
    target = Path(out)
    folder = os.path.isdir(target) or out.endswith(("/", os.sep)) or len(found) != 1
    if not folder:
        return [(found[0][0], target)]
    if os.path.exists(target) and not os.path.isdir(target):
        raise VaeError(f"{out}: is a file, but several inputs need a folder to go to")
    return [(path, (target / path.relative_to(root)).with_suffix(extension)) for path, root in found]
