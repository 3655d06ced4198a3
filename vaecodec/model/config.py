"""Sizes of the one model template, and the constants that all sizes share."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from bitstream import container

#: Quality levels covered by one set of weights, with lambda log-uniform between the two ends.
#: The loss is bits per pixel + lambda * MSE, with the MSE of 0..255 samples averaged over RGB.
LEVELS = container.LEVELS
LAMBDA_MIN = 0.0006
LAMBDA_MAX = 0.5

#: Rows of the scale table: Gaussian standard deviations, log-spaced, in quantisation steps.
SCALES = 64
SCALE_MIN = 0.11
SCALE_MAX = 128.0
SCALE_LOG_STEP = math.log(SCALE_MAX / SCALE_MIN) / (SCALES - 1)


def level_lambda(level: int) -> float:
    """Return the rate-distortion multiplier that quality level `level` (0..63) is trained for."""
    return LAMBDA_MIN * (LAMBDA_MAX / LAMBDA_MIN) ** (level / (LEVELS - 1))


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Widths and depths of one model size.

    `latent_channels` includes `detail_channels`; both must be multiples of 4.
    """

    size: str
    channels: int
    analysis_blocks: int
    coarse_channels: int
    coarse_blocks: int
    synthesis_channels: int
    synthesis_blocks: int
    latent_channels: int
    hyper_channels: int
    hyper_width: int
    prior_width: int
    index_width: int
    detail_channels: int

    def to_dict(self) -> dict[str, int | str]:
        return asdict(self)


DEFAULT_SIZE = "base"
SIZES = {
    config.size: config
    for config in (
        ModelConfig(
            size="small",
            channels=128,
            analysis_blocks=5,
            coarse_channels=128,
            coarse_blocks=2,
            synthesis_channels=96,
            synthesis_blocks=5,
            latent_channels=512,
            hyper_channels=96,
            hyper_width=128,
            prior_width=128,
            index_width=96,
            detail_channels=192,
        ),
        ModelConfig(
            size="base",
            channels=192,
            analysis_blocks=6,
            coarse_channels=320,
            coarse_blocks=3,
            synthesis_channels=192,
            synthesis_blocks=5,
            latent_channels=512,
            hyper_channels=96,
            hyper_width=160,
            prior_width=160,
            index_width=96,
            detail_channels=192,
        ),
        ModelConfig(
            size="large",
            channels=384,
            analysis_blocks=7,
            coarse_channels=512,
            coarse_blocks=6,
            synthesis_channels=384,
            synthesis_blocks=12,
            latent_channels=512,
            hyper_channels=128,
            hyper_width=192,
            prior_width=192,
            index_width=96,
            detail_channels=192,
        ),
    )
}
