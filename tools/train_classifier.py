"""Train a small classifier from `.vae` files and from JPEG files of equal quality.

    python tools/train_classifier.py PICTURES OUT.json [--train N] [--test N] [--epochs N] [--workers N]
        [--about TEXT]

PICTURES: a folder of pictures or of tar shards of them, or one shard. The first ones that are large
enough are shrunk, their middles cut to `SIDE` x `SIDE`, and written as `.vae` files and as JPEG files
(4:2:0, optimised, progressive) of the lowest quality whose mean SSIMULACRA2 over `SAMPLE` of them is at
least that of the `.vae` files.

Labels come from the pictures themselves: the label is the number of right angles by which a picture is
turned (Gidaris, Singh and Komodakis, "Unsupervised representation learning by predicting image
rotations", 2018). Every crop is seen in all four orientations. Both trainings start from the same seed
and see the same crops in the same order. OUT.json gets bytes, seconds and accuracies, for
docs/results.md; --about says what the pictures are.
"""

from __future__ import annotations

import argparse
import bisect
import io
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bitstream.errors import VaeError
from vaecodec.bench.codecs.pillow import JPEG
from vaecodec.bench.metrics import ssimulacra2, usable
from vaecodec.bench.run import machine
from vaecodec.codec import Codec
from vaecodec.data import VaeDataset
from vaecodec.data.decoder import random_box
from vaecodec.files import write_json
from vaecodec.pictures.finishing import as_tensor
from vaecodec.quality import DEFAULT_QUALITY
from vaecodec.train.data import members

SIDE = 256
#: Square, because it is turned.
CROP = (192, 192)
REDUCE = 2
#: Pictures on which the qualities are compared.
SAMPLE = 48
#: Pictures in a batch, each in four orientations.
BATCH = 32
TURNS = 4
WIDTHS = (3, 24, 48, 96, 128)
MAX_RATE = 3e-3
SEED = 1


class Jpegs(Dataset[Tensor]):
    """Like `VaeDataset`, for JPEG files: uint8, 3 x H x W."""

    def __init__(self, paths: Sequence[Path], crop: tuple[int, int] | None) -> None:
        self.paths, self.crop = paths, crop

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as file:
            image = file.convert("RGB")
        if self.crop is not None:
            image = image.crop(random_box(*image.size, self.crop))
        return as_tensor(np.array(image.reduce(REDUCE)))


def pictures(source: Path, count: int) -> list[np.ndarray]:
    """Read `count` pictures, uint8 `SIDE` x `SIDE` x 3. Raises VaeError if there are fewer."""
    found: list[np.ndarray] = []
    for _, data in members(source):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        if min(image.size) < SIDE:
            continue
        found.append(np.asarray(ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.LANCZOS)))
        if len(found) == count:
            return found
    raise VaeError(
        f"{source}: {count} pictures of {SIDE} x {SIDE} or more are needed, not {len(found)}"
    )


def score(originals: Sequence[np.ndarray], decoded: Iterable[np.ndarray]) -> float:
    """Mean SSIMULACRA2."""
    values = [ssimulacra2(*pair) for pair in zip(originals, decoded, strict=True)]
    return mean(value for value in values if value is not None)


def jpegs(images: Sequence[np.ndarray], quality: int) -> list[bytes]:
    """Encode all `images`."""
    return [JPEG.encode(image, quality) for image in images]


def jpeg_quality(sample: Sequence[np.ndarray], wanted: float) -> int:
    """The lowest quality at which the mean SSIMULACRA2 of the sample reaches `wanted`."""

    def reached(quality: int) -> float:
        return score(sample, map(JPEG.decode, jpegs(sample, quality)))

    qualities = range(JPEG.ends[0], JPEG.ends[1] + 1)
    found = bisect.bisect_left(qualities, wanted, key=reached)
    if found == len(qualities):
        raise VaeError(f"no JPEG quality reaches an SSIMULACRA2 of {wanted:.2f}")
    return qualities[found]


def write(files: Sequence[bytes], folder: Path, extension: str) -> list[Path]:
    """Write files to a new folder; return their paths."""
    folder.mkdir()
    paths = [folder / f"{number:05}{extension}" for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    return paths


def network() -> nn.Module:
    """Convolutions, each of which halves the resolution, their mean, and a score for every turn."""
    layers: list[nn.Module] = []
    for wide, wider in pairwise(WIDTHS):
        layers += [nn.Conv2d(wide, wider, 3, stride=2, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(wider), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], TURNS))


def turned(batch: Tensor) -> tuple[Tensor, Tensor]:
    """Turn a batch (uint8, N x 3 x S x S) in all four ways (float, 4 N x 3 x S x S); return it with the
    number of right angles of each."""
    floats = batch.float() / 127.5 - 1
    both = torch.cat([torch.rot90(floats, turn, (2, 3)) for turn in range(TURNS)])
    return both, torch.arange(TURNS).repeat_interleave(len(batch))


@torch.no_grad()
def accuracy(model: nn.Module, batches: DataLoader[Tensor]) -> float:
    """Share of turns that are recognised."""
    model.eval()
    right, count = 0, 0
    for batch in batches:
        inputs, turns = turned(batch)
        right += int((model(inputs).argmax(1) == turns).sum())
        count += len(turns)
    return right / count


def train(
    data: Dataset[Any], test: Dataset[Any], epochs: int, workers: int
) -> tuple[list[float], list[float]]:
    """Train; return every epoch's seconds, decoding included, and the accuracy on `test` after it."""
    for each in (data, test):
        each[0]  # loads what is loaded on first use, before workers are forked
    torch.manual_seed(SEED)
    model = network()
    batches, tests = (
        DataLoader(
            each, BATCH, shuffle=each is data, num_workers=workers, persistent_workers=workers > 0
        )
        for each in (data, test)
    )
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, MAX_RATE, epochs * len(batches))
    seconds, accuracies = [], []
    for epoch in range(epochs):
        model.train()
        start = time.perf_counter()
        for batch in batches:
            inputs, turns = turned(batch)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), turns).backward()
            optimizer.step()
            schedule.step()
        seconds.append(round(time.perf_counter() - start, 2))
        accuracies.append(round(accuracy(model, tests), 4))
        print(f"epoch {epoch + 1}: {seconds[-1]} s, {accuracies[-1]:.1%}", file=sys.stderr)
    return seconds, accuracies


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=600)
    parser.add_argument("--test", type=int, default=150)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--about", default="")
    options = parser.parse_args()
    usable("ssimulacra2")
    codec = Codec(device="cpu")
    originals = pictures(options.pictures, options.train + options.test)
    # The pictures on which qualities are compared are spread over all of them.
    chosen = slice(0, len(originals), max(1, len(originals) // SAMPLE))
    sample = originals[chosen][:SAMPLE]
    files = {"vae": list(codec.encode_many(originals, DEFAULT_QUALITY))}
    images = codec.decode_batch(files["vae"][chosen][:SAMPLE])
    scores = {"vae": score(sample, (np.asarray(image.convert("RGB")) for image in images))}
    quality = jpeg_quality(sample, scores["vae"])
    files["jpeg"] = jpegs(originals, quality)
    scores["jpeg"] = score(sample, map(JPEG.decode, files["jpeg"][chosen][:SAMPLE]))
    print(f"SSIMULACRA2 {scores}, JPEG at {quality}", file=sys.stderr)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, written in files.items():
            paths = write(written, Path(folder) / name, f".{name}")
            parts = paths[: options.train], paths[options.train :]
            data: list[Dataset[Any]] = [
                VaeDataset(part, crop=crop, reduce=REDUCE) if name == "vae" else Jpegs(part, crop)
                for part, crop in zip(parts, (CROP, None), strict=True)
            ]
            print(f"{name}:", file=sys.stderr)
            seconds, accuracies = train(data[0], data[1], options.epochs, options.workers)
            rows.append(
                {
                    "format": name,
                    "quality": DEFAULT_QUALITY if name == "vae" else quality,
                    "ssimulacra2": round(scores[name], 2),
                    "bytes_per_epoch": sum(path.stat().st_size for path in parts[0]),
                    "seconds": seconds,
                    "accuracies": accuracies,
                }
            )
    figures = {
        "machine": machine(),
        "model": codec.entry.name,
        "about": options.about,
        "train": options.train,
        "test": options.test,
        "side": SIDE,
        "sample": len(sample),
        "workers": options.workers,
        "threads": torch.get_num_threads(),
        "rows": rows,
    }
    write_json(options.out, figures)


if __name__ == "__main__":
    try:
        main()
    except VaeError as error:
        sys.exit(f"error: {error}")
