"""Compare speed and memory with another commit, in turn on one machine.

    python tools/speed_against.py COMMIT OUT.json [ABOUT]

Both sides encode and decode the same pictures at quality 60 with the weights they ship, everything
included: once with all of the processor's instructions, once with AVX2 only, and thus in single
precision. The share of time that is not matrix products is measured by PyTorch's profiler, on one
thread. ABOUT says what COMMIT is. Linux only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from memory import peak

ROOT = Path(__file__).parent.parent
QUALITY = 60
#: Rounds by the size of the picture.
ROUNDS = {(768, 512): 15, (6000, 4000): 3}
#: What limits PyTorch's own code, oneDNN and MKL to AVX2.
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
#: PyTorch's operations that multiply matrices. Others that do so call these.
PRODUCTS = {"aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm", "aten::baddbmm"}
#: A line that asks a child for its profile.
PROFILE = "profile\n"
INSTRUCTIONS: dict[str, dict[str, str]] = {"all": {}, "AVX2": AVX2}


def outside_products(work: Callable[[], object]) -> float:
    """Return the share of the time of `work`, on one thread, that is not spent in matrix products."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    work()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
    torch.set_num_threads(threads)
    events = found.key_averages()
    products = sum(each.self_cpu_time_total for each in events if each.key in PRODUCTS)
    return 1 - products / 1e6 / seconds


def child(picture: str) -> None:
    """For every line of standard input, encode and decode `picture`; print seconds and peak MiB, or,
    if the line says "profile", the shares of both that are not matrix products."""
    if "ATEN_CPU_CAPABILITY" in os.environ:
        import torch

        # This looks at the processor, which the environment does not change.
        torch.cpu._is_avx512_bf16_supported = lambda: False
    from vaecodec.codec import Codec

    codec = Codec(device="cpu")
    samples = np.load(picture)
    codec.decode(codec.encode(samples[:256, :256], quality=QUALITY))
    for line in sys.stdin:
        if line == PROFILE:
            data = codec.encode(samples, quality=QUALITY)
            encode = outside_products(lambda: codec.encode(samples, quality=QUALITY))
            decode = outside_products(partial(codec.decode, data))
            print(
                json.dumps({"encode_outside_products": encode, "decode_outside_products": decode}),
                flush=True,
            )
            continue
        start = time.perf_counter()
        data = codec.encode(samples, quality=QUALITY)
        middle = time.perf_counter()
        codec.decode(data)
        end = time.perf_counter()
        times = {"encode": middle - start, "decode": end - middle}
        print(json.dumps({**times, "mib": int(peak())}), flush=True)


def in_turn(
    trees: dict[str, Path], picture: Path, rounds: int, limits: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Medians of `rounds` by side, after one that does not count. The sides take turns."""
    sides = {
        name: subprocess.Popen(
            [sys.executable, __file__, "child", str(picture)],
            env={**os.environ, **limits, "PYTHONPATH": str(tree)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )
        for name, tree in trees.items()
    }  # fmt: skip
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(rounds + 1):
        for name, process in sides.items():
            found[name].append(_answer(process, "\n"))
    profiles = {name: _answer(process, PROFILE) for name, process in sides.items()}
    for process in sides.values():
        process.communicate()
    return {
        name: {what: median(row[what] for row in rows[1:]) for what in rows[0]} | profiles[name]
        for name, rows in found.items()
    }


def _answer(process: subprocess.Popen[str], line: str) -> dict[str, float]:
    assert process.stdin and process.stdout
    process.stdin.write(line)
    return json.loads(process.stdout.readline())


def main(commit: str, out: str, about: str = "") -> None:
    # Not at the top: a child imports the vaecodec of its own side, which may lack these.
    from large_pictures import photograph

    from vaecodec.bench.run import machine
    from vaecodec.files import write_json

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        other, picture = Path(folder) / "tree", Path(folder) / "picture.npy"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(other), commit], check=True)
        try:
            for (width, height), rounds in ROUNDS.items():
                np.save(picture, photograph(width, height))
                for instructions, limits in INSTRUCTIONS.items():
                    found = in_turn({"here": ROOT, "there": other}, picture, rounds, limits)
                    rows.append({"size": [width, height], "instructions": instructions, **found})
                    print(rows[-1], flush=True)
        finally:
            subprocess.run([*git, "remove", "--force", str(other)], check=True)
    figures = {"machine": machine(), "commit": commit, "about": about, "quality": QUALITY, "rows": rows}
    write_json(Path(out), figures)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "child":
        child(sys.argv[2])
    elif len(sys.argv) in (3, 4):
        main(*sys.argv[1:])
    else:
        sys.exit(__doc__)
