"""tools/device_speed.py, on the CPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from vaecodec.codec import Codec

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import device_speed


@pytest.mark.parametrize(
    ("device", "processes"), [("cpu", 0), ("cpu", 1), pytest.param("cuda", 2, marks=pytest.mark.gpu)]
)
def test_figures(device: str, processes: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    options = ["--device", device, "--count", "3", "--size", "96x64"]
    options += ["--entropy-processes", str(processes)]
    monkeypatch.setattr(sys, "argv", ["", str(out), *options])
    device_speed.main()
    figures = json.loads(out.read_text())
    assert figures["scale_indices_that_differ_from_the_cpu"] == 0
    assert figures["entropy_processes"] == processes
    assert min(figures[f"{way}_megapixels_per_second"] for way in ("encode", "decode")) > 0
    assert len(figures["decode_operations"]) == device_speed.TOP


def test_indices_that_differ_are_counted(codec: Codec) -> None:
    images = device_speed.pictures(1, 96, 64, torch.device("cpu"))
    coder = codec.loaded().symbols
    tables = coder._hyper_indices
    coder._hyper_indices = tables + 1
    try:
        # All of the hyper-latent: 1 x 2 positions.
        assert device_speed.differing_indices(codec, images) == 2 * tables.shape[1]
    finally:
        coder._hyper_indices = tables
