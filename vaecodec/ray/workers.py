"""What an actor does with a batch: bytes of files in, bytes of other files out, errors in a column."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import ray
from ray.data.block import BlockAccessor

from bitstream import container
from bitstream.container import MAX_PIXELS
from bitstream.errors import VaeError
from vaecodec.parallel import FAILURES, Failure, settled
from vaecodec.quality import DEFAULT_EFFORT, DEFAULT_QUALITY, LOSSY_QUALITY
from vaecodec.ray.inputs import output_name
from vaecodec.ray.places import Place

if TYPE_CHECKING:
    from PIL import Image

#: Columns of the results, each of a type that has room for any batch.
_TYPES = {
    "path": pa.string(),
    "name": pa.string(),
    "data": pa.large_binary(),
    "error": pa.string(),
    "pixels": pa.int64(),
    "seconds": pa.float64(),
}


class _Made(NamedTuple):
    """The bytes of an output, and the pixels of the picture."""

    data: bytes
    pixels: int


class _Worker:
    """One for each actor, which keeps its weights."""

    def __init__(
        self,
        extension: str,
        root: str | os.PathLike[str] | None,
        model: str | os.PathLike[str] | None,
        device: str | None,
    ) -> None:
        from vaecodec.codec import Codec, pick_device
        from vaecodec.parallel import MAX_PROCESSES

        cores = _keep_to_assigned_cores()
        on_gpu = pick_device(device).type == "cuda"
        self._extension = extension
        self._root = None if root is None else Place.of(root)
        self._codec = Codec(model, device, entropy_processes=min(cores, MAX_PROCESSES) if on_gpu else 0)

    def _work(self, files: list[bytes]) -> Iterable[_Made | Failure]:
        raise NotImplementedError

    def __call__(self, batch: Any) -> pa.Table:
        started = time.perf_counter()
        table = as_table(batch)
        paths = table["path"].to_pylist()
        rows = [self._row(path) for path in paths]
        for row, error in zip(rows, errors_of(table), strict=True):
            row["error"] = error or row["error"]
        waiting = [i for i, row in enumerate(rows) if row["error"] is None]
        results = self._work([table["bytes"][i].as_py() for i in waiting])
        for i, result in zip(waiting, results, strict=True):
            if isinstance(result, _Made):
                rows[i] |= result._asdict()
            else:
                rows[i]["error"] = sentence(paths[i], result)
        seconds = (time.perf_counter() - started) / max(1, len(rows))
        for row in rows:
            row["seconds"] = seconds
        others = [name for name in table.column_names if name not in {*_TYPES, "bytes"}]
        return pa.table(
            {
                **{name: pa.array([r[name] for r in rows], type=kind) for name, kind in _TYPES.items()},
                **{name: table[name] for name in others},
            }
        )

    def _row(self, path: str) -> dict[str, Any]:
        row: dict[str, Any] = dict.fromkeys(_TYPES)
        row["path"] = path
        try:
            row["name"] = output_name(path, self._root, self._extension)
        except VaeError as error:
            row["error"] = sentence(path, error)
        return row


def _keep_to_assigned_cores() -> int:
    """As many threads as Ray has reserved cores for this actor; return their number. Ray sees to that
    only where no one has set OMP_NUM_THREADS."""
    import torch

    # To ask for the context would start a cluster.
    context = ray.get_runtime_context() if ray.is_initialized() else None
    if context is not None and context.get_actor_id() is not None:
        torch.set_num_threads(max(1, int(context.get_assigned_resources().get("CPU", 1))))
    return torch.get_num_threads()


class Encoder(_Worker):
    """Encodes pictures to `.vae` files: a class for `map_batches`, with one instance in each actor.

    Columns in: `bytes` and `path`, as returned by `ray.data.read_binary_files(include_paths=True)`, and
    optionally `error`; rows that have an error are not worked on. Columns out, besides any others of
    the batch:

    - `path`;
    - `name`: the file's path within `root`, or its whole path, with the extension .vae;
    - `data`: the bytes of the `.vae` file, or null;
    - `error`: null, or a sentence that begins with the path;
    - `pixels`: the number of pixels of the picture, or null;
    - `seconds`: the time of the batch, divided equally among its rows.

    `model` and `device` are those of `vaecodec.Codec`, the other options those of
    `vaecodec.Codec.encode`. Give `map_batches` a `batch_size`: without one, a batch is as large as a
    block.
    """

    def __init__(
        self,
        quality: int = DEFAULT_QUALITY,
        *,
        root: str | os.PathLike[str] | None = None,
        effort: int = DEFAULT_EFFORT,
        tune: str | None = None,
        lossless: bool | None = None,
        strip: bool = False,
        model: str | os.PathLike[str] | None = None,
        device: str | None = None,
    ) -> None:
        from vaecodec.pictures.reading import set_limit_of_pillow

        set_limit_of_pillow()  # of the actor's process
        super().__init__(".vae", root, model, device)
        self._quality = quality
        self._options: dict[str, Any] = {
            "effort": effort,
            "tune": tune,
            "lossless": lossless,
            "strip": strip,
        }
        # Loads the weights, and finds arguments that cannot be.
        self._codec.encode(np.zeros((16, 16, 3), np.uint8), quality, **self._options)

    def _work(self, files: list[bytes]) -> Iterator[_Made | Failure]:
        found: Sequence[bytes | Failure] = self._codec.encode_batch(
            files, self._quality, **self._options, on_error="return"
        )
        for result in found:
            if isinstance(result, bytes):
                header = container.parse(result, sys.maxsize).header
                yield _Made(result, header.width * header.height)
            else:
                yield result


class Decoder(_Worker):
    """Decodes `.vae` files to pictures of another format, the reverse of `Encoder`; `data` is a file of
    `format`.

    - `format`: the extension of any format that Pillow writes.
    - `quality`: that of lossy formats.
    - `root`: as in `Encoder`.
    - `max_pixels`, `model`, `device`: as in `vaecodec.decode`.
    """

    def __init__(
        self,
        format: str = "png",  # noqa: A002
        *,
        quality: int = LOSSY_QUALITY,
        root: str | os.PathLike[str] | None = None,
        max_pixels: int = MAX_PIXELS,
        model: str | os.PathLike[str] | None = None,
        device: str | None = None,
    ) -> None:
        from vaecodec.pictures.saving import format_of

        extension = f".{format.lower().removeprefix('.')}"
        self._kind = format_of(extension)
        super().__init__(extension, root, model, device)
        self._quality, self._max_pixels = quality, max_pixels

    def _work(self, files: list[bytes]) -> Iterator[_Made | Failure]:
        images = self._codec.decode_many(files, max_pixels=self._max_pixels, on_error="return")
        for image in images:
            yield image if isinstance(image, FAILURES) else settled(self._saved, image)

    def _saved(self, image: Image.Image) -> _Made:
        from vaecodec.pictures.saving import saved

        data, _ = saved(image, self._kind, self._quality)
        return _Made(data, image.width * image.height)


def as_table(batch: Any) -> pa.Table:
    """A batch of any `batch_format` as a table."""
    if isinstance(batch, pa.Table):
        return batch
    return BlockAccessor.for_block(BlockAccessor.batch_to_block(batch)).to_arrow()


def errors_of(table: pa.Table) -> list[str | None]:
    """The column of errors. In a batch of numpy arrays, null may have become not-a-number."""
    if "error" not in table.column_names:
        return [None] * len(table)
    return [error if isinstance(error, str) else None for error in table["error"].to_pylist()]


def sentence(path: str, error: Failure) -> str:
    """What went wrong with a file, in a sentence."""
    if isinstance(error, MemoryError):
        return f"{path}: not enough memory for a picture of this size"
    return str(error if error.filename else error.in_file(path))
