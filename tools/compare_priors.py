"""What the integer prior costs: real file sizes against the rate of the float prior it came from.

    python tools/compare_priors.py CHECKPOINT MODEL.safetensors FOLDER

CHECKPOINT is the float model (final.safetensors) that MODEL was exported from. Prints, per quality,
bits per pixel of the float prior (Gaussian likelihoods, no rounding but that of the latents), of the
integer prior (ideal code length), and of real files.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from vaecodec.codec import Codec
from vaecodec.images import open_image
from vaecodec.quality import level_of
from vaecodec.train.loop import read_model

QUALITIES = (1, 10, 30, 60, 90, 100)


def main(checkpoint: str, model_path: str, folder: str) -> None:
    floats, _ = read_model(Path(checkpoint))
    codec = Codec(model_path, "cpu")
    model = codec._model()
    paths = sorted(Path(folder).glob("*.png"))
    print(
        f"{'quality':>8}{'float':>10}{'integer':>10}{'files':>10}{'integer/float':>15}{'files/integer':>15}"
    )
    for quality in QUALITIES:
        level, totals = level_of(quality), np.zeros(3)
        for path in paths:
            image = np.asarray(open_image(path).convert("RGB"))
            height, width = (side // 64 * 64 for side in image.shape[:2])
            image = np.ascontiguousarray(image[:height, :width])
            with torch.inference_mode():
                outcome = floats(torch.from_numpy(image)[None], torch.tensor([level]), noise=False)
            latent, hyper = model.analyse(image[None], level)
            rows, columns = height // 16, width // 16
            blocks = model.latents.quantise(latent, hyper, level, rows, columns)[0][0]
            bits = sum(model.tables.bits(symbols, indices) for symbols, indices in blocks)
            size = 8 * len(codec.encode(image, quality))
            totals += np.array([float(outcome.bpp), bits / (height * width), size / (height * width)])
        a, b, c = totals / len(paths)
        print(
            f"{quality:>8}{a:>10.4f}{b:>10.4f}{c:>10.4f}{b / a - 1:>+15.3%}{c / b - 1:>+15.3%}",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
