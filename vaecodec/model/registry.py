"""Finding models: those shipped with the package, and any model file.

A model is NAME.safetensors, where NAME is SIZE-TUNE-VERSION, with its card NAME.json beside it: how it
was trained, what it achieves, and the SHA-256 of the weights, whose first four bytes are the id that
`.vae` files carry. Models are added, never changed, so a file once written can be decoded for ever.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from bitstream.container import model_id_text
from bitstream.errors import BadType, BadValue, UnknownModel, VaeError
from vaecodec.model.config import DEFAULT_SIZE
from vaecodec.quality import DEFAULT_TUNE, TUNES, check_tune

FOLDER = Path(__file__).parent.parent / "weights"
#: Sizes in order of preference, for callers who name no model.
PREFERENCE = (DEFAULT_SIZE, "small", "large")


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A model on disk: `name`, `path` of the weights, `card`, and the 4-byte `id`."""

    name: str
    path: Path
    card: dict[str, Any]

    @property
    def id(self) -> bytes:
        return bytes.fromhex(self.card["id"])

    @property
    def tune(self) -> str:
        """One of `vaecodec.quality.TUNES`."""
        return str(self.card["tune"])


def registered() -> tuple[ModelEntry, ...]:
    """Return all models in the package, sorted by name. Cards are read again only when the folder
    changes."""
    return _cards(FOLDER, FOLDER.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _cards(folder: Path, _: int) -> tuple[ModelEntry, ...]:
    entries = []
    for card_path in sorted(folder.glob("*.json")):
        card = json.loads(card_path.read_text(encoding="utf-8"))
        path = card_path.with_suffix(".safetensors")
        entries.append(ModelEntry(name=path.stem, path=path, card=card))
    return tuple(entries)


def _preference(entry: ModelEntry) -> tuple[bool, int, int]:
    """Sort key: of several fitting models, the one with the largest is taken. Tune, size, version."""
    size, version = entry.card["size"], entry.name.rpartition("-")[2]
    return entry.tune == DEFAULT_TUNE, -PREFERENCE.index(size), int(version)


def find(name: str | os.PathLike[str] | None, tune: str | None = None) -> ModelEntry:
    """Return the model called `name`, of tune `tune`.

    `name`: a registered name ("base-visual-2"), a size ("base": its newest model), a path to a
    `.safetensors` file, or None for the preferred size that has the tune. `tune`: one of TUNES, or None
    for the model's own (for a size, the default tune if it has that). Raises UnknownModel, BadValue if
    the named model has another tune, and as `from_path` does.
    """
    if tune is not None:
        check_tune(tune)
    if name is not None and not isinstance(name, (str, os.PathLike)):
        raise BadType(f"a model is named by a string or a path, not {type(name).__name__}")
    name = None if name is None else os.fsdecode(name)
    entries = registered()
    if name is not None and name.endswith(".safetensors"):
        found = [from_path(Path(name))]
    else:
        found = [entry for entry in entries if name in (None, entry.name, entry.card["size"])]
    fitting = [entry for entry in found if tune in (None, entry.tune)]
    if fitting:
        return fitting[0] if len(fitting) == 1 else max(fitting, key=_preference)
    if not entries and not found:
        raise UnknownModel("this installation of vaecodec contains no model")
    known = ", ".join(f"{entry.name} (tune {entry.tune})" for entry in entries)
    if not found:
        raise UnknownModel(f"no model is called {name!r}; there are: {known}")
    own = " and ".join(sorted({entry.tune for entry in found}))
    what = "every model installed" if name is None else name
    raise BadValue(f"{what} is of tune {own}, not {tune}; there are: {known}")


def find_id(model_id: bytes) -> ModelEntry:
    """Return the registered model with this id. Raises UnknownModel."""
    for entry in registered():
        if entry.id == model_id:
            return entry
    known = ", ".join(f"{entry.card['id']} ({entry.name})" for entry in registered())
    raise UnknownModel(
        f"the file needs the model {model_id_text(model_id)}, which is not installed; "
        f"there are: {known}"
    )


def from_path(path: Path) -> ModelEntry:
    """Return the entry of a model file outside the package, with a card or without. Raises VaeError if
    it cannot be read."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, "np") as file:
            tune = (file.metadata() or {})["tune"]
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        raise VaeError(f"cannot read the model ({reason})").in_file(str(path)) from error
    except SafetensorError as error:
        raise VaeError(f"not a vaecodec model ({error})").in_file(str(path)) from error
    except KeyError as error:
        raise VaeError("not a vaecodec model (its metadata name no tune)").in_file(str(path)) from error
    if tune not in TUNES:
        raise VaeError(f"its tune {tune!r} is none of {', '.join(TUNES)}").in_file(str(path))
    card = {"id": digest[:8], "sha256": digest, "tune": tune}
    return ModelEntry(name=path.stem, path=path, card=card)
