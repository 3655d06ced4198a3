"""Speed with and without other processes that keep all cores busy; with PyTorch's threads by default,
and as the command line sets them (`vaecodec.cores`).

Each process gets its share of the cores: beside one busy process per core, two threads of ours can get
half of them.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest

import vaecodec
from vaecodec.cores import settle_threads, usable_cores

_CODEC = vaecodec.Codec()
#: Pictures in one call of `decode_batch`.
BATCH = 8


@pytest.fixture(params=["idle", "busy"])
def machine(request: pytest.FixtureRequest) -> Iterator[None]:
    others = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(usable_cores() if request.param == "busy" else 0)
    ]
    yield
    for other in others:
        other.kill()
        other.wait()


@pytest.fixture(params=["as-is", "settled"])
def child(request: pytest.FixtureRequest) -> Iterator[ProcessPoolExecutor]:
    """A process whose PyTorch starts with these settings."""
    before = dict(os.environ)
    if request.param == "settled":
        settle_threads()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(_decode, vaecodec.encode(np.zeros((64, 64, 3), np.uint8))).result()
        yield pool
    os.environ.clear()
    os.environ.update(before)


def _decode(data: bytes) -> None:
    vaecodec.decode(data)


def _decode_batch(data: bytes) -> None:
    _CODEC.decode_batch([data] * BATCH)


@pytest.mark.usefixtures("machine")
def test_beside_others_decode(benchmark: Any, child: ProcessPoolExecutor, picture: np.ndarray) -> None:
    data = vaecodec.encode(picture)
    benchmark.pedantic(lambda: child.submit(_decode, data).result(), rounds=15, warmup_rounds=3)


@pytest.mark.usefixtures("machine")
def test_beside_others_decode_batch(
    benchmark: Any, child: ProcessPoolExecutor, picture: np.ndarray
) -> None:
    benchmark.extra_info["pixels"] = BATCH * picture[..., 0].size
    data = vaecodec.encode(picture)
    benchmark.pedantic(lambda: child.submit(_decode_batch, data).result(), rounds=3, warmup_rounds=1)
