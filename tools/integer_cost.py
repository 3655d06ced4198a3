"""Measure what integer scale indices cost, and what the rest of the coding gains, against float.

    python tools/integer_cost.py CHECKPOINT MODEL.safetensors FOLDER

CHECKPOINT is the float model (final.safetensors) that MODEL was exported from. Prints, per quality,
bits per pixel: of the float model (Gaussian likelihoods, nothing rounded but the latents); with integer
scale indices on the same terms (integer Gaussian tables, nothing skipped, the same rounding); of the
codec as it is (fitted tables, skip rule) as ideal code length; and of real files.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from vaecodec.codec import Codec
from vaecodec.geometry import HYPER_STRIDE
from vaecodec.model.latents import LatentQuantiser
from vaecodec.pictures.reading import open_image
from vaecodec.quality import level_of
from vaecodec.train.checkpoints import read_model
from vaecodec.train.tables import gaussian_tables

QUALITIES = (1, 10, 30, 60, 90, 100)


def compare(checkpoint: Path, model_path: str, images: list[np.ndarray]) -> dict[int, list[float]]:
    """Quality -> bits per pixel of: float model, integer indices on the same terms, ideal code length
    of the codec, files. Means over `images` (uint8 H x W x 3), cropped to multiples of 64."""
    floats, _ = read_model(checkpoint)
    floats.skip = 0
    codec = Codec(model_path, "cpu")
    model = codec.loaded()
    gaussian = gaussian_tables()
    gaussian.skip = 0
    plain = LatentQuantiser(
        model.symbols.indices,
        model.means,
        model.latent_scale,
        gaussian,
        model.config.detail_channels,
        model.latents.error_bits_by_level,
    )
    found = {}
    for quality in QUALITIES:
        level, totals = level_of(quality), np.zeros(4)
        for image in images:
            height, width = (side // HYPER_STRIDE * HYPER_STRIDE for side in image.shape[:2])
            crop = image[:height, :width].copy()
            with torch.inference_mode():
                outcome = floats(torch.from_numpy(crop)[None], torch.tensor([level]), noise=False)
            latent = (*model.analyse(crop[None], level), level)
            bits = [coder.bits(coder.quantise(*latent)) for coder in (plain, model.latents)]
            size = 8 * len(codec.encode(crop, quality, effort=0, lossless=False))
            totals += [float(outcome.bpp), *(value / (height * width) for value in (*bits, size))]
        found[quality] = (totals / len(images)).tolist()
    return found


def main(checkpoint: str, model_path: str, folder: str) -> None:
    paths = sorted(Path(folder).glob("*.png"))
    images = [np.asarray(open_image(path).convert("RGB")) for path in paths]
    names = ("quality", "float", "integer", "codec", "files", "integer/float", "files/codec")
    print("".join(f"{name:>14}" for name in names))
    for quality, bpp in compare(Path(checkpoint), model_path, images).items():
        print(
            f"{quality:>14}" + "".join(f"{value:>14.4f}" for value in bpp),
            f"{bpp[1] / bpp[0] - 1:>+13.3%}{bpp[3] / bpp[2] - 1:>+14.3%}",
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
