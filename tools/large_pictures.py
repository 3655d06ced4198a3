"""Measure memory, time and the cost of groups on large photographs.

    python tools/large_pictures.py MODEL benchmarks/results/large-MODEL.json

The photographs are ones that scikit-image bundles, tiled with flips. Every measurement runs in its own
process; memory is its peak resident memory less that before the picture was read.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage.data
import torch
from memory import peak

from vaecodec.bench.run import machine
from vaecodec.codec import Codec
from vaecodec.files import write_json
from vaecodec.geometry import GROUP, LATENT_STRIDE, latent_size, windows
from vaecodec.pictures.reading import set_limit_of_pillow
from vaecodec.quality import DEFAULT_QUALITY, level_of

SIDES = {24: (6000, 4000), 200: (16384, 12288)}
GROUPS_OF = 24


def photograph(width: int, height: int) -> np.ndarray:
    """Put photographs side by side, mirrored so that they meet without an edge."""
    tiles = [skimage.data.astronaut(), skimage.data.coffee()[:, :400], skimage.data.chelsea()]
    side = min(min(tile.shape[:2]) for tile in tiles) // 16 * 16
    rows = []
    for y in range(-(-height // side)):
        row = []
        for x in range(-(-width // side)):
            tile = tiles[(x // 2 + y // 2) % len(tiles)][:side, :side]
            row.append(tile[:: -1 if y % 2 else 1, :: -1 if x % 2 else 1])
        rows.append(np.concatenate(row, axis=1))
    return np.ascontiguousarray(np.concatenate(rows)[:height, :width])


def child(model: str, what: str, source: str, target: str) -> None:
    """Encode or decode one file; print seconds and GiB."""
    set_limit_of_pillow()
    codec = Codec(model, "cpu")
    codec.decode(codec.encode(np.zeros((64, 64, 3), np.uint8)))
    before = peak()
    start = time.perf_counter()
    if what == "encode":
        Path(target).write_bytes(codec.encode(source))
    else:
        codec.decode(Path(source).read_bytes()).save(target)
    print(json.dumps({"seconds": time.perf_counter() - start, "gib": (peak() - before) / 1024}))


def cost_of_groups(codec: Codec, samples: np.ndarray) -> dict[str, float]:
    """Bytes of the streams of all groups, and of the same latent coded as a single group."""
    model, level = codec.loaded(), level_of(DEFAULT_QUALITY)
    rows, columns = latent_size(*samples.shape[:2])
    latents, hypers, apart = [], [], 0
    for window in windows(rows, columns, model.analysis_halo):
        outer = window.outer.scaled(LATENT_STRIDE)
        latent, hyper = model.analyse(samples[None, *outer.slices()], level)
        own, own_hyper = window.latent(latent), window.hyper(hyper)
        latents.append(own[0])
        hypers.append(own_hyper[0])
        coded = model.latents.quantise(own, own_hyper, level)
        apart += len(model.symbols.encode(coded.blocks()[0]))
    across = -(-columns // GROUP)
    whole, whole_hyper = (
        torch.cat([torch.cat(parts[i : i + across], 1) for i in range(0, len(parts), across)])
        for parts in (latents, hypers)
    )
    coded = model.latents.quantise(whole[None], whole_hyper[None], level)
    together = len(model.symbols.encode(coded.blocks()[0]))
    return {"groups": len(latents), "bytes_apart": apart, "bytes_together": together}


def main(model: str, out: str) -> None:
    rows = []
    for megapixels, (width, height) in SIDES.items():
        samples = photograph(width, height)
        with tempfile.TemporaryDirectory() as folder:
            source, packed, target = (Path(folder) / name for name in ("a.ppm", "a.vae", "b.ppm"))
            source.write_bytes(f"P6 {width} {height} 255\n".encode() + samples.tobytes())
            for what, *paths in (("encode", source, packed), ("decode", packed, target)):
                command = [sys.executable, __file__, model, what, *map(str, paths)]
                result = subprocess.run(command, check=True, capture_output=True, text=True)
                rows.append(
                    {
                        "megapixels": width * height / 1e6,
                        "what": what,
                        "pixels_gib": samples.nbytes / 2**30,
                        **json.loads(result.stdout),
                    }
                )
                print(rows[-1])
            about = {"file_bytes": packed.stat().st_size}
        if megapixels == GROUPS_OF:
            cost = {**cost_of_groups(Codec(model, "cpu"), samples), **about}
            print(cost)
    figures = {"machine": machine(), "model": model, "rows": rows, "groups": cost}
    write_json(Path(out), figures)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        main(*sys.argv[1:])
    elif len(sys.argv) == 5:
        child(*sys.argv[1:])
    else:
        sys.exit(__doc__)
