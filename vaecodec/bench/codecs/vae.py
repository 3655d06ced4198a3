"""vaecodec itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property

import numpy as np

import vaecodec
from vaecodec.codec import Codec, pick_device
from vaecodec.model import registry
from vaecodec.model.registry import ModelEntry
from vaecodec.quality import DEFAULT_EFFORT


@cache
def _loaded(model: str | None, device: str | None) -> Codec:
    """One codec for all efforts and tunes, and for all tasks of a worker process."""
    return Codec(model, device)


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
        settings = f"vaecodec {vaecodec.__version__}, model {identity}, effort {self.effort}"
        if self.lossless is not False:
            settings += ", without loss where that is better" if self.lossless is None else ", lossless"
        on = pick_device(self.device).type
        return settings if on == "cpu" else f"{settings}, on {on}"

    def encode(self, image: np.ndarray, quality: int) -> bytes:
        return _loaded(self.model, self.device).encode(
            image, quality, effort=self.effort, tune=self.tune, lossless=self.lossless
        )

    def decode(self, data: bytes) -> np.ndarray:
        return np.asarray(_loaded(self.model, self.device).decode(data).convert("RGB"))
