"""Compare what can be recognised from latents with what can be recognised from decoded pixels.

    python tools/probe.py DATA MODEL OUT.json [--crops N] [--qualities Q Q Q]

DATA: a folder of pictures or of tar shards of them. There are two tasks, on `.vae` files of crops of
SIDE x SIDE:

- photographs: the class that EfficientNet-Lite0 gives a crop, out of the CLASSES it gives most often;
  accuracy is agreement with it on crops of pictures that training has not seen;
- textures: which kind a drawn texture is (`vaecodec.train.textures`).

Latents (SIDE/16 x SIDE/16 x M) and pixels, as vectors of 16 x 16, get two classifiers each: one linear
in the means and deviations of channels over positions, and a small convolutional network, the same for
both. Pixels also get a network of the usual kind, from 3 channels on. All are trained on files of all
`--qualities`, in turn, and tested at each. OUT.json gets accuracies, and times from the file to the
answer.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from vaecodec.bench.metrics import efficientnet, imagenet_input
from vaecodec.bench.run import machine
from vaecodec.codec import Codec
from vaecodec.files import write_json
from vaecodec.quality import DEFAULT_QUALITY
from vaecodec.train.data import members
from vaecodec.train.textures import KINDS, random_texture
from vaecodec.uses.latents import latents

SIDE = 192
CELL = 16
#: Shorter side of the shrunk pictures from which crops are taken.
SHRUNK = 320
CLASSES = 20
TEXTURES = 1600
#: One picture in this many is for the test.
TEST_EVERY = 4
EPOCHS = 12
BATCH = 64
RATE = 2e-3
#: Files whose times are measured, one after the other.
TIMED = 100


@dataclass(frozen=True, kw_only=True)
class Task:
    """Crops (uint8, SIDE x SIDE x 3), their classes, and which are for the test (bool, N)."""

    crops: list[np.ndarray]
    classes: Tensor
    test: Tensor


def photographs(data: Path, count: int) -> Task:
    """Draw `count` crops, and keep those of the CLASSES most frequent classes."""
    rng = np.random.default_rng(0)
    whole = []
    for _, file in members(data):
        image = Image.open(io.BytesIO(file)).convert("RGB")
        if min(image.size) >= SHRUNK:
            share = SHRUNK / min(image.size)
            size = (round(image.width * share), round(image.height * share))
            whole.append(np.asarray(image.resize(size, Image.Resampling.LANCZOS)))
    crops, tested = [], []
    for number in range(count):
        index = number % len(whole)
        y, x = (int(rng.integers(side - SIDE + 1)) for side in whole[index].shape[:2])
        crops.append(np.ascontiguousarray(whole[index][y : y + SIDE, x : x + SIDE]))
        tested.append(index % TEST_EVERY == 0)
    found: list[int] = []
    with torch.inference_mode():
        for start in range(0, count, BATCH):
            batch = torch.cat([imagenet_input(crop) for crop in crops[start : start + BATCH]])
            found += efficientnet()(batch).argmax(dim=1).tolist()
    most = [label for label, _ in Counter(found).most_common(CLASSES)]
    kept = [number for number in range(count) if found[number] in most]
    return Task(
        crops=[crops[number] for number in kept],
        classes=torch.tensor([most.index(found[number]) for number in kept]),
        test=torch.tensor([tested[number] for number in kept]),
    )


def textures() -> Task:
    """Draw `TEXTURES` textures, whose kind is known."""
    rng = np.random.default_rng(1)
    kinds = sorted(KINDS)
    drawn = [random_texture(rng) for _ in range(TEXTURES)]
    return Task(
        crops=[texture.draw(SIDE, SIDE) for texture in drawn],
        classes=torch.tensor([kinds.index(texture.kind) for texture in drawn]),
        test=torch.arange(TEXTURES) % TEST_EVERY == 0,
    )


class Linear(nn.Module):
    """Linear classifier of the means and deviations of channels over positions."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.standardise = nn.BatchNorm1d(2 * channels, affine=False)
        self.layer = nn.Linear(2 * channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        found = torch.cat((x.mean(dim=(2, 3)), x.std(dim=(2, 3))), dim=1)
        return self.layer(self.standardise(found))


def convolutional(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 64, 1), nn.GELU(),
        nn.Conv2d(64, 96, 3, padding=1), nn.GELU(),
        nn.Conv2d(96, 128, 3, stride=2, padding=1), nn.GELU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes),
    )  # fmt: skip


def usual(classes: int) -> nn.Module:
    """A network for RGB pixels, each layer at half the resolution of the one before."""
    widths = (3, 24, 48, 96, 128)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.GELU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes))


def trained(network: nn.Module, x: Tensor, classes: Tensor) -> nn.Module:
    """Train `network`. `x`: float16 N x C x h x w, in units of its deviations."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = F.cross_entropy(network(x[rows].float()), classes[rows], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.inference_mode()
def accuracy(network: nn.Module, x: Tensor, classes: Tensor) -> float:
    right = sum(
        int((network(part.float()).argmax(dim=1) == wanted).sum())
        for part, wanted in zip(x.split(BATCH), classes.split(BATCH), strict=True)
    )
    return right / len(x)


def of_latents(files: list[bytes], codec: Codec) -> Tensor:
    """Float16, N x M x h x w."""
    found = [torch.from_numpy(latents(file, codec=codec)).half() for file in files]
    return torch.stack(found).permute(0, 3, 1, 2)


def of_pixels(files: list[bytes], codec: Codec) -> Tensor:
    """Float16, N x 3 x SIDE x SIDE, from -0.5 to 0.5."""
    found = [np.asarray(codec.decode(file).convert("RGB")) for file in files]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).half() / 255 - 0.5


def as_vectors(pixels: Tensor) -> Tensor:
    """Pixels as vectors of 16 x 16: N x 768 x SIDE/16 x SIDE/16."""
    return F.pixel_unshuffle(pixels, CELL)


def latent_channels(codec: Codec) -> int:
    """M, the number of its latent channels."""
    return int(codec.entry.card["config"]["latent_channels"])


def measured(task: Task, codec: Codec, qualities: list[int]) -> dict[str, object]:
    """Train every classifier and measure its accuracy (0..1) at every quality."""
    count = int(task.classes.max()) + 1
    training = [crop for crop, test in zip(task.crops, task.test.tolist(), strict=True) if not test]
    tested = [crop for crop, test in zip(task.crops, task.test.tolist(), strict=True) if test]
    turns = cycle(qualities)
    files = [codec.encode(crop, next(turns), lossless=False) for crop in training]
    readers = {"latents": of_latents, "pixels": of_pixels}
    kinds = {
        "latents, linear": ("latents", Linear(latent_channels(codec), count)),
        "latents, convolutional": ("latents", convolutional(latent_channels(codec), count)),
        "pixels, linear": ("vectors", Linear(3 * CELL**2, count)),
        "pixels, convolutional": ("vectors", convolutional(3 * CELL**2, count)),
        "pixels, usual network": ("pixels", usual(count)),
    }
    inputs = {name: read(files, codec) for name, read in readers.items()}
    scale = inputs["latents"].float().std(dim=(0, 2, 3))[:, None, None].clamp(min=1e-3)

    def prepared(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        pixels = inputs["pixels"] * 4  # about in units of their deviation
        return {
            "latents": (inputs["latents"] / scale).half(),
            "pixels": pixels,
            "vectors": as_vectors(pixels),
        }

    ready = prepared(inputs)
    networks = {
        name: trained(network, ready[kind], task.classes[~task.test])
        for name, (kind, network) in kinds.items()
    }
    found: dict[str, dict[str, float]] = {name: {} for name in kinds}
    for quality in qualities:
        files = codec.encode_batch(tested, quality, lossless=False)
        ready = prepared({name: read(files, codec) for name, read in readers.items()})
        for name, (kind, _) in kinds.items():
            right = accuracy(networks[name], ready[kind], task.classes[task.test])
            found[name][str(quality)] = round(right, 4)
    return {
        "classes": count,
        "training": len(training),
        "tested": len(tested),
        "most_frequent": round(float(task.classes[task.test].bincount().max()) / len(tested), 4),
        "accuracy": found,
    }


def milliseconds(work: Callable[[Any], object], given: list[Any]) -> float:
    """Average milliseconds of `work` on one of `given`."""
    work(given[0])
    start = time.perf_counter()
    for each in given:
        work(each)
    return round(1e3 * (time.perf_counter() - start) / len(given), 2)


def times(task: Task, codec: Codec, quality: int) -> dict[str, float]:
    """Milliseconds from a file to the input of a classifier, and of the classifiers themselves, on one
    thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    files = codec.encode_batch(task.crops[:TIMED], quality, lossless=False)
    count = int(task.classes.max()) + 1
    pixels = of_pixels(files[:1], codec).float()
    networks = {
        "convolutional, of latents": (
            convolutional(latent_channels(codec), count),
            of_latents(files[:1], codec).float(),
        ),
        "convolutional, of pixels": (convolutional(3 * CELL**2, count), as_vectors(pixels)),
        "usual network": (usual(count).eval(), pixels),
    }
    found = {
        "latents": milliseconds(lambda file: latents(file, codec=codec), files),
        "pixels": milliseconds(codec.decode, files),
    }
    with torch.inference_mode():
        for name, (network, x) in networks.items():
            found[name] = milliseconds(network, [x] * len(files))
    torch.set_num_threads(threads)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--crops", type=int, default=10_000)
    parser.add_argument("--qualities", type=int, nargs="+", default=[30, 60, 90])
    given = parser.parse_args()
    codec = Codec(given.model, "cpu")
    tasks = {"photographs": photographs(given.data, given.crops), "textures": textures()}
    figures: dict[str, object] = {
        "machine": machine(),
        "model": codec.entry.name,
        "side": SIDE,
        "milliseconds": times(tasks["photographs"], codec, DEFAULT_QUALITY),
    }
    for name, task in tasks.items():
        figures[name] = measured(task, codec, given.qualities)
        print(name, json.dumps(figures[name], indent=1), flush=True)
    write_json(given.out, figures)


if __name__ == "__main__":
    main()
