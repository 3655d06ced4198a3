"""Embeddings kept in a file, so that only what is new or changed is embedded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bitstream.errors import VaeError
from vaecodec.files import make_parents, write_whole
from vaecodec.uses.embedding import DIMENSIONS, fingerprint

#: Of the metadata in which everything but the vectors stands.
_KEY = "vaecodec.embeddings"


class Index:
    """Embeddings by file. A file is known by its name, size and modification time.

    The index is a safetensors file: `vectors` (float32, N x DIMENSIONS), and as metadata the files, a
    checksum of both, and which weights made the vectors. With other weights they mean nothing, and the
    index begins anew. `model_id`: of the model that files without loss are embedded with. Raises
    VaeError if `path` exists and is not an index, or is damaged.
    """

    def __init__(self, path: Path, model_id: bytes) -> None:
        self._path = path
        self._weights = f"{fingerprint()} {model_id.hex()}"
        self._known: dict[tuple[str, int, int], np.ndarray] = {}
        self._seen: dict[Path, tuple[str, int, int] | None] = {}
        self._changed = False
        if os.path.isdir(path):
            raise VaeError("is a folder, a file was expected").in_file(str(path))
        if not os.path.exists(path):
            make_parents(path)
            self._changed = True
            return
        try:
            data = path.read_bytes()
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            about = json.loads(header["__metadata__"][_KEY])
            vectors = load(data)["vectors"]
            files = [(str(name), int(size), int(when)) for name, size, when in about["files"]]
            if vectors.dtype != np.float32 or vectors.shape != (len(files), DIMENSIONS):
                raise ValueError("other vectors were expected")
            if about["sha256"] != _checksum(about["files"], vectors):
                raise ValueError("something has changed since it was written")
            if about["weights"] == self._weights:
                self._known = dict(zip(files, vectors, strict=True))
        except OSError as error:
            raise VaeError(f"cannot be read ({error.strerror or error})").in_file(str(path)) from error
        except (SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise VaeError("exists already, and is no index of embeddings, or damaged").in_file(
                str(path)
            ) from error

    def find(self, path: Path) -> np.ndarray | None:
        """The embedding of a file, if it is known and the file is unchanged."""
        state = self._seen[path] = _state(path)
        return None if state is None else self._known.get(state)

    def add(self, path: Path, vector: np.ndarray) -> None:
        """Remember the embedding of a file as it was when `find` was asked for it."""
        if (state := self._seen[path]) is not None:
            self._known[state] = vector
            self._changed = True

    def write(self) -> None:
        """Write the index if anything is new, without files that are gone or changed. Raises
        VaeError."""
        if not self._changed:
            return
        kept = {state: v for state, v in self._known.items() if _state(Path(state[0])) == state}
        files = list(kept)
        vectors = np.array(list(kept.values()), np.float32).reshape(-1, DIMENSIONS)
        about = {"weights": self._weights, "files": files, "sha256": _checksum(files, vectors)}
        write_whole(self._path, save({"vectors": vectors}, {_KEY: json.dumps(about)}), force=True)
        self._changed = False


def _checksum(files: Sequence[Sequence[object]], vectors: np.ndarray) -> str:
    return hashlib.sha256(json.dumps(files).encode() + vectors.tobytes()).hexdigest()


def _state(path: Path) -> tuple[str, int, int] | None:
    """What an embedding is known by; None if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path.absolute()), status.st_size, status.st_mtime_ns
