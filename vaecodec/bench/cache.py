"""Cache of measurements: an interrupted run resumes, and a new codec costs only its own measurements.

One JSON object per line, appended as soon as it is known. A record is for one picture (the SHA-256 of
its samples), one codec with its settings and versions, and one target size, or one quality on one
machine, with so many jobs at once. It is measured anew if it lacks a metric, or has it from another
version of its library.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from bitstream.errors import VaeError
from vaecodec.bench.codecs import BenchCodec

NAME = "cache.jsonl"


def picture_id(image: np.ndarray) -> str:
    """SHA-256 of the samples and the shape of a uint8 array."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def key(picture: str, codec: BenchCodec, what: str) -> str:
    """Key of a record. `what`: the quality or the target, in words."""
    return hashlib.sha256("\n".join((picture, codec.name, codec.settings, what)).encode()).hexdigest()


class Cache:
    """Records by key, in a file, or only in memory if `path` is None.

    Raises VaeError if `path` cannot be read or written. Lines that are not records, such as a last one
    cut short by an interruption, are ignored.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._records: dict[str, dict[str, Any]] = {}
        if path is None:
            return
        try:
            with path.open("a+", encoding="utf-8") as file:
                file.seek(0)
                text = file.read()
                if text and not text.endswith("\n"):
                    file.write("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise VaeError(f"{path}: cannot be used as a cache ({error})") from error
        for line in text.splitlines():
            try:
                record = json.loads(line)
                self._records[record["key"]] = record["value"]
            except (ValueError, TypeError, KeyError):
                continue

    def get(self, key: str) -> dict[str, Any] | None:
        return self._records.get(key)

    def put(self, key: str, value: dict[str, Any]) -> None:
        self._records[key] = value
        if self._path is not None:
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"key": key, "value": value}) + "\n")
            except OSError as error:
                raise VaeError(f"{self._path}: cannot be written ({error.strerror})") from error
