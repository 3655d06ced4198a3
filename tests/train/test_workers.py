"""Data-parallel training in two processes on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

if not torch.distributed.is_available():
    pytest.skip("this torch has no torch.distributed", allow_module_level=True)

AVERAGE = """
import torch
from bitstream.errors import VaeError
from vaecodec.train.workers import Workers

workers = Workers(torch.device("cpu"))
assert workers.count == 2
weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((3,), (2, 4), (5,))]
for k, weight in enumerate(weights[:2]):
    weight.grad = torch.full_like(weight, 10.0 * k + 2 * workers.rank)
clock = workers.average(weights, 0.25 + workers.rank)
assert clock == 0.25, clock
assert workers.share_of(6) == 3
try:
    workers.share_of(5)
except VaeError as error:
    assert "a batch of 5 is no multiple of the 2 processes" in str(error)
else:
    raise AssertionError("a batch that cannot be shared")
assert [w.grad.unique().tolist() for w in weights[:2]] == [[1.0], [11.0]]
assert weights[2].grad is None
workers.close()
"""


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else None
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=900
    )


def test_gradients_are_averaged_and_one_keeps_the_time(tmp_path: Path) -> None:
    script = tmp_path / "average.py"
    script.write_text(AVERAGE)
    done = torchrun(script)
    assert done.returncode == 0, done.stderr


def test_a_stage_of_two_workers(tmp_path: Path) -> None:
    if importlib.util.find_spec("compressai") is None:
        pytest.skip("the train extra is not installed")
    folder, out = tmp_path / "pictures", tmp_path / "run"
    folder.mkdir()
    for k in range(33):
        cut = np.ascontiguousarray(skimage.data.astronaut()[8 * k : 8 * k + 128, :128])
        Image.fromarray(cut).save(folder / f"{k}.png")
    options = ["--minutes", "0.05", "--batch", "4", "--patch", "64", "--device", "cpu"]
    options += ["--size", "small"]
    done = torchrun("-m", "vaecodec", "train", folder, "--out", out, *options, "--fitting-crops", "2")
    assert done.returncode == 0, done.stderr
    (stage,) = json.loads((out / "model.json").read_text())["stages"]
    assert stage["workers"] == 2
    assert stage["steps"] > 0
