"""Measure speed on a device, from pictures that are tensors there to bytes on the host and back; where
the time goes; and whether the device and the CPU agree on every scale index.

    python tools/device_speed.py FILE [--device cuda] [--count 64] [--size 1920x1080]
        [--entropy-processes N]

N: by default one for each core with a GPU, none on the CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from PIL import Image
from torch.profiler import ProfilerActivity, profile

from bitstream.container import GROUP_PIXELS
from vaecodec.bench.run import machine
from vaecodec.codec import Codec, pick_device
from vaecodec.cores import usable_cores
from vaecodec.files import write_json
from vaecodec.geometry import latent_size
from vaecodec.model.symbols import Blocks
from vaecodec.parallel import MAX_PROCESSES
from vaecodec.quality import DEFAULT_QUALITY, level_of

#: Passes, of which the fastest counts, after one for warm-up.
PASSES = 3
#: Number of operations in the profile.
TOP = 12


def pictures(count: int, width: int, height: int, device: torch.device) -> list[torch.Tensor]:
    """Photographs that scikit-image bundles, shifted so that no two are alike: uint8, 3 x H x W."""
    tiles = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    resized = [np.asarray(Image.fromarray(tile).resize((width, height))) for tile in tiles]
    shifted = (np.roll(resized[i % len(tiles)], 7 * i, axis=1) for i in range(count))
    return [torch.from_numpy(each).to(device).permute(2, 0, 1).contiguous() for each in shifted]


def fastest(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of the fastest pass of `work`."""
    times = []
    for _ in range(1 + PASSES):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def operations(work: Callable[[], Any], device: torch.device) -> dict[str, float]:
    """Milliseconds of the operations that take longest; on a GPU, in GPU time."""
    cuda = device.type == "cuda"
    torch.set_num_threads(1)  # the profiler does not see what other threads do
    with profile(
        activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    ) as found:
        work()

    def microseconds(event: Any) -> float:
        return event.self_device_time_total if cuda else event.self_cpu_time_total

    longest = sorted(found.key_averages(), key=microseconds, reverse=True)[:TOP]
    return {event.key: microseconds(event) / 1000 for event in longest}


class Replay:
    """Returns the symbols of a group block by block, as a decoder of its stream would, and counts scale
    indices that differ from those it was encoded with."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = iter(blocks)
        self.differing = 0

    def decode(self, indices: np.ndarray) -> np.ndarray:
        symbols, encoded_with = next(self._blocks)
        self.differing += int((indices != encoded_with).sum())
        return symbols


def differing_indices(codec: Codec, images: list[torch.Tensor]) -> int:
    """Count scale indices that differ between the encoder on the device and a decoder on the CPU, in
    the first group of each picture."""
    model, level = codec.loaded(), level_of(DEFAULT_QUALITY)
    count = 0
    for image in images:
        samples = image[:, :GROUP_PIXELS, :GROUP_PIXELS].permute(1, 2, 0).cpu().numpy()
        rows, columns = latent_size(*samples.shape[:2])
        latent, hyper = model.analyse([samples], level)
        coded = model.latents.quantise(latent[:, :rows, :columns], hyper, level)
        replay = Replay(coded.blocks()[0])
        model.symbols.read(replay, level, rows, columns)
        count += replay.differing
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--entropy-processes", type=int, metavar="N")
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.size.split("x"))
    device = pick_device(arguments.device)
    processes = arguments.entropy_processes
    if processes is None:
        processes = min(usable_cores(), MAX_PROCESSES) if device.type == "cuda" else 0
    codec = Codec(None, device, entropy_processes=processes)
    images = pictures(arguments.count, width, height, device)
    files = codec.encode_batch(images)
    megapixels = arguments.count * width * height / 1e6

    def encode() -> None:
        codec.encode_batch(images)

    def decode() -> None:
        codec.decode_batch(files, as_tensor=True)

    figures = {
        "machine": machine(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "model": codec.entry.name,
        "entropy_processes": processes,
        "count": arguments.count,
        "size": [width, height],
        "encode_megapixels_per_second": megapixels / fastest(encode, device),
        "decode_megapixels_per_second": megapixels / fastest(decode, device),
        "encode_operations": operations(encode, device),
        "decode_operations": operations(decode, device),
        "scale_indices_that_differ_from_the_cpu": differing_indices(codec, images[:4]),
    }
    write_json(arguments.out, figures)


if __name__ == "__main__":
    main()
