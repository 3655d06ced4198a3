"""Coverage-guided fuzzing of the decoder with atheris (pip install atheris).

    python tools/fuzz/coverage.py CORPUS -max_total_time=1800 -max_len=4096 -timeout=5

CORPUS: a folder for what it finds; the conformance files and earlier finds are put there first. Other
arguments are libFuzzer's. It stops at the first error that is not a VaeError and writes the file
(`crash-...`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["bitstream", "vaecodec"]):
    from bitstream.errors import VaeError
    from vaecodec.codec import Codec

import torch
from mutations import mutate, mutate_bytes, seeds

MAX_PIXELS = 2**16

codec = Codec(device="cpu")
files = seeds()


def one_input(data: bytes) -> None:
    """Decode, strictly and with recovery."""
    for recover in (False, True):
        try:
            codec.decode(data, max_pixels=MAX_PIXELS, recover=recover)
        except VaeError:
            continue


def custom_mutator(data: bytes, max_size: int, seed: int) -> bytes:
    """Mutate chunks, or bytes where there are no chunks."""
    random = Random(seed)
    try:
        changed = mutate(data, files, random)
    except (VaeError, ValueError, IndexError):  # not made of chunks, or empty
        changed = mutate_bytes(data, random)
    return bytes(changed[:max_size])


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed_file in enumerate(files):
        (folder / f"seed-{number}").write_bytes(seed_file)
    atheris.Setup(sys.argv, one_input, custom_mutator=custom_mutator)
    atheris.Fuzz()
