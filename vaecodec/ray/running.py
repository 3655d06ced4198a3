"""A whole folder, from beginning to end: actors that read, work and write."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy

from bitstream.errors import VaeError
from vaecodec.ray.inputs import Found
from vaecodec.ray.outputs import store
from vaecodec.ray.places import Place, address
from vaecodec.ray.workers import Decoder, Encoder

#: Files that an actor reads at a time: a store is slow to answer, but answers many.
_READERS = 8
#: Files that are done again if their actor is lost, at most, or those of one batch if they are more.
_FILES_OF_A_TASK = 64


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Actors: how many, what Ray reserves for each, and how many files each works on at a time."""

    size: int
    num_cpus: float
    num_gpus: float
    batch_size: int


class Job:
    """The work of an actor, one in each. Bytes stay in it: they need no room in the object store, no
    unreadable file ends the run, and writing does not wait for a core while actors hold them all.

    Files are replaced: if an actor is lost, another does its files again.
    """

    def __init__(
        self,
        worker: type[Encoder | Decoder],
        options: Mapping[str, Any],
        source: str | os.PathLike[str],
        folder: str | os.PathLike[str],
    ) -> None:
        self._worker = worker(**options, root=source)
        self._root, self._target = Place.of(source), Place.of(folder)

    def __call__(self, batch: pa.Table) -> pa.Table:
        return store(self._worker(self._read(batch)), self._target, force=True)

    def _read(self, batch: pa.Table) -> pa.Table:
        with ThreadPoolExecutor(_READERS) as pool:
            found = list(pool.map(self._contents, batch["path"].to_pylist()))
        contents = pa.array([data for data, _ in found], type=pa.large_binary())
        errors = pa.array([error for _, error in found], type=pa.string())
        return batch.append_column("bytes", contents).append_column("error", errors)

    def _contents(self, path: str) -> tuple[bytes | None, str | None]:
        try:
            return self._root.read(path), None
        except VaeError as error:
            return None, str(error)


def convert(
    found: Found,
    folder: str | os.PathLike[str],
    worker: type[Encoder | Decoder],
    options: Mapping[str, Any],
    pool: Pool,
) -> Iterator[dict[str, Any]]:
    """The outcome of each file found, in the order in which they finish: rows as from `write`."""
    even = math.ceil(len(found.paths) / (4 * pool.size))
    step = max(pool.batch_size, min(_FILES_OF_A_TASK, even))
    blocks = [
        pa.table({"path": pa.array(found.paths[i : i + step], type=pa.string())})
        for i in range(0, len(found.paths), step)
    ]
    if not blocks:
        return
    done = ray.data.from_arrow(blocks).map_batches(
        Job,
        fn_constructor_args=(worker, options, found.root, address(folder)),
        batch_format="pyarrow",
        batch_size=pool.batch_size,
        compute=ActorPoolStrategy(size=min(pool.size, len(blocks))),
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus or None,
    )
    yield from done.iter_rows()
