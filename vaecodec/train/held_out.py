"""Evaluation on held-out pictures, by which checkpoints of one tune are compared."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from vaecodec.geometry import HYPER_STRIDE, middle
from vaecodec.model.config import level_lambda
from vaecodec.model.contrast import lost_contrast
from vaecodec.model.objective import distortion, squared_error
from vaecodec.model.precision import set_mixed_precision
from vaecodec.model.ssimulacra2 import linear_light, visual_error
from vaecodec.train.gradients import full_precision
from vaecodec.train.model import TrainableCodec

HELD_OUT_LEVELS = (3, 15, 27, 39, 51, 60)
HELD_OUT_SIDE = 256  # at most; smaller held-out pictures are cut to the largest multiple of 64


def held_out_table(
    model: TrainableCodec, pictures: list[np.ndarray], tune: str
) -> list[dict[str, float]]:
    """Evaluate a model on the middles of the held-out pictures. A row per level has mean estimated bits
    per pixel (in all, and of the hyper-latent), PSNR (dB), SSIMULACRA2's error, the error of colours
    (times 10^6), ColorVideoVDP's error of lightness, and R + lambda D."""
    device = next(model.parameters()).device
    crops = []
    for array in pictures:
        h, w = (min(side // HYPER_STRIDE * HYPER_STRIDE, HELD_OUT_SIDE) for side in array.shape[:2])
        if h and w:
            cut = array[middle(array.shape, h, w).slices()]
            crops.append(torch.from_numpy(cut.copy())[None])
    rows = []
    for level in HELD_OUT_LEVELS:
        values = []
        for crop in crops:
            with torch.no_grad():
                outcome = model(crop.to(device), torch.tensor([level], device=device), noise=False)
            wanted, found = crop.to(device).float() / 255, outcome.picture
            error = visual_error(wanted, found)
            loss = outcome.bpp + level_lambda(level) * distortion(tune, wanted, found)
            psnr = 10 * torch.log10(255**2 / squared_error(wanted, found))
            contrast = lost_contrast(linear_light(wanted), linear_light(found))
            colour = 1e6 * error.colour
            row = (outcome.bpp, outcome.hyper_bpp, psnr, error.structure, colour, contrast, loss)
            values.append([float(value) for value in row])
        names = ("bpp", "hyper_bpp", "psnr", "structure", "colour", "contrast", "loss")
        means = np.mean(values, axis=0).round(4).tolist()
        rows.append({"level": level, **dict(zip(names, means, strict=True))})
    return rows


def evaluated(model: TrainableCodec, pictures: list[np.ndarray], tune: str) -> dict[str, Any]:
    """What a checkpoint's record keeps of `held_out_table`, of the model as it will be exported. The
    model stays in full precision, with fake-quantised scale indices."""
    set_mixed_precision(model, False)
    model.indices.fake_quantise = True
    with full_precision():
        rows = held_out_table(model, pictures, tune)
    return {"held_out": rows, "held_out_score": held_out_score(rows)}


def held_out_score(rows: list[dict[str, float]]) -> float:
    """Mean over the levels of log2(R + lambda D), by which models are compared; lower is better."""
    return round(sum(math.log2(row["loss"]) for row in rows) / len(rows), 4)
