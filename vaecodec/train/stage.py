"""The choices of a training stage, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vaecodec.quality import DEFAULT_TUNE
from vaecodec.train.fitting import Fitting

if TYPE_CHECKING:  # help texts need the defaults, but not torch
    import torch


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the user chooses for a training stage.

    `size`: None for the checkpoint's, or DEFAULT_SIZE without one. `decay_from`: share of the stage's
    time after which the learning rate falls linearly to 0. `tune`: selects the distortion to minimise
    (`vaecodec.model.objective`). `textures`: share of the crops that get a drawn texture.
    """

    data: Path
    out: Path
    minutes: float
    device: torch.device
    batch: int
    size: str | None = None
    patch: int = 128
    learning_rate: float = 3e-3
    decay_from: float = 2 / 3
    resume: Path | None = None
    seed: int = 0
    tune: str = DEFAULT_TUNE
    textures: float = 0.04
    fitting: Fitting = field(default_factory=Fitting)
