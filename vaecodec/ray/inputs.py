"""Which files are to be worked on, and what each output is called."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from vaecodec.files import is_of_a_mac, renamed
from vaecodec.pictures.reading import extensions
from vaecodec.ray.places import Place, address

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is to be done in a folder.

    - `root`: the folder, as `Encoder` and `Decoder` take it on any machine;
    - `filesystem`, `paths`: the files to work on, as `ray.data.read_binary_files` takes them;
    - `refused`: a sentence for each file that is not to be worked on, saying why;
    - `existing`: how many files were left out because their output exists.
    """

    root: str
    filesystem: FileSystem
    paths: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    existing: int = 0


def find(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    extension: str = ".vae",
    force: bool = False,
) -> Found:
    """The files in `source` and its subfolders whose output is not in `folder` yet.

    - `source`, `folder`: folders that all machines see, or URIs such as s3://bucket/photos.
    - `extension`: that of the outputs; with ".vae" the inputs are pictures, otherwise .vae files.
    - `force`: include files whose output exists.

    If several files have the same output, as a.jpg and a.png do, the first in the order of names is
    worked on and the others are refused. Raises VaeError for a folder that cannot be listed.
    """
    extension = "." + extension.lower().removeprefix(".")
    root, target = Place.of(source), Place.of(folder)
    written = set() if force else {p for p in target.files(outputs=True) if isinstance(p, str)}
    wanted = _replaced_by(extension)
    paths, refused, existing = [], [], 0
    owners: dict[str, str] = {}
    named = []
    for path in root.files():
        if isinstance(path, UnicodeDecodeError):
            shown = path.object.decode("utf-8", "backslashreplace")
            refused.append(f"{shown}: the file's name is not UTF-8")
        else:
            named.append(path)
    for path in sorted(named, key=lambda path: path.split("/")):
        if PurePosixPath(path).suffix.lower() not in wanted or is_of_a_mac(PurePosixPath(path)):
            continue
        output = f"{target.path}/{output_name(path, root, extension)}"
        owner = owners.setdefault(output, path)
        if owner != path:
            refused.append(f"{path}: its output {output} is already that of {owner}")
        elif output in written:
            existing += 1
        else:
            paths.append(path)
    return Found(
        root=address(source),
        filesystem=root.filesystem,
        paths=paths,
        refused=refused,
        existing=existing,
    )


def output_name(path: str, root: Place | None, extension: str) -> str:
    """The path within `root`, or the whole path if that is None, with `extension` in place of its own.

    Raises VaeError for a path that is not in `root`.
    """
    inside = PurePosixPath(path.lstrip("/")) if root is None else root.inside(path)
    return str(renamed(inside, extension, _replaced_by(extension)))


def _replaced_by(extension: str) -> set[str]:
    return extensions() if extension == ".vae" else {".vae"}
