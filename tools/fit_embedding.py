"""Fit the projections that `vaecodec.embed` needs, for the newest model of each tune of a size.

    python tools/fit_embedding.py DATA SIZE [--pictures N] [--report OUT.json]

DATA: a folder of pictures or of tar shards of them, or one shard. Latent statistics are taken of N
pictures, shrunk to at most SIDE pixels along the longer side, both as they are and changed in the ways
of `variants`. Two thirds of the pictures are fitted to; the report is about the rest: how often the
nearest unchanged picture is the one that a changed one was made from, and how similar different
pictures are.

The model of the default tune gets the linear function that best tells pictures apart, relative to how
far the changes move them (linear discriminant analysis). The others get the one whose results are
nearest to it (ridge regression), so that embeddings of all models can be compared.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from safetensors.numpy import save

from vaecodec.bench.run import machine
from vaecodec.codec import Codec
from vaecodec.files import make_parents, write_json, write_whole
from vaecodec.geometry import latent_size
from vaecodec.model import registry
from vaecodec.quality import DEFAULT_TUNE, TUNES
from vaecodec.train.data import members
from vaecodec.uses.embedding import DIMENSIONS, path_of, statistics

SIDE = 448
SMALLEST = 128
#: Share of the pictures that are fitted to.
FIT = 2 / 3
#: How far the covariance of changes is shrunk to its diagonal: there are more statistics than pictures.
SHRINKAGE = 0.2
#: Penalty of the ridge regression, relative to the mean variance of the statistics.
RIDGE = 0.1
#: Levels at which variants are coded that are not about levels; the second is a usual one.
LEVEL, USUAL_LEVEL = 20, 38


def variants(
    picture: Image.Image, random: np.random.Generator
) -> Iterator[tuple[str, Image.Image, int]]:
    """Yield the picture as it is, then changed: what was done, the result, a level to code it at."""
    width, height = picture.size
    yield "as it is", picture, LEVEL
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=30)
    yield "JPEG of quality 30", Image.open(file).convert("RGB"), USUAL_LEVEL
    smaller = (round(0.6 * width), round(0.6 * height))
    yield "shrunk to 60 %", picture.resize(smaller, Image.Resampling.LANCZOS), LEVEL
    w, h = round(0.8 * width), round(0.8 * height)
    x, y = (int(random.integers(0, side + 1)) for side in (width - w, height - h))
    yield "cut to 80 % of each side", picture.crop((x, y, x + w, y + h)), LEVEL
    yield "at level 5", picture, 5
    yield "at level 50", picture, 50
    brighter = ImageEnhance.Brightness(picture).enhance(1.15)
    yield "brighter, less colour", ImageEnhance.Color(brighter).enhance(0.8), USUAL_LEVEL


@torch.no_grad()
def of_latent(codec: Codec, picture: Image.Image, level: int) -> np.ndarray:
    """Statistics of what `vaecodec.latents` would return for the picture's file."""
    model, samples = codec.loaded(), np.asarray(picture)[None]
    rows, columns = latent_size(*samples.shape[1:3])
    latent, hyper = model.analyse(samples, level)
    decoded = model.latents.quantise(latent[:, :rows, :columns], hyper, level).latent
    return statistics(decoded[0].numpy(), whiten_of(codec))


def whiten_of(codec: Codec) -> np.ndarray:
    return codec.loaded().transforms.whiten.numpy()


def measured(codecs: list[Codec], data: Path, count: int) -> tuple[list[str], np.ndarray]:
    """Return the names of the variants, and statistics: models x pictures x variants x F."""
    names: list[str] = []
    random, found = np.random.default_rng(0), []
    for _, content in members(data):
        picture = Image.open(io.BytesIO(content)).convert("RGB")
        if min(picture.size) < SMALLEST:
            continue
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        shapes = list(variants(picture, random))
        names = [name for name, _, _ in shapes]
        found.append(
            [[of_latent(codec, image, level) for _, image, level in shapes] for codec in codecs]
        )
        print(f"\r{len(found)} of {count} pictures", end="", flush=True)
        if len(found) == count:
            break
    print()
    return names, np.array(found).swapaxes(0, 1)


def discriminants(statistic: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (F) and matrix (F x DIMENSIONS) for pictures x variants x F: the directions in which
    pictures vary most, relative to their variants."""
    pictures, shapes, width = statistic.shape
    centres, mean = statistic.mean(axis=1), statistic.mean(axis=(0, 1))
    left = (statistic - centres[:, None]).reshape(-1, width).astype(np.float64)
    within = left.T @ left / (pictures * (shapes - 1))
    own = np.diag(np.diag(within))
    within += SHRINKAGE * (own - within) + 1e-3 * np.trace(own) / width * np.eye(width)
    root = np.linalg.inv(np.linalg.cholesky(within))
    between = root @ np.cov(centres.T) @ root.T
    _, vectors = np.linalg.eigh(between)
    return mean, root.T @ vectors[:, ::-1][:, :DIMENSIONS]


def regression(statistic: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (F) and matrix (F x DIMENSIONS) that map N x F closest to `wanted` (N x DIMENSIONS)."""
    mean = statistic.mean(axis=0)
    x = (statistic - mean).astype(np.float64)
    ridge = RIDGE * (x**2).sum() / x.shape[1] * np.eye(x.shape[1])
    return mean, np.linalg.solve(x.T @ x + ridge, x.T @ wanted)


def embedded(statistic: np.ndarray, mean: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    vectors = (statistic - mean) @ matrix
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def report(names: list[str], originals: np.ndarray, vectors: np.ndarray) -> dict[str, object]:
    """How well `vectors` (pictures x variants x DIMENSIONS) find `originals` (pictures x
    DIMENSIONS)."""
    rows = {}
    for name, vector in zip(names, vectors.swapaxes(0, 1), strict=True):
        similarity = vector @ originals.T
        own = np.diag(similarity)
        rows[name] = {
            "found": float((similarity.argmax(axis=1) == np.arange(len(own))).mean()),
            "similarity": float(own.mean()),
            "similarity, 5th percentile": float(np.percentile(own, 5)),
        }
    others = (originals @ originals.T)[~np.eye(len(originals), dtype=bool)]
    return {
        "pictures": len(originals),
        "variants": rows,
        "others": {p: float(np.percentile(others, p)) for p in (50.0, 99.0, 99.9, 100.0)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("size")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    tunes = sorted(TUNES, key=lambda tune: tune != DEFAULT_TUNE)
    entries = [registry.find(given.size, tune) for tune in tunes]
    codecs = [Codec(entry.name, "cpu") for entry in entries]
    names, statistic = measured(codecs, given.data, given.pictures)
    fit = round(FIT * statistic.shape[1])
    results: dict[str, object] = {}
    for number, (entry, codec) in enumerate(zip(entries, codecs, strict=True)):
        own = statistic[number, :fit]
        if number == 0:
            mean, matrix = discriminants(own)
            wanted = ((own - mean) @ matrix).reshape(-1, DIMENSIONS)
            originals = embedded(statistic[0, fit:, 0], mean, matrix)
        else:
            mean, matrix = regression(own.reshape(-1, own.shape[-1]), wanted)
        results[entry.name] = report(names, originals, embedded(statistic[number, fit:], mean, matrix))
        projection: dict[str, np.ndarray] = {
            "whiten": whiten_of(codec).astype(np.float32),
            "mean": mean.astype(np.float32),
            "matrix": matrix.astype(np.float16),
        }
        make_parents(path_of(entry))
        write_whole(path_of(entry), save(projection), force=True)
    figures = {"machine": machine(), "fitted_to": fit, "models": results}
    print(json.dumps(figures, indent=1))
    if given.report is not None:
        write_json(given.report, figures)


if __name__ == "__main__":
    main()
