"""Training of the restoring analysis transform, on a handful of pictures."""

from __future__ import annotations

import importlib.util
import itertools
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import load_file, save

if importlib.util.find_spec("compressai") is None:
    pytest.skip("the train extra is not installed", allow_module_level=True)

from bitstream.errors import VaeError
from vaecodec.model import registry
from vaecodec.model.load import load_model
from vaecodec.model.precision import set_mixed_precision
from vaecodec.model.restoring import RestoringAnalysis
from vaecodec.pictures.degradation import noise_of
from vaecodec.quality import NEVER_JPEG
from vaecodec.train.degradations import SPARE, degraded
from vaecodec.train.restoring import RestoringStage, latent_error, train_restoring


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    with tarfile.open(folder / "shard.tar", "w") as tar:
        for i in range(32):
            picture = skimage.data.coffee()[4 * i : 4 * i + 160, 8 * i : 8 * i + 192]
            path = folder / f"{i:02}.png"
            Image.fromarray(np.ascontiguousarray(picture)).save(path)
            tar.add(path, path.name)
            path.unlink()
    return folder


def crops(count: int) -> torch.Tensor:
    side = 64 + SPARE
    coffee = skimage.data.coffee()
    cut = [coffee[10 * i : 10 * i + side, 20 * i : 20 * i + side] for i in range(count)]
    return torch.from_numpy(np.stack(cut))


def test_what_is_done_to_crops_is_told() -> None:
    found = degraded(crops(24), np.random.default_rng(0), torch.Generator().manual_seed(0))
    assert found.picture.shape == found.clean.shape == (24, 64, 64, 3)
    changed = (found.picture != found.clean).flatten(1).any(dim=1)
    assert torch.equal(changed, (found.noise > 0) | (found.jpeg < NEVER_JPEG))
    assert 0 < int(changed.sum()) < 24
    for picture, noise, jpeg in zip(found.picture, found.noise, found.jpeg, strict=True):
        if noise > 10 and jpeg == NEVER_JPEG:
            assert 0.5 * float(noise) < noise_of(picture.numpy()) < 1.5 * float(noise) + 3


def test_the_same_chance_does_the_same() -> None:
    one, other = (
        degraded(crops(8), np.random.default_rng(3), torch.Generator().manual_seed(4)) for _ in range(2)
    )
    assert torch.equal(one.picture, other.picture)


def test_a_copy_of_the_models_own_has_no_error_where_nothing_was_done() -> None:
    model = load_model(registry.find(None), torch.device("cpu"))
    set_mixed_precision(model.transforms, False)
    network = RestoringAnalysis(model.config)
    network.load_state_dict(model.transforms.analysis.state_dict(), strict=False)
    found = degraded(crops(24), np.random.default_rng(0), torch.Generator().manual_seed(0))
    with torch.no_grad():
        error = latent_error(model, network, found, torch.arange(24) * 2)
    none = (found.noise == 0) & (found.jpeg == NEVER_JPEG)
    assert float(error[none].max()) < 1e-6
    assert float(error[~none].max()) > 1


def record_of(path: Path) -> dict[str, object]:
    data = path.read_bytes()
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    return dict(json.loads(metadata["record"]))


def test_a_stage(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(0, 0.1)  # as many steps on every machine
    monkeypatch.setattr("vaecodec.train.log.time", SimpleNamespace(monotonic=lambda: next(ticks)))
    entry = registry.find(None)
    stage = RestoringStage(data=data, out=tmp_path, minutes=0.05, batch=4, patch=64)
    path = train_restoring(entry, stage, lambda *_: None)
    assert path == tmp_path / f"{entry.name}.safetensors"
    weights = load_file(path)
    assert all(x.dtype == torch.float16 and bool(x.isfinite().all()) for x in weights.values())
    assert bool(weights["strengths.weight"].any())
    network = RestoringAnalysis(load_model(entry, torch.device("cpu")).config)
    network.load_state_dict(weights)
    assert record_of(path)["model"] == entry.name
    with pytest.raises(VaeError, match="exists already"):
        train_restoring(entry, stage, lambda *_: None)
    further = replace(stage, out=tmp_path / "further", minutes=1e-6, resume=path)
    second = train_restoring(entry, further, lambda *_: None)
    assert second is not None
    assert all(torch.equal(x, weights[name]) for name, x in load_file(second).items())
    assert record_of(second)["after"] == record_of(path)
    earlier = tmp_path / "earlier.safetensors"  # of another version
    version = {**record_of(path), "model": "base-visual-0"}
    earlier.write_bytes(save(weights, {"record": json.dumps(version)}))
    third = train_restoring(
        entry, replace(further, out=tmp_path / "third", resume=earlier), lambda *_: None
    )
    assert third is not None
    assert record_of(third)["after"] == version
    other = registry.find(None, "psnr")
    for source, error in (
        (path, f"belongs to {entry.name}"),
        (tmp_path / "none", "no weights of a restoring stage"),
    ):
        wrong = replace(stage, out=tmp_path / "wrong", resume=source)
        with pytest.raises(VaeError, match=error):
            train_restoring(other, wrong, lambda *_: None)
