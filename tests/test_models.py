"""Models by name, size and tune."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import vaecodec
from bitstream import container
from vaecodec.bench.metrics import ssimulacra2
from vaecodec.codec import Codec
from vaecodec.figures import psnr
from vaecodec.model import registry
from vaecodec.model.config import level_lambda
from vaecodec.model.load import load_model
from vaecodec.quality import DEFAULT_TUNE, TUNES, level_of


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards of models that are not there."""
    for number, name in enumerate(
        ("small-psnr-4", "small-visual-9", "small-visual-10", "base-psnr-11", "large-visual-1")
    ):
        size, tune, _ = name.split("-")
        card = {"name": name, "size": size, "tune": tune, "id": f"{number:08x}"}
        (tmp_path / f"{name}.json").write_text(json.dumps(card))
    monkeypatch.setattr(registry, "FOLDER", tmp_path)


@pytest.mark.parametrize(
    ("name", "tune", "found"),
    [
        (None, None, "small-visual-10"),  # of the default tune, although base is preferred
        (None, "visual", "small-visual-10"),
        (None, "psnr", "base-psnr-11"),
        ("small", None, "small-visual-10"),
        ("small", "psnr", "small-psnr-4"),
        ("base", None, "base-psnr-11"),  # has no other
        ("large", "visual", "large-visual-1"),
        ("small-visual-9", None, "small-visual-9"),
        ("small-psnr-4", None, "small-psnr-4"),
        ("small-psnr-4", "psnr", "small-psnr-4"),
    ],
)
def test_models_are_found(cards: None, name: str | None, tune: str | None, found: str) -> None:
    entry = registry.find(name, tune)
    assert (entry.name, entry.tune) == (found, found.split("-")[1])
    assert registry.find_id(entry.id) == entry


@pytest.mark.parametrize(
    ("name", "tune", "message"),
    [
        ("base", "visual", "^base is of tune psnr, not visual; there are: base-psnr-11 "),
        ("small-psnr-4", "visual", "^small-psnr-4 is of tune psnr, not visual; .*small-visual-10 "),
        ("small", "ssim", "^no tune is called 'ssim'; there are: visual, psnr$"),
        ("tiny", "psnr", "^no model is called 'tiny'; there are: .*small-psnr-4 .tune psnr"),
    ],
)
def test_models_that_are_not_there(cards: None, name: str, tune: str, message: str) -> None:
    with pytest.raises(vaecodec.VaeError, match=message):
        registry.find(name, tune)


def test_an_installation_without_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    with pytest.raises(vaecodec.UnknownModel, match="contains no model"):
        registry.find(None)


def test_a_file_has_the_tune_its_metadata_say(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    for metadata, message in (
        ({"config": "{}"}, "own.safetensors: not a vaecodec model .its metadata name no tune"),
        ({"tune": "ssim"}, "own.safetensors: its tune 'ssim' is none of visual, psnr"),
    ):
        save_file({"x": np.zeros(1)}, path, metadata)
        with pytest.raises(vaecodec.VaeError, match=message):
            registry.find(str(path))
    save_file({"x": np.zeros(1)}, path, {"tune": "psnr"})
    assert registry.find(str(path)).tune == registry.find(str(path), "psnr").tune == "psnr"
    with pytest.raises(vaecodec.VaeError, match=r"own\.safetensors is of tune psnr, not visual"):
        registry.find(str(path), "visual")


@pytest.mark.parametrize("tune", TUNES)
def test_shipped_models_have_their_tune(tune: str) -> None:
    entry = registry.find(None, tune)
    model = load_model(entry, torch.device("cpu"))
    assert (model.tune, entry.tune) == (tune, tune)
    # Whatever the file stores them in.
    assert {value.dtype for value in model.transforms.state_dict().values()} == {torch.float32}


def test_every_way_to_choose_a_tune(codec: Codec, photo: np.ndarray) -> None:
    picture = photo[:40, :50]
    for tune in TUNES:
        named = Codec(registry.find(None, tune).name, "cpu")
        expected = named.encode(picture, 50)
        assert container.parse(expected).header.model_id == registry.find(None, tune).id
        assert named.encode(picture, 50, tune=tune) == expected
        assert codec.encode(picture, 50, tune=tune) == expected
        assert codec.encode_batch([picture], 50, tune=tune) == [expected]
        assert vaecodec.encode(picture, 50, tune=tune, device="cpu") == expected
        # Decoding needs no option.
        assert np.array_equal(codec.decode(expected), named.decode(expected))
    assert codec.encode(picture, 50) == codec.encode(picture, 50, tune=DEFAULT_TUNE)


def test_tunes_that_cannot_be(psnr_codec: Codec, photo: np.ndarray) -> None:
    with pytest.raises(vaecodec.VaeError, match=f"{psnr_codec.entry.name} is of tune psnr, not visual"):
        psnr_codec.encode(photo, tune="visual")
    with pytest.raises(vaecodec.VaeError, match="no tune is called 'ssim'; there are: visual, psnr"):
        vaecodec.encode(photo, tune="ssim")


@pytest.mark.parametrize("quality", [20, 60, 90])
def test_a_tune_is_good_at_what_it_is_for(codec: Codec, photo: np.ndarray, quality: int) -> None:
    """R + lambda * MSE of either tune."""
    costs = {}
    for tune in TUNES:
        data = codec.encode(photo, quality, tune=tune, lossless=False)
        error = 255**2 / 10 ** (psnr(photo, np.asarray(codec.decode(data))) / 10)
        costs[tune] = 8 * len(data) / (192 * 256) + level_lambda(level_of(quality)) * error
    assert costs["psnr"] < costs["visual"]


def test_visual_files_look_better_for_fewer_bytes(codec: Codec, photo: np.ndarray) -> None:
    pytest.importorskip("ssimulacra2", reason="the bench extra is not installed")
    visual = codec.encode(photo, 45, tune="visual", lossless=False)
    larger = (codec.encode(photo, q, tune="psnr", lossless=False) for q in range(20, 100, 5))
    psnr = next(data for data in larger if len(data) >= len(visual))
    scores = [ssimulacra2(photo, np.asarray(codec.decode(data))) for data in (visual, psnr)]
    assert scores[0] is not None and scores[1] is not None
    assert scores[0] > scores[1]
