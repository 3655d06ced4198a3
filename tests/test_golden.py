"""Files made by earlier commits decode to the same latents, to the last bit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vaecodec import weights
from vaecodec.codec import Codec

FOLDER = Path(__file__).parent / "golden"
GOLDEN = {
    name: about
    for path in sorted(FOLDER.glob("*.json"))
    for name, about in json.loads(path.read_text()).items()
}
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def test_every_shipped_model_has_golden_files() -> None:
    assert {entry.name for entry in weights.registered()} == {p.stem for p in FOLDER.glob("*.json")}
    assert {p.name for p in FOLDER.glob("*.vae")} == set(GOLDEN)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", GOLDEN)
def test_golden_file(name: str, device: str) -> None:
    codec, data = Codec(device=device), (FOLDER / name).read_bytes()
    latent = codec.decode_latent(data).astype("<i4")
    assert hashlib.sha256(latent.tobytes()).hexdigest() == GOLDEN[name]["latent_sha256"]
    image = codec.decode(data)
    assert list(image.size) == GOLDEN[name]["size"]
    samples = np.asarray(image).astype(float)
    means = samples.reshape(image.width * image.height, -1).mean(axis=0)
    assert np.abs(means - GOLDEN[name]["channel_means"]).max() < 0.5


def test_model_cards_are_true() -> None:
    for entry in weights.registered():
        digest = hashlib.sha256(entry.path.read_bytes()).hexdigest()
        assert entry.card["sha256"] == digest
        assert entry.card["id"] == digest[:8]
        assert entry.card["name"] == entry.name
        assert entry.path.stat().st_size <= 24 * 2**20
        for key in ("size", "steps", "minutes", "stages", "held_out", "git_commit"):
            assert entry.card[key]
