"""tools/probe.py: what it measures, and that its classifiers learn what can be learned."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vaecodec.codec import Codec

pytest.importorskip("efficientnet_lite_pytorch", reason="the bench extra is not installed")
sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import probe
import write_results


def test_what_it_writes(
    tmp_path: Path, photo: np.ndarray, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "SIDE", 64)
    monkeypatch.setattr(probe, "SHRUNK", 96)
    monkeypatch.setattr(probe, "TEXTURES", 16)
    monkeypatch.setattr(probe, "EPOCHS", 1)
    monkeypatch.setattr(probe, "TIMED", 2)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(5):
        Image.fromarray(photo[:, 10 * number :]).save(folder / f"{number}.png")
    out = tmp_path / "out.json"
    options = ["--crops", "10", "--qualities", "40", "70"]
    monkeypatch.setattr(sys, "argv", ["", str(folder), codec.entry.name, str(out), *options])
    probe.main()
    figures = json.loads(out.read_text())
    for task in ("photographs", "textures"):
        for row in figures[task]["accuracy"].values():
            assert list(row) == ["40", "70"]
            assert all(0 <= value <= 1 for value in row.values())
    assert figures["photographs"]["training"] + figures["photographs"]["tested"] == 10
    assert all(value > 0 for value in figures["milliseconds"].values())
    assert sum(line.startswith("| pixels, ") for line in write_results.probe(figures)) == 3


@pytest.mark.parametrize("kind", ["linear", "convolutional"])
def test_classifiers_learn(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise of two strengths."""
    monkeypatch.setattr(probe, "EPOCHS", 40)
    torch.manual_seed(1)
    classes = torch.arange(256) % 2
    x = torch.randn(256, 8, 6, 6) * (1 + classes)[:, None, None, None]
    network = probe.Linear(8, 2) if kind == "linear" else probe.convolutional(8, 2)
    probe.trained(network, x.half(), classes)
    assert probe.accuracy(network, x.half(), classes) > 0.9
