"""The models shipped with the package, and loading of any model file.

A model is NAME.safetensors with its card NAME.json beside it: how it was trained, what it reaches,
and the SHA-256 of the weights, whose first four bytes are the id that `.vae` files carry. Models are
added, never changed: a file once written decodes for ever.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitstream.container import model_id_text
from bitstream.errors import UnknownModel, VaeError

FOLDER = Path(__file__).parent
#: Sizes in order of preference, for callers who name no model.
PREFERENCE = ("base", "small", "large")


@dataclass(frozen=True)
class ModelEntry:
    """A model on disk: `name`, `path` of the weights, `card`, and the 4-byte `id`."""

    name: str
    path: Path
    card: dict[str, Any]

    @property
    def id(self) -> bytes:
        return bytes.fromhex(self.card["id"])


def registered() -> list[ModelEntry]:
    """All models in the package, by name."""
    entries = []
    for card_path in sorted(FOLDER.glob("*.json")):
        card = json.loads(card_path.read_text(encoding="utf-8"))
        entries.append(ModelEntry(card_path.stem, card_path.with_suffix(".safetensors"), card))
    return entries


def _version(entry: ModelEntry) -> int:
    return int(entry.name.rpartition("-")[2])


def find(name: str | None) -> ModelEntry:
    """The model called `name`: a registered name ("small-4"), a size ("small", its newest model), a
    path to a `.safetensors` file, or None for the default. Raises UnknownModel."""
    entries = registered()
    if name is None:
        for size in PREFERENCE:
            if any(entry.card["size"] == size for entry in entries):
                return find(size)
        raise UnknownModel("this installation of vaecodec contains no model")
    if name.endswith(".safetensors"):
        return from_path(Path(name))
    for entry in entries:
        if entry.name == name:
            return entry
    of_size = [entry for entry in entries if entry.card["size"] == name]
    if not of_size:
        known = ", ".join(entry.name for entry in entries)
        raise UnknownModel(f"no model is called {name!r}; there are: {known}")
    return max(of_size, key=_version)


def find_id(model_id: bytes) -> ModelEntry:
    """The registered model with this id. Raises UnknownModel."""
    for entry in registered():
        if entry.id == model_id:
            return entry
    known = ", ".join(f"{entry.card['id']} ({entry.name})" for entry in registered())
    raise UnknownModel(
        f"the file needs the model {model_id_text(model_id)}, which is not installed; "
        f"there are: {known}"
    )


def from_path(path: Path) -> ModelEntry:
    """A model file outside the package, card or none. Raises VaeError if it cannot be read."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise VaeError(f"{path}: cannot read the model ({error.strerror})") from error
    return ModelEntry(path.stem, path, {"id": digest[:8], "sha256": digest})
