"""Embeddings kept in a file, so that only what is new or changed is embedded."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from bitstream.errors import VaeError
from vaecodec.files import make_parents, write_whole
from vaecodec.uses.embedding import DIMENSIONS, fingerprint

#: Of the metadata in which everything but the vectors stands.
_KEY = "vaecodec.embeddings"


class Index:
    """Embeddings by file, of which each is known by its name, size and time of change.

    It is a safetensors file: `vectors` (float32, N x DIMENSIONS), and as metadata the files, and which
    weights made them: with others they mean nothing, and the index begins anew. Raises VaeError if
    `path` exists and is no index.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
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
            with safe_open(path, "np") as file:
                about = json.loads((file.metadata() or {})[_KEY])
                vectors = file.get_tensor("vectors")
            files = [(str(name), int(size), int(when)) for name, size, when in about["files"]]
            if vectors.dtype != np.float32 or vectors.shape != (len(files), DIMENSIONS):
                raise ValueError("other vectors were expected")
            if about["weights"] == fingerprint():
                self._known = dict(zip(files, vectors, strict=True))
        except OSError as error:
            raise VaeError(f"cannot be read ({error.strerror or error})").in_file(str(path)) from error
        except (SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise VaeError("exists already, and is no index of embeddings").in_file(
                str(path)
            ) from error

    def find(self, path: Path) -> np.ndarray | None:
        """The embedding of a file, if it is known and the file the same."""
        state = self._seen[path] = _state(path)
        return None if state is None else self._known.get(state)

    def add(self, path: Path, vector: np.ndarray) -> None:
        """Remember the embedding of a file as it was when `find` was asked for it."""
        if (state := self._seen[path]) is not None:
            self._known[state] = vector
            self._changed = True

    def write(self) -> None:
        """Write the file if anything is new, without what is gone or changed. Raises VaeError."""
        if not self._changed:
            return
        kept = {state: v for state, v in self._known.items() if _state(Path(state[0])) == state}
        about = {"weights": fingerprint(), "files": list(kept)}
        vectors = np.array(list(kept.values()), np.float32).reshape(-1, DIMENSIONS)
        write_whole(self._path, save({"vectors": vectors}, {_KEY: json.dumps(about)}), force=True)
        self._changed = False


def _state(path: Path) -> tuple[str, int, int] | None:
    """What an embedding is known by; None if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path.absolute()), status.st_size, status.st_mtime_ns
