"""An analysis transform from noisy pictures, and those that were JPEG, to the latent they had before.

If asked to, the encoder uses it in place of the model's own; its files are read like any other. One
network serves all strengths, because it is told how strong the degradation is (as is FFDNet: Zhang et
al., 2018). Training begins with a copy of the model's own (`vaecodec.train.restoring`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bitstream.errors import VaeError
from vaecodec.model.config import ModelConfig
from vaecodec.model.precision import multiplies_in_bfloat16, set_mixed_precision
from vaecodec.model.registry import ModelEntry
from vaecodec.model.transforms import Analysis, space_to_depth, with_details
from vaecodec.quality import LOWEST_JPEG, MAX_NOISE, NEVER_JPEG, Degradation

#: Strengths above zero, for each kind of degradation, between which what is learned is interpolated.
STRENGTH_KNOTS = 8


def described(noise: Tensor, jpeg: Tensor) -> Tensor:
    """Encode strengths of N degradations (float, N each, in the units of `Degradation`) as the network
    reads them: float, N x 2 * STRENGTH_KNOTS, zeros where there is none."""
    strengths = ((noise / MAX_NOISE).sqrt(), (NEVER_JPEG - jpeg) / (NEVER_JPEG - LOWEST_JPEG))
    knots = torch.arange(1, STRENGTH_KNOTS + 1, device=noise.device)
    hats = [
        (1 - (STRENGTH_KNOTS * x.clamp(0, 1)[:, None] - knots).abs()).clamp(min=0) for x in strengths
    ]
    return torch.cat(hats, dim=1)


class RestoringAnalysis(Analysis):
    """An `Analysis` that is told the degradation: its strengths shift the input of the trunk and the
    gains of its branches, and weight the linear details against the trunk's own estimate of them.

    `forward(picture, level, degradation)`: as in `Analysis`, with `degradation` from `described`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        c, details = config.channels, config.detail_channels
        self.widths = [c, details, *[2 * c] * config.analysis_blocks]
        self.strengths = nn.Linear(2 * STRENGTH_KNOTS, sum(self.widths), bias=False)
        self.details = nn.Linear(4 * c, details, bias=False)
        nn.init.zeros_(self.strengths.weight)
        nn.init.zeros_(self.details.weight)

    def forward(  # type: ignore[override]
        self, picture: Tensor, level: Tensor, degradation: Tensor
    ) -> Tensor:
        shifts = self.strengths(degradation)[:, None, None, :]
        first, log_weights, *gains = shifts.split(self.widths, dim=-1)
        x = self.trunk(self.head(space_to_depth(picture, 8)) + first, level, shifts=gains)
        x = space_to_depth(x, 2)
        details = self.shortcut(space_to_depth(picture, 16)) * log_weights.exp() + self.details(x)
        return with_details(self.tail(x), details)


def path_of(entry: ModelEntry) -> Path:
    """Path of a model's restoring analysis transform: in a folder beside its weights."""
    return entry.path.parent / "restoring" / entry.path.name


def load_restoring(
    entry: ModelEntry, config: ModelConfig, device: torch.device, path: Path | None = None
) -> RestoringAnalysis:
    """Load a model's restoring analysis transform, from its own file or from `path`. Raises VaeError if
    it has none, or the file does not hold one."""
    if path is None and not path_of(entry).is_file():
        raise VaeError(f"the model {entry.name} cannot restore pictures")
    path = path or path_of(entry)
    try:
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
            network = RestoringAnalysis(config)
            network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise VaeError(f"no restoring analysis transform ({error})").in_file(str(path)) from error
    set_mixed_precision(network, multiplies_in_bfloat16(device))
    return network.to(device, torch.float32).eval().requires_grad_(False)


def strengths(degradations: Sequence[Degradation], device: torch.device) -> Tensor:
    """Encode the degradations of N pictures as `described` does."""
    noise = torch.tensor([each.noise for each in degradations], dtype=torch.float32)
    jpeg = torch.tensor([each.jpeg for each in degradations], dtype=torch.float32)
    return described(noise, jpeg).to(device)
