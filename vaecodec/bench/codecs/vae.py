"""vaecodec itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from torch.cuda import get_device_name

import bitstream
import vaecodec
from vaecodec.codec import Codec, pick_device
from vaecodec.model import registry
from vaecodec.model.registry import ModelEntry
from vaecodec.quality import DEFAULT_EFFORT


@cache
def _loaded(model: str | None, device: str | None) -> Codec:
    """One codec for all efforts and tunes, and for all tasks of a worker process."""
    return Codec(model, device)


@cache
def code_id() -> str:
    """Eight hexadecimal digits of the SHA-256 of the code that files and decoded pictures depend on."""
    package = Path(vaecodec.__file__).parent
    sources = [
        package / name
        for name in ("codec.py", "encoding.py", "decoding.py", "geometry.py", "quality.py")
    ]
    for folder in (Path(bitstream.__file__).parent, package / "model", package / "pictures"):
        sources += sorted(folder.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]


@dataclass(frozen=True, kw_only=True)
class Vae:
    """vaecodec, with one model on one device; a process loads the weights when it first needs them.

    `effort`, `tune`, `lossless`: as in `Codec.encode`. Rate-distortion curves use lossless=False: they
    compare models, and have no place for a picture without distortion. Raises UnknownModel, and
    VaeError for a model of another tune.
    """

    model: str | None = None
    device: str | None = None
    effort: int = DEFAULT_EFFORT
    tune: str | None = None
    lossless: bool | None = False
    qualities: Sequence[int] = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)

    def __post_init__(self) -> None:
        assert self.name  # looks up the model

    def __getstate__(self) -> dict[str, object]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def _entry(self) -> ModelEntry:
        return registry.find(self.model, self.tune)

    @property
    def name(self) -> str:
        name = f"vae {self._entry.name}"
        return name if self.effort == DEFAULT_EFFORT else f"{name} effort {self.effort}"

    @property
    def settings(self) -> str:
        identity = self._entry.card["id"]
        version = f"vaecodec {vaecodec.__version__}, code {code_id()}"
        settings = f"{version}, model {identity}, effort {self.effort}"
        if self.lossless is not False:
            settings += ", without loss where that is better" if self.lossless is None else ", lossless"
        device = pick_device(self.device)
        return settings if device.type == "cpu" else f"{settings}, on {get_device_name(device)}"

    def encode(self, image: np.ndarray, quality: int) -> bytes:
        return _loaded(self.model, self.device).encode(
            image, quality, effort=self.effort, tune=self.tune, lossless=self.lossless
        )

    def decode(self, data: bytes) -> np.ndarray:
        return np.asarray(_loaded(self.model, self.device).decode(data).convert("RGB"))
