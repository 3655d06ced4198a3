"""tools/average_checkpoints.py: the mean of two checkpoints, and its record."""

from __future__ import annotations

import importlib.util
import io
import sys
import tarfile
from pathlib import Path

import pytest
import skimage.data
import torch
from PIL import Image

if importlib.util.find_spec("compressai") is None:
    pytest.skip("the train extra is not installed", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tools"))

from average_checkpoints import average

from bitstream.errors import VaeError
from vaecodec.model.config import SIZES
from vaecodec.train.checkpoints import read_model, save_checkpoint
from vaecodec.train.data import held_out
from vaecodec.train.held_out import evaluated
from vaecodec.train.model import TrainableCodec


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """40 pictures of 160 x 160."""
    path = tmp_path / "shard-00.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(40):
            file = io.BytesIO()
            Image.fromarray(skimage.data.astronaut()[number : number + 160, :160]).save(file, "PNG")
            entry = tarfile.TarInfo(f"{number}.png")
            entry.size = len(file.getvalue())
            tar.addfile(entry, io.BytesIO(file.getvalue()))
    return path


def checkpoint(path: Path, size: str, seed: int, minutes: float) -> Path:
    torch.manual_seed(seed)
    model = TrainableCodec(SIZES[size])
    about = {"config": model.config.to_dict(), "tune": "psnr", "minutes": minutes, "stages": [{}]}
    save_checkpoint(path, model.weights(), about)
    return path


def test_the_mean_is_between_the_two_and_tells_what_it_is_of(tmp_path: Path, shard: Path) -> None:
    last = checkpoint(tmp_path / "last.safetensors", "small", 1, 20.0)
    earlier = checkpoint(tmp_path / "earlier.safetensors", "small", 2, 10.0)
    score = average(shard, last, earlier, 0.25, tmp_path / "mean.safetensors")
    weights = [read_model(path)[0].weights() for path in (last, earlier)]
    model, about = read_model(tmp_path / "mean.safetensors")
    name = "transforms.analysis.tail.weight"
    torch.testing.assert_close(model.weights()[name], 0.75 * weights[0][name] + 0.25 * weights[1][name])
    assert about["minutes"] == 20
    assert about["stages"] == [{"averaged_with": "0.25 of the weights at 10.0 minutes"}]
    assert about["held_out_score"] == score

    alone = average(shard, last, earlier, 0, None)
    model, _ = read_model(last)
    assert alone == evaluated(model, held_out(shard), "psnr")["held_out_score"] != score


def test_what_has_no_mean(tmp_path: Path, shard: Path) -> None:
    last = checkpoint(tmp_path / "last.safetensors", "small", 1, 20.0)
    earlier = checkpoint(tmp_path / "earlier.safetensors", "base", 1, 10.0)
    with pytest.raises(VaeError, match="another structure"):
        average(shard, last, earlier, 0.5, None)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(VaeError, match="share from 0 to 1"):
            average(shard, last, last, share, None)
    with pytest.raises(VaeError, match="exists"):
        average(shard, last, last, 0.5, earlier)
    model, about = read_model(last)
    save_checkpoint(earlier, model.weights(), {**about, "stages": []})
    with pytest.raises(VaeError, match="no record of its training"):
        average(shard, last, earlier, 0.5, None)
