"""tools/train_classifier.py: equal quality, equal crops, and what it writes of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bitstream.errors import VaeError
from vaecodec.codec import Codec
from vaecodec.data import VaeDataset

pytest.importorskip("ssimulacra2", reason="the bench extra is not installed")
sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import train_classifier
import write_results

SIDE = 64


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six pictures to train and test on, and one that is too small."""
    monkeypatch.setattr(train_classifier, "SIDE", SIDE)
    monkeypatch.setattr(train_classifier, "CROP", (48, 48))
    root = tmp_path / "pictures"
    root.mkdir()
    for number in range(6):
        left, upper = 60 * (number % 3), 80 * (number // 3)
        part = photo[upper : upper + 80, left : left + 120]
        Image.fromarray(part).save(root / f"{number}.png")
    Image.fromarray(photo[:40, :200]).save(root / "0-small.png")
    return root


def test_what_it_writes(
    folder: Path, tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.json"
    options = ["--train", "4", "--test", "2", "--epochs", "2", "--workers", "0", "--about", "some"]
    monkeypatch.setattr(sys, "argv", ["", str(folder), str(out), *options])
    train_classifier.main()
    figures = json.loads(out.read_text())
    vae, jpeg = figures["rows"]
    originals = train_classifier.pictures(folder, 6)
    assert {image.shape for image in originals} == {(SIDE, SIDE, 3)}
    files = codec.encode_batch(originals, 60)
    assert vae["bytes_per_epoch"] == sum(map(len, files[:4]))
    # The lowest quality that is as good: the one below is not.
    wanted = train_classifier.score(originals, map(np.asarray, codec.decode_batch(files)))
    assert vae["ssimulacra2"] == pytest.approx(wanted, abs=0.1)
    below, at = (
        train_classifier.jpegs(originals, quality) for quality in (jpeg["quality"] - 1, jpeg["quality"])
    )
    scores = [
        train_classifier.score(originals, map(train_classifier.JPEG.decode, data))
        for data in (below, at)
    ]
    assert scores[0] < vae["ssimulacra2"] + 0.1 and scores[1] >= vae["ssimulacra2"] - 0.1
    assert jpeg["ssimulacra2"] == pytest.approx(scores[1], abs=0.01)
    assert jpeg["bytes_per_epoch"] == sum(map(len, at[:4]))
    for row in (vae, jpeg):
        assert len(row["seconds"]) == len(row["accuracies"]) == 2
        # Of two pictures in four ways.
        assert all((8 * share).is_integer() and 0 <= share <= 1 for share in row["accuracies"])
    text = "\n".join(write_results.classifier(figures))
    assert f"| jpeg | {jpeg['quality']} |" in text and "Pictures: some." in text


def test_both_see_the_same_crops(folder: Path, tmp_path: Path, codec: Codec) -> None:
    originals = train_classifier.pictures(folder, 6)
    kinds = {"vae": codec.encode_batch(originals, 90), "jpeg": train_classifier.jpegs(originals, 95)}
    seen = []
    for name, data in kinds.items():
        paths = train_classifier.write(data, tmp_path / name, f".{name}")
        dataset = (
            VaeDataset(paths, crop=train_classifier.CROP, reduce=2)
            if name == "vae"
            else train_classifier.Jpegs(paths, train_classifier.CROP)
        )
        torch.manual_seed(2)
        seen.append(torch.stack([dataset[number] for number in range(6)]).float())
    assert seen[0].shape == (6, 3, 24, 24)
    right = (seen[0] - seen[1]).abs().mean()
    assert right < 4 < (seen[0] - seen[1].roll(1, 0)).abs().mean()


def test_turns_are_told_apart_by_their_numbers() -> None:
    batch = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    inputs, turns = train_classifier.turned(batch)
    assert turns.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert inputs.min() >= -1 and inputs.max() <= 1
    for number, turn in enumerate(turns.tolist()):
        back = torch.rot90(inputs[number], -turn, (1, 2))
        assert torch.equal(back, inputs[number % 3])


def test_too_few_pictures(folder: Path) -> None:
    with pytest.raises(VaeError, match="7 pictures of 64 x 64 or more are needed, not 6"):
        train_classifier.pictures(folder, 7)


def test_quality_that_no_jpeg_has(photo: np.ndarray) -> None:
    with pytest.raises(VaeError, match="no JPEG quality"):
        train_classifier.jpeg_quality([photo[:64, :64]], 100.0)
