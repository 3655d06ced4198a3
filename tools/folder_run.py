"""Compress a folder of many pictures of mixed sizes, some broken, by a run that is killed half-way and
one that resumes it; record what became of them, how fast, and memory over time.

    python tools/folder_run.py PICTURES WORK benchmarks/results/folder-MODEL.json [--count N]

PICTURES: a folder of photographs, from which the pictures are made by resizing to between 0.1 and 12
megapixels, evenly on a logarithmic scale. WORK: a folder for them, some 400 KB each. Linux only.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from memory import resident
from PIL import Image

import vaecodec
from vaecodec.bench.run import machine
from vaecodec.files import expand, write_whole
from vaecodec.model import registry

MEGAPIXELS = (0.1, 12.0)
BROKEN = 5
#: Seconds between readings of memory.
PERIOD = 1.0


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A finished run: its exit code, how long it took, and its resident MiB at every `PERIOD`."""

    code: int
    seconds: float
    memory: list[int]


def make(originals: list[Path], folder: Path, count: int) -> None:
    """Write `count` JPEG files, `BROKEN` of them truncated or not pictures, to ten folders."""
    chance = random.Random(1)
    broken = set(chance.sample(range(count), BROKEN))
    low, high = (math.log(limit * 1e6) for limit in MEGAPIXELS)
    for number in range(count):
        with Image.open(originals[number % len(originals)]) as original:
            picture = original.convert("RGB")
        scale = math.sqrt(math.exp(chance.uniform(low, high)) / (picture.width * picture.height))
        size = [max(1, round(side * scale)) for side in picture.size]
        path = folder / f"{number % 10}" / f"{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.resize((size[0], size[1]), Image.Resampling.BICUBIC).save(path, quality=85)
        if number in broken:
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2] if number % 2 else b"no picture" + data)


def run(command: list[str], stop_at: int | None, out: Path) -> Ended:
    """Run a command; kill it as soon as `out` has `stop_at` files, if that is given."""
    start = time.perf_counter()
    running = subprocess.Popen([sys.executable, "-m", "vaecodec", *command])
    memory = []
    while running.poll() is None:
        time.sleep(PERIOD)
        memory.append(int(resident(running.pid)))
        if stop_at is not None and sum(1 for _ in out.rglob("*.vae")) >= stop_at:
            running.send_signal(signal.SIGKILL)
            running.wait()
    memory = [value for value in memory if value]
    return Ended(code=running.returncode, seconds=time.perf_counter() - start, memory=memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pictures")
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    arguments = parser.parse_args()
    found = expand([arguments.pictures], (".png", ".jpg", ".jpeg", ".avif", ".webp"))
    source, out, report = (arguments.work / name for name in ("in", "out", "report.json"))
    for stale in (source, out):
        shutil.rmtree(stale, ignore_errors=True)
    make([each.path for each in found], source, arguments.count)
    command = ["compress", str(source), "-o", str(out), "--resume", "--quiet", "--report", str(report)]
    killed = run(command, arguments.count // 2, out)
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.vae")}
    partial = sorted(path.name for path in out.rglob("*.partial"))
    resumed = run(command, None, out)
    again = [path for path, time_before in kept.items() if path.stat().st_mtime_ns != time_before]
    written = list(out.rglob("*.vae"))
    totals = json.loads(report.read_text())["totals"]
    figures = {
        "machine": machine(),
        "model": registry.find(None).name,
        "count": arguments.count,
        "broken": BROKEN,
        "killed": asdict(killed) | {"written": len(kept), "half_written": len(partial)},
        "resumed": asdict(resumed) | {"totals": totals},
        "written": len(written),
        "written_again": len(again),
        "unreadable": sum(not _readable(path) for path in written),
    }
    write_whole(arguments.out, (json.dumps(figures) + "\n").encode(), force=True)


def _readable(path: Path) -> bool:
    """Whether every checksum of a file holds."""
    try:
        vaecodec.info(path)
    except vaecodec.VaeError:
        return False
    return True


if __name__ == "__main__":
    main()
