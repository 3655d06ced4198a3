"""Files made by earlier commits decode as they did then: symbols to the last bit, samples within the
tolerance of docs/format.md, in the codec and in the reference decoder."""

from __future__ import annotations

import hashlib
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from bitstream import container
from vaecodec.codec import Codec
from vaecodec.figures import psnr
from vaecodec.model import registry
from vaecodec.quality import TUNES

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import reference_decoder  # noqa: E402

FOLDER = Path(__file__).parent / "golden"
GOLDEN = {
    name: about
    for path in sorted(FOLDER.glob("*.json"))
    for name, about in json.loads(path.read_text()).items()
}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
#: Levels by which samples of two decoders may differ, and the least PSNR between them in dB.
TOLERANCE, LEAST_PSNR = 4, 50


@cache
def codec_on(device: str) -> Codec:
    return Codec(device=device)


def test_every_shipped_model_has_golden_files() -> None:
    names = {entry.name for entry in registry.registered()} | {"lossless"}
    assert names == {path.stem for path in FOLDER.glob("*.json")}
    assert {path.name for path in FOLDER.glob("*.vae")} == set(GOLDEN)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", GOLDEN)
def test_golden_file(name: str, device: str) -> None:
    codec, data, about = codec_on(device), (FOLDER / name).read_bytes(), GOLDEN[name]
    image = codec.decode(data)
    assert (image.mode, list(image.size)) == (about["mode"], about["size"])
    samples = np.asarray(image).reshape(image.height, image.width, -1)
    for x, y, value in about["samples"]:
        assert np.abs(samples[y, x].astype(int) - value).max() <= TOLERANCE
    if "symbols_sha256" in about:
        symbols = codec.decode_symbols(data).astype("<i4")
        assert hashlib.sha256(symbols.tobytes()).hexdigest() == about["symbols_sha256"]
    else:
        assert hashlib.sha256(samples.tobytes()).hexdigest() == about["samples_sha256"]
    digests = {key: hashlib.sha256(value).hexdigest() for key, value in image.info.items()}
    assert digests == about.get("metadata_sha256", {})


@pytest.mark.parametrize("name", GOLDEN)
def test_reference_decoder_agrees(name: str) -> None:
    """tools/reference_decoder.py knows nothing but the specification."""
    data = (FOLDER / name).read_bytes()
    picture, symbols = reference_decoder.decode(data, ROOT / "vaecodec" / "weights")
    codec = codec_on("cpu")
    samples = np.asarray(codec.decode(data)).reshape(picture.shape)
    if container.parse(data).header.lossless:
        assert np.array_equal(samples, picture)
        return
    assert np.array_equal(symbols, codec.decode_symbols(data))
    assert np.abs(samples.astype(int) - picture).max() <= TOLERANCE
    assert psnr(samples, picture) >= LEAST_PSNR


def test_reference_decoder_stands_alone() -> None:
    source = (ROOT / "tools" / "reference_decoder.py").read_text()
    imported = {
        line.split()[1].split(".")[0]
        for line in source.splitlines()
        if line.startswith(("import ", "from "))
    }
    assert imported <= set(sys.stdlib_module_names) | {"numpy"}
    assert len(source.splitlines()) < 550


def test_model_cards_are_true() -> None:
    for entry in registry.registered():
        digest = hashlib.sha256(entry.path.read_bytes()).hexdigest()
        assert entry.card["sha256"] == digest
        assert entry.card["id"] == digest[:8]
        assert entry.card["name"] == entry.name
        assert entry.tune in TUNES
        with safe_open(entry.path, "np") as file:
            assert file.metadata().get("tune", entry.tune) == entry.tune
        assert entry.path.stat().st_size <= 24 * 2**20
        for key in ("size", "steps", "minutes", "stages", "held_out", "git_commit"):
            assert entry.card[key]
