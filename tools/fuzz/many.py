"""Decode many mutated files and check that no error but a VaeError is raised.

    python tools/fuzz/many.py --count 100000 --seed 1 --json benchmarks/results/fuzz.json

Prints the outcomes, the most processor time that one took, and how far resident memory grew. Files that
fail or take too long are written to `fuzz-failures/`; once the cause is fixed, they belong in
tests/fuzz.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import resource
import time
from collections import Counter
from pathlib import Path
from random import Random

import torch
from mutations import mutate, seeds

from bitstream.errors import VaeError
from vaecodec.codec import Codec
from vaecodec.files import write_json

MAX_PIXELS = 2**18
SECONDS = 5.0
FAILURES = Path("fuzz-failures")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="Write the figures.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    codec, random, files = Codec(device="cpu"), Random(arguments.seed), seeds()
    sound = []
    for data in files:
        with contextlib.suppress(VaeError):
            codec.decode(data)
            sound.append(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes: Counter[str] = Counter()
    slowest, failures = 0.0, 0
    for number in range(arguments.count):
        data = mutate(random.choice(sound if random.random() < 0.8 else files), files, random)
        recover, box = random.random() < 0.3, random.choice((None, None, None, (0, 0, 9, 9)))
        start = time.process_time()
        try:
            codec.decode(data, max_pixels=MAX_PIXELS, recover=recover, box=box)
            outcome = "decoded"
        except VaeError as error:
            outcome = type(error).__name__
        except Exception as error:
            outcome = f"FAILED with {type(error).__name__}"
        seconds = time.process_time() - start
        slowest = max(slowest, seconds)
        outcomes[outcome] += 1
        if outcome.startswith("FAILED") or seconds > SECONDS:
            failures += 1
            FAILURES.mkdir(exist_ok=True)
            (FAILURES / f"{hashlib.sha256(data).hexdigest()[:12]}.vae").write_bytes(data)
        if number % 10_000 == 9_999:
            print(f"{number + 1} files, slowest {slowest:.2f} s", flush=True)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{arguments.count} mutations of {len(files)} files, seed {arguments.seed}")
    for outcome, count in outcomes.most_common():
        print(f"{outcome:<24}{count:>8}")
    print(f"slowest {slowest:.2f} s; resident memory grew by {grown:.0f} MiB; {failures} failures")
    if arguments.json:
        figures = {
            "count": arguments.count,
            "seed": arguments.seed,
            "files": len(files),
            "outcomes": dict(outcomes.most_common()),
            "slowest_seconds": round(slowest, 3),
            "memory_growth_mib": round(grown),
            "failures": failures,
        }
        write_json(arguments.json, figures)
    raise SystemExit(failures > 0)


if __name__ == "__main__":
    main()
