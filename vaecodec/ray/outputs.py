"""Writing files from all machines, each whole or not at all."""

from __future__ import annotations

import functools
import os
from typing import Any

import pyarrow as pa
from ray.data import Dataset, TaskPoolStrategy

from bitstream.errors import VaeError
from vaecodec.ray.places import Place
from vaecodec.ray.workers import as_table, errors_of, sentence


def write(
    dataset: Dataset, folder: str | os.PathLike[str], *, force: bool = False, concurrency: int = 8
) -> Dataset:
    """Write the `data` of each row of `dataset`, as `Encoder` and `Decoder` return them, to the file
    `name` in `folder`. In the rows returned, `data` is replaced by its `size` in bytes; a row that
    cannot be written has an `error`.

    - `folder`: one that all machines see, or a URI such as s3://bucket/small.
    - `force`: replace existing files. Otherwise an existing file is an error, even one written by a
      task that Ray had to do again; `find` leaves out beforehand the files that have an output.
    - `concurrency`: tasks at a time. They need no cores of their own, since actors may hold them all.

    As always in Ray Data, the work is done when the rows are asked for.
    """
    step = functools.partial(store, place=Place.of(folder), force=force)
    return dataset.map_batches(
        step, batch_format="pyarrow", num_cpus=0, compute=TaskPoolStrategy(size=concurrency)
    )


def store(batch: Any, place: Place, *, force: bool) -> pa.Table:
    """Write a batch; see `write`."""
    table = as_table(batch)
    errors = errors_of(table)
    sizes: list[int | None] = [None] * len(table)
    paths, names = table["path"].to_pylist(), table["name"].to_pylist()
    for i, (path, name) in enumerate(zip(paths, names, strict=True)):
        if errors[i] is None:
            data = table["data"][i].as_py()
            try:
                place.write(name, data, force=force)
                sizes[i] = len(data)
            except VaeError as error:
                errors[i] = sentence(path, error)
    columns = {name: table[name] for name in table.column_names if name != "data"}
    columns["error"] = pa.array(errors, type=pa.string())
    columns["size"] = pa.array(sizes, type=pa.int64())
    return pa.table(columns)
