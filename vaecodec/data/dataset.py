"""A data set of `.vae` files, from a folder, a list of paths, or a tar."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any

from torch.utils.data import Dataset

from bitstream import container
from bitstream.errors import BadType, BadValue, NoSuchFile, VaeError
from vaecodec.data.decoder import EXTENSION, VaeDecoder
from vaecodec.data.tars import Tar
from vaecodec.files import expand
from vaecodec.sources import NamedBytes, read_path


class VaeDataset(Dataset[Any]):
    """A map-style data set of `.vae` files. An item is a uint8 tensor, C x H x W, 0..255, or a tuple of
    that tensor and its label.

    - `source`: a folder with all its subfolders, in the order of the names; a list of paths; or an
      uncompressed tar, in its own order.
    - `crop`, `reduce`, `mode`, `max_pixels`, `model`, `device`: see `VaeDecoder`; by default whole
      pictures, RGB, decoded on the CPU.
    - `transform`: called with each tensor; what it returns is the item. `target_transform`: the same
      for labels.
    - `labels`: whether there are labels. As in torchvision's ImageFolder, the first folder below
      `source` is the class of a file, and labels number the sorted classes that have files. For a tar,
      the innermost folder that holds all its files takes the place of `source`. None (the default):
      there are labels unless all files lie directly in `source`, and never for a list.
    - `decode`: if False, items are the bytes of the files, for `DecodeCollate`.
    - `keep_index`: write where the members of a tar are to a file beside it, such as
      `photos.tar.index`, unless that exists; the next time, the tar's headers need not be read. An
      index made for another size or time than the tar's is not used.

    `names`: the names of all files. `classes`, `class_to_idx`: the names of the classes, and their
    labels; empty without labels. `targets`: the label of every file; empty without labels.

    It can be pickled, and used in forked or spawned workers. Raises VaeError for a source that cannot
    be read, has no `.vae` files, or has some outside the folders of classes; BadValue or BadType for
    invalid arguments. An item that cannot be decoded, or is smaller than `crop`, raises VaeError naming
    the file, in a tar as "photos.tar: member"; for a missing file it is a FileNotFoundError as well.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        crop: int | tuple[int, int] | None = None,
        reduce: int = 1,
        mode: str | None = "RGB",
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        labels: bool | None = None,
        decode: bool = True,
        keep_index: bool = False,
        max_pixels: int = container.MAX_PIXELS,
        model: str | os.PathLike[str] | None = None,
        device: str = "cpu",
    ) -> None:
        self._decoder = VaeDecoder(
            crop=crop, reduce=reduce, mode=mode, max_pixels=max_pixels, model=model, device=device
        )
        self._decode = decode
        of_pictures = (crop, reduce, mode, transform)
        if not decode and of_pictures != (None, 1, "RGB", None):
            raise BadValue("crop, reduce, mode and transform are of decoded pictures; decode is False")
        for name, call in (("transform", transform), ("target_transform", target_transform)):
            if call is not None and not callable(call):
                raise BadType(f"{name} must be a function, not {type(call).__name__}")
        self.transform, self.target_transform = transform, target_transform
        self._tar: Tar | None = None
        folders: list[str] | None = None
        root = None
        if not isinstance(source, (str, os.PathLike)):
            self.names = _listed(source)
        elif os.path.isdir(root := os.fsdecode(source)):
            found = expand([root], [EXTENSION])
            self.names = [str(file.path) for file in found]
            folders = [file.path.relative_to(file.root).parent.as_posix() for file in found]
        elif os.path.exists(root):
            self._tar = Tar(root, EXTENSION, keep_index=keep_index)
            self.names = [member.name for member in self._tar.members]
            folders = _below_all([PurePosixPath(name.lstrip("/")).parent for name in self.names])
        else:
            raise NoSuchFile("there is no such folder or tar").in_file(root)
        if not self.names:
            error = VaeError(f"there are no {EXTENSION} files")
            raise error if root is None else error.in_file(root)
        of_files = _classes(folders, labels, self.names)
        self.classes = sorted(set(of_files))
        self.class_to_idx = {name: number for number, name in enumerate(self.classes)}
        self.targets = [self.class_to_idx[name] for name in of_files]
        if target_transform is not None and not self.targets:
            raise BadValue("target_transform is of labels, and there are none")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Any:
        source = self._read(index)
        item: Any = source
        if self._decode:
            item = self._decoder.decode(source)
        if self.transform is not None:
            item = self.transform(item)
        if not self.targets:
            return item
        label = self.targets[index]
        return item, label if self.target_transform is None else self.target_transform(label)

    def _read(self, index: int) -> NamedBytes:
        if self._tar is not None:
            return self._tar.read(index)
        name = self.names[index]
        return NamedBytes(read_path(name), name)


def _listed(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Names of a list. Raises BadType for what is none."""
    if isinstance(paths, (bytes, bytearray)) or not isinstance(paths, Iterable):
        raise BadType(f"a folder, a tar or a list of paths was expected, not {type(paths).__name__}")
    names = list(paths)
    for name in names:
        if not isinstance(name, (str, os.PathLike)):
            raise BadType(f"a list of paths was expected, one is of type {type(name).__name__}")
    return [os.fsdecode(name) for name in names]


def _below_all(folders: list[PurePosixPath]) -> list[str]:
    """The same folders, seen from the one that all are in."""
    if not folders:
        return []
    root = posixpath.commonpath(folders)
    return [folder.relative_to(root).as_posix() for folder in folders]


def _classes(folders: list[str] | None, labels: bool | None, names: list[str]) -> list[str]:
    """The class of every file, or nothing. `folders`: of the files, "." for the root, "/" between them;
    None for a list. Raises BadValue or VaeError where labels are asked for and cannot be."""
    if labels is not None and not isinstance(labels, bool):
        raise BadType(f"labels must be True, False or None, not {labels!r}")
    if folders is None and labels:
        raise BadValue("files of a list have no labels")
    if folders is None or labels is False:
        return []
    outside = [name for name, folder in zip(names, folders, strict=True) if folder == "."]
    if len(outside) == len(names) and not labels:
        return []
    if outside:
        raise VaeError("is in no class's folder, as labels need (labels=False does without)").in_file(
            outside[0]
        )
    return [folder.partition("/")[0] for folder in folders]
