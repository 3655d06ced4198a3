"""Training on a handful of pictures: that it learns, resumes, and exports what it learned."""

from __future__ import annotations

import importlib.util
import io
import itertools
import json
import math
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

if importlib.util.find_spec("compressai") is None:
    pytest.skip("the train extra is not installed", allow_module_level=True)

from bitstream.errors import VaeError
from vaecodec.cli.main import group
from vaecodec.codec import Codec
from vaecodec.figures import psnr
from vaecodec.model import registry
from vaecodec.model.config import LEVELS, SIZES
from vaecodec.model.indices import IndexNetwork
from vaecodec.model.load import load_model
from vaecodec.model.objective import squared_error
from vaecodec.model.precision import set_mixed_precision
from vaecodec.model.quadtree import STEPS, linear_of_step, of_step
from vaecodec.model.registry import ModelEntry
from vaecodec.model.rounding import TRAINED_WITH
from vaecodec.model.transforms import details_of, with_details
from vaecodec.quality import DEFAULT_TUNE, TUNES
from vaecodec.train import loop
from vaecodec.train.checkpoints import read_model, save_checkpoint
from vaecodec.train.data import HOLD_OUT_EVERY, Pictures, load
from vaecodec.train.divergence import FIRST_WINDOW, WINDOW, Watch
from vaecodec.train.export import build_model, export, integer_indices, read_checkpoint
from vaecodec.train.fitting import Fitting
from vaecodec.train.gradients import Gradients, rate_distortion_loss, stratified_levels
from vaecodec.train.held_out import held_out_table
from vaecodec.train.limits import has_limits, set_limits
from vaecodec.train.loop import learning_rate, train
from vaecodec.train.means import TrainableMeans
from vaecodec.train.model import TrainableCodec, deepened, initialise_from_pictures
from vaecodec.train.optimizers import (
    SHORTCUT_RATE,
    Muon,
    Optimizers,
    clip_gradients,
    orthogonalise,
)
from vaecodec.train.stage import Stage
from vaecodec.train.steps import (
    from_phases,
    from_steps,
    linear,
    quarters,
    to_phases,
    to_steps,
)
from vaecodec.train.tables import gaussian_tables
from vaecodec.train.textures import draw_overlays
from vaecodec.train.workers import Workers

#: What is measured at export, in a fraction of the time.
FITTING = Fitting(levels=(21, 35, 49))


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """40 pictures of 128 x 128, cut from two photographs."""
    cuts = []
    for photo in (skimage.data.astronaut(), skimage.data.coffee()):
        for i in range(20):
            y, x = 13 * i, 17 * (i % 12)
            cuts.append(np.ascontiguousarray(photo[y : y + 128, x : x + 128]))
    return cuts


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory, pictures: list[np.ndarray]) -> Path:
    path = tmp_path_factory.mktemp("shards") / "shard-00.tar"
    with tarfile.open(path, "w") as tar:
        for number, picture in enumerate(pictures):
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "PNG")
            member = tarfile.TarInfo(f"{number:05}.png")
            member.size = file.tell()
            file.seek(0)
            tar.addfile(member, file)
    return path


@pytest.fixture(scope="module")
def model(pictures: list[np.ndarray]) -> TrainableCodec:
    """Initialised, and trained for a few steps so that no layer is at its initial zero."""
    torch.manual_seed(0)
    model = TrainableCodec(SIZES["small"])
    batch = torch.from_numpy(np.stack(pictures))
    initialise_from_pictures(model, batch)
    optimizers = Optimizers(model)
    level = torch.tensor([5, 20, 35, 50])
    for step in range(6):
        picture = batch[4 * step : 4 * step + 4]
        outcome = model(picture, level)
        error = squared_error(picture / 255, outcome.picture)
        rate_distortion_loss(outcome.bpp, error, level).backward()
        optimizers.step(1e-3)
    set_limits(model, batch)
    return model


def test_the_untrained_model_is_a_working_transform_codec(pictures: list[np.ndarray]) -> None:
    torch.manual_seed(0)
    model = TrainableCodec(SIZES["small"])
    batch = torch.from_numpy(np.stack(pictures))
    initialise_from_pictures(model, batch)
    with torch.no_grad():
        values = [model(batch[:4], torch.full((4,), level), noise=False) for level in (0, 30, 63)]
    rates = [float(v.bpp.mean()) for v in values]
    errors = [float(squared_error(batch[:4] / 255, v.picture).mean()) for v in values]
    assert rates == sorted(rates)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 10


def test_details_are_what_the_trunk_leaves(pictures: list[np.ndarray]) -> None:
    """Before training: without rounding, most of the error of a latent without details is in them."""
    torch.manual_seed(0)
    model = TrainableCodec(SIZES["small"])
    batch = torch.from_numpy(np.stack(pictures))
    initialise_from_pictures(model, batch)
    x, level = batch[:8].float() / 255 - 0.5, torch.full((8,), 63)
    with torch.no_grad():
        latent = model.transforms.latent(x, level)
        count = model.config.detail_channels
        details = details_of(latent, count)
        none = latent.unflatten(-1, (4, -1))[..., : -count // 4].flatten(-2)
        assert torch.equal(with_details(none, details), latent)
        whole = model.transforms.synthesis(latent, level)
        rest = model.transforms.synthesis(with_details(none, torch.zeros_like(details)), level)
    left, error = (rest - x).square().mean(), (whole - x).square().mean()
    assert error < 0.3 * left
    assert float(details.square().sum()) == pytest.approx(
        float((whole - rest).square().sum()), rel=1e-3
    )


def test_shortcuts_learn_slowly() -> None:
    layers = nn.Sequential()
    layers.shortcut, layers.mix = nn.Linear(8, 4, bias=False), nn.Linear(4, 4)
    before = {name: p.detach().clone() for name, p in layers.named_parameters()}
    optimizers = Optimizers(layers)
    layers(torch.randn(3, 8)).square().sum().backward()
    optimizers.step(0.01)
    moved = {
        name: float((p.detach() - before[name]).abs().max()) for name, p in layers.named_parameters()
    }
    assert moved["shortcut.weight"] == pytest.approx(0.01 * SHORTCUT_RATE, rel=0.01)
    assert moved["mix.bias"] == pytest.approx(0.01, rel=0.01)


def flat(values: torch.Tensor) -> torch.Tensor:
    """What a step codes, from the order of training to that of the codec."""
    return values.transpose(0, 1).flatten(1, 3)


def test_steps_are_those_of_the_codec() -> None:
    x = torch.randn(2, 6, 4, 16)
    steps = to_steps(x)
    for step, values in enumerate(steps):
        assert torch.equal(flat(values), of_step(x, step))
    assert torch.equal(from_steps(steps), x)
    assert torch.equal(from_phases(to_phases(x)), x)
    weight, bias = torch.randn(16, 16), torch.randn(16)
    for step in range(STEPS):
        found = linear(to_phases(x), quarters(weight, step, dim=0), quarters(bias, step))
        assert torch.allclose(flat(found), linear_of_step(x, weight, bias, step), atol=1e-5)


def test_means_are_those_of_the_codec(model: TrainableCodec) -> None:
    network, level = model.means, torch.tensor([7, 50])
    z = torch.randn(2, 2, 3, model.config.hyper_channels).round()
    with torch.no_grad():
        trained, exact = TrainableMeans(network, z, level), network.start(z, level, 8, 12)
        for _ in range(STEPS):
            means = trained.next()
            assert torch.allclose(flat(means), exact.next(), rtol=1e-4, atol=1e-4)
            values = means + torch.randn_like(means)
            trained.see(values)
            exact.see(flat(values))


def test_integer_indices_agree_with_the_float_ones(
    model: TrainableCodec, pictures: list[np.ndarray]
) -> None:
    """Within one, on the same symbols."""
    integers = IndexNetwork(model.config, integer_indices(model.indices), torch.device("cpu"))
    x = torch.from_numpy(np.stack(pictures[:2])).float() / 255 - 0.5
    model.indices.fake_quantise = True
    try:
        for level in (4, 33, 60):
            levels = torch.tensor([level, level])
            with torch.no_grad():
                natural = model.transforms.latent(x, levels)
                z = model.transforms.hyper_latent(natural, levels).round()
                floats = model.indices.start(z, levels)
                exact = integers.start(z, level, 8, 8)
                for _ in range(STEPS):
                    index = floats.next()
                    difference = flat(index) - exact.next().float()
                    assert float(difference.abs().max()) <= 1
                    assert float(difference.abs().mean()) < 0.2
                    symbols = torch.randint(-2, 3, index.shape)
                    floats.see(symbols)
                    exact.see(flat(symbols))
    finally:
        model.indices.fake_quantise = False


@pytest.fixture(scope="module")
def exported(
    model: TrainableCodec, pictures: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> ModelEntry:
    """`model` as a weights file of tune psnr, fitted to two pictures."""
    folder = tmp_path_factory.mktemp("exported")
    about = {"tune": "psnr", "config": model.config.to_dict()}
    save_checkpoint(folder / "final.safetensors", model.weights(), about)
    out = export(folder / "final.safetensors", folder / "x.safetensors", pictures[:2], FITTING)
    return registry.from_path(out)


def test_an_exported_model_is_the_trained_one_in_half_precision(
    model: TrainableCodec, exported: ModelEntry
) -> None:
    card = json.loads(exported.path.with_suffix(".json").read_text())
    assert exported.tune == card["tune"] == "psnr"
    trained = model.transforms.state_dict()
    stored = {
        name.removeprefix("transforms."): value
        for name, value in load_file(exported.path).items()
        if name.startswith("transforms.")
    }
    loaded = load_model(exported, torch.device("cpu"))
    used = loaded.transforms.state_dict()
    assert loaded.tune == "psnr"
    assert torch.equal(loaded.latents.error_bits_by_level, TRAINED_WITH["psnr"].by_level())
    assert stored.keys() == used.keys() == trained.keys()
    for name, value in trained.items():
        assert stored[name].dtype == torch.float16
        assert torch.equal(used[name], value.half().float())


def test_checkpoints_and_their_tune(model: TrainableCodec, tmp_path: Path) -> None:
    path, config = tmp_path / "final.safetensors", model.config.to_dict()
    save_checkpoint(path, model.weights(), {"config": config})
    assert read_checkpoint(path)[1]["tune"] == "psnr"
    save_checkpoint(path, model.weights(), {"config": config, "tune": "visual"})
    assert read_checkpoint(path)[1]["tune"] == "visual"
    save_checkpoint(path, model.weights(), {"config": config, "tune": "ssim"})
    with pytest.raises(VaeError, match=r"final\.safetensors: its tune 'ssim' is none of visual, psnr"):
        build_model(path, [], FITTING)


def test_weights_that_half_precision_cannot_hold(model: TrainableCodec, tmp_path: Path) -> None:
    large = {name: value.clone() for name, value in model.weights().items()}
    large["transforms.synthesis.tail.bias"][3] = 7e4
    save_checkpoint(tmp_path / "final.safetensors", large, {"config": model.config.to_dict()})
    with pytest.raises(VaeError, match=r"layer synthesis\.tail\.bias does not fit half precision"):
        build_model(tmp_path / "final.safetensors", [], FITTING)


def test_curvature_is_that_of_the_synthesis_transform(
    model: TrainableCodec, pictures: list[np.ndarray], exported: ModelEntry
) -> None:
    """The estimate against norms of single columns of J^T J, for two channels at one level."""
    level = FITTING.levels[1]
    loaded = load_model(exported, torch.device("cpu"))
    set_mixed_precision(loaded.transforms, False)  # as it is where curvature is measured
    assert loaded.curvature.shape == (LEVELS, model.config.latent_channels)
    assert bool((loaded.curvature > 0).all())

    scale = loaded.latent_scale[level]

    def synthesis(steps: torch.Tensor) -> torch.Tensor:
        return 255 * loaded.transforms.synthesis(steps * scale, torch.full((len(steps),), level))

    for channel in (3, 200):
        squares = []
        for picture in pictures[:2]:
            found = loaded.analyse(picture[None], level)
            latent = (loaded.latents.quantise(*found, level).latent / scale).repeat(64, 1, 1, 1)
            units = torch.zeros_like(latent)  # each with another of the 8 x 8 positions set
            units[..., channel] = torch.eye(64).view(64, 8, 8)
            change = torch.func.jvp(synthesis, (latent,), (units,))[1]
            (columns,) = torch.func.vjp(synthesis, latent)[1](change)
            squares.extend(columns.square().sum(dim=(1, 2, 3)).tolist())
        estimate = float(loaded.curvature[level, channel])
        assert estimate == pytest.approx(math.sqrt(np.mean(squares)), rel=0.3)


def test_frequency_tables() -> None:
    tables = gaussian_tables()
    supports, frequencies = tables.supports, tables.frequencies
    assert len(supports) == 64
    starts = np.concatenate(([0], np.cumsum(2 * supports + 2)))
    for s in range(64):
        table = frequencies[starts[s] : starts[s + 1]]
        assert table.sum() == 2**24
        assert table.min() >= 1
        values = table[:-1]
        assert np.array_equal(values, values[::-1])
        assert values.argmax() == supports[s]


def test_shards_are_read_and_a_part_held_out(shard: Path, pictures: list[np.ndarray]) -> None:
    found = load(shard, torch.device("cpu"), 64)
    train, held_out, count = found.pictures, found.held_out, found.count
    assert count == 40
    assert len(held_out) == 1
    half = Image.fromarray(pictures[31]).resize((64, 64), Image.Resampling.LANCZOS)
    assert np.array_equal(held_out[0], np.asarray(half))
    assert train.count == 39 * 4  # four sizes of each, all of them large enough


def test_pictures_too_small_for_a_pyramid_are_left_out(tmp_path: Path) -> None:
    for number in range(40):
        size = (1, 40) if number == 3 else (128, 128)
        Image.new("RGB", size).save(tmp_path / f"{number:02}.png")
    found = load(tmp_path, torch.device("cpu"), 64)
    train, held_out, count = found.pictures, found.held_out, found.count
    assert (train.count, len(held_out), count) == (38 * 4, 1, 40)


def test_crops_are_pieces_of_the_pictures(pictures: list[np.ndarray]) -> None:
    store = Pictures.of([pictures[0].copy(), pictures[1].copy()], torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    crops = store.crops(6, 128, generator).numpy()
    whole = {}
    for source in pictures[:2]:
        for turned in (source, source.transpose(1, 0, 2)):
            for flipped in (turned, turned[::-1], turned[:, ::-1], turned[::-1, ::-1]):
                whole[flipped.tobytes()] = True
    assert all(crop.tobytes() in whole for crop in crops)
    small = store.crops(50, 64, generator)
    assert small.shape == (50, 64, 64, 3)
    assert small.dtype == torch.uint8


def test_schedule() -> None:
    stage = Stage(
        data=Path("data"),
        out=Path("out"),
        size="small",
        minutes=1.0,
        device=torch.device("cpu"),
        batch=16,
    )
    rates = [learning_rate(stage, *at) for at in ((0.0, 0), (0.1, 99), (0.6, 5000), (0.8, 5000))]
    assert rates[0] < rates[1] == rates[2] > rates[3]
    assert learning_rate(stage, 1.0, 5000) == 0
    levels = stratified_levels(16, torch.device("cpu"))
    assert sorted((levels // (LEVELS // 16)).tolist()) == list(range(16))


def test_orthogonalised_updates() -> None:
    matrices = torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(0))
    for batch in (matrices, matrices.mT):
        values = torch.linalg.svdvals(orthogonalise(batch))
        assert 0.5 < float(values.min()) < float(values.max()) < 1.3


def test_muon_agrees_with_torch_matrix_by_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(16, 32), (16, 32), (32, 16)]
    ours = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    muon = Muon(ours)
    reference = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for part in muon.param_groups:
        part["lr"] = 0.01
    for _ in range(4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        muon.step()
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        assert float((a - b).detach().abs().max()) < 0.03 * float(
            b.detach().abs().max()
        )  # theirs is in bfloat16


def test_gradients_are_clipped_and_broken_ones_dropped() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))]
    unused = torch.nn.Parameter(torch.zeros(1))
    for first, expected in (([3.0, 0.0], [0.6, 0.0]), ([0.3, 0.0], [0.3, 0.0])):
        weights[0].grad, weights[1].grad = torch.tensor(first), torch.tensor([first[0] / 3 * 4])
        norm = clip_gradients([*weights, unused])
        assert float(norm) == pytest.approx(first[0] / 3 * 5)
        assert weights[0].grad.tolist() == pytest.approx(expected)
    for broken in (math.nan, math.inf):
        weights[0].grad, weights[1].grad = torch.tensor([broken, 1.0]), torch.tensor([1.0])
        assert not math.isfinite(float(clip_gradients(weights)))
        assert [w.grad.tolist() for w in weights if w.grad is not None] == [[0, 0], [0]]


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages of 0.02 minutes take as many steps on every machine."""
    ticks = itertools.count(0, 0.06)
    monkeypatch.setattr("vaecodec.train.log.time", SimpleNamespace(monotonic=lambda: next(ticks)))


@pytest.mark.usefixtures("few_steps")
def test_a_stage_from_the_command_line(shard: Path, tmp_path: Path, pictures: list[np.ndarray]) -> None:
    """Train a little, resume, and use the result as a model."""
    first, second = tmp_path / "one", tmp_path / "two"
    options = ["--batch", "2", "--patch", "64", "--device", "cpu", "--fitting-crops", "2"]
    arguments = ["train", str(shard), "--minutes", "0.02", *options, "--out"]
    assert group.main([*arguments, str(first), "--size", "small"], standalone_mode=False) == 0
    trunk = first / "trunk.safetensors"
    arguments += [str(second), "--resume", str(trunk)]
    with pytest.raises(VaeError, match="is of size small, not base"):
        group.main([*arguments, "--size", "base"], standalone_mode=False)
    assert group.main(arguments, standalone_mode=False) == 0
    card = json.loads((second / "model.json").read_text())
    assert [stage["steps"] for stage in card["stages"]] == [8, 9]  # the first up to its decay
    assert card["steps"] == sum(stage["steps"] for stage in card["stages"])
    assert [row["level"] for row in card["held_out"]]
    codec = Codec(str(second / "model.safetensors"), "cpu")
    assert codec.entry.card["sha256"] == card["sha256"]
    assert codec.entry.tune == card["tune"] == DEFAULT_TUNE
    data = codec.encode(pictures[0], 80)
    assert psnr(pictures[0], np.asarray(codec.decode(data))) > 25
    with pytest.raises(VaeError, match="holds a training stage already"):
        group.main(arguments, standalone_mode=False)
    lines = [json.loads(line) for line in (second / "log.jsonl").read_text().splitlines()]
    assert "held_out" in lines[-1]


def test_a_shallower_model_goes_on_as_a_deeper_one(
    model: TrainableCodec, pictures: list[np.ndarray]
) -> None:
    config = replace(model.config, analysis_blocks=8, synthesis_blocks=9, coarse_blocks=3)
    deep = deepened(model, config)
    assert deep.config == config
    batch, level = torch.from_numpy(np.stack(pictures[:2])), torch.tensor([10, 50])
    with torch.no_grad():
        before, after = (m(batch, level, noise=False) for m in (model, deep))
    for a, b in ((before.bpp, after.bpp), (before.picture, after.picture)):
        assert torch.allclose(a, b, rtol=1e-4)
    with pytest.raises(ValueError, match="9 blocks do not fit into 5"):
        deepened(deep, replace(config, synthesis_blocks=5))
    with pytest.raises(RuntimeError):
        deepened(model, replace(config, channels=64))


def test_bad_training_input(tmp_path: Path) -> None:
    with pytest.raises(VaeError, match="no such folder"):
        load(tmp_path / "absent", torch.device("cpu"), 64)
    with pytest.raises(VaeError, match="too few"):
        load(tmp_path, torch.device("cpu"), 64)
    (tmp_path / "x.png").write_bytes(b"rubbish")
    with pytest.raises(VaeError, match=r"x\.png: not a readable training picture"):
        load(tmp_path, torch.device("cpu"), 64)
    (tmp_path / "x.png").rename(tmp_path / "x.tar")
    for path in (tmp_path, tmp_path / "x.tar"):
        with pytest.raises(VaeError, match=r"x\.tar: is no tar file, or damaged"):
            load(path, torch.device("cpu"), 64)
    (tmp_path / "x.tar").rename(tmp_path / "x.png")
    small = tmp_path / "small"
    small.mkdir()
    for number in range(HOLD_OUT_EVERY):
        Image.new("RGB", (100, 100)).save(small / f"{number}.png")
    with pytest.raises(VaeError, match="none of the 1 pictures that are held out, at half their size"):
        load(small, torch.device("cpu"), 64)
    with pytest.raises(VaeError, match="not a vaecodec training checkpoint"):
        read_model(tmp_path / "x.png")
    with pytest.raises(VaeError, match="not a vaecodec training checkpoint"):
        build_model(tmp_path / "x.png", [], Fitting())


def without_limits(model: TrainableCodec) -> TrainableCodec:
    """A copy of a model as it is before its first decay begins."""
    copy = deepened(model, model.config)
    for name, value in copy.weights().items():
        if name.endswith("limits"):
            value.fill_(math.inf)
    assert has_limits(model)
    assert not has_limits(copy)
    return copy


def test_weights_without_limits(model: TrainableCodec, tmp_path: Path) -> None:
    unlimited = without_limits(model).weights()
    save_checkpoint(tmp_path / "final.safetensors", unlimited, {"config": model.config.to_dict()})
    with pytest.raises(VaeError, match=r"layer analysis\.trunk\.limits is not finite; train on"):
        export(tmp_path / "final.safetensors", tmp_path / "model.safetensors", [], FITTING)
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("part", ["analysis", "synthesis"])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_limits_that_are_not_finite(
    model: TrainableCodec, tmp_path: Path, part: str, value: float
) -> None:
    weights = {name: tensor.clone() for name, tensor in model.weights().items()}
    weights[f"transforms.{part}.trunk.limits"][1, 5] = value
    save_checkpoint(tmp_path / "final.safetensors", weights, {"config": model.config.to_dict()})
    with pytest.raises(VaeError, match=rf"layer {part}\.trunk\.limits is not finite"):
        build_model(tmp_path / "final.safetensors", [], FITTING)


def test_limits_are_beyond_all_that_the_pictures_reach(
    model: TrainableCodec, pictures: list[np.ndarray]
) -> None:
    """So they change nothing there, and bound what noise of any size does."""
    unlimited, limited = without_limits(model), without_limits(model)
    batch, level = torch.from_numpy(np.stack(pictures[:8])), torch.arange(8) * 8
    set_limits(limited, batch)
    with torch.no_grad():
        before, after = (m(batch, level, noise=False).picture for m in (unlimited, limited))
        assert torch.allclose(before, after, atol=1e-5)
        wild = 1e4 * torch.randn(1, 128, 128, 3, generator=torch.Generator().manual_seed(0))
        wild = wild.repeat(1, 1, 1, 43)
        t = limited.transforms
        for trunk, coarse in (
            (t.analysis.trunk, None),
            (t.synthesis.coarse, None),
            (t.synthesis.trunk, wild[:, ::2, ::2, : model.config.coarse_channels]),
        ):
            assert bool(trunk.limits.isfinite().all())
            features = wild[..., : trunk.limits.shape[1]]
            bound = trunk(features, level[:1], coarse).abs().amax(dim=(0, 1, 2))
            assert bool((bound <= trunk.limits[-1]).all())


@pytest.mark.parametrize(
    "device", [torch.device("cpu"), pytest.param(torch.device("cuda"), marks=pytest.mark.gpu)]
)
def test_every_batch_is_another(
    model: TrainableCodec, pictures: list[np.ndarray], device: torch.device
) -> None:
    """On a GPU, where the first is recorded, as well."""
    model = deepened(model, model.config).to(device)
    drawn = Gradients(
        model,
        Pictures.of([picture.copy() for picture in pictures], device),
        tune="visual",
        count=2,
        side=64,
        textures=0.5,
        overlays=draw_overlays(0).to(device),
    )
    seen = []
    for _ in range(2):
        batch = drawn()
        found = model.transforms.synthesis.tail.weight.grad
        assert found is not None
        assert bool(found.isfinite().all())
        seen.append((float(batch.loss), float(batch.bpp), float(found.norm())))
        model.zero_grad(set_to_none=True)
    assert all(value > 0 for values in seen for value in values)
    assert all(a != b for a, b in zip(*seen, strict=True))


def test_a_stage_that_diverges_goes_back() -> None:
    averaged = {"weight": torch.ones(3)}
    watch = Watch(averaged, Workers(torch.device("cpu")))

    def go_on(loss: float, weight: float) -> list[bool]:
        averaged["weight"].fill_(weight)
        return [watch.diverged(torch.tensor(loss), averaged) for _ in range(WINDOW)]

    for _ in range(FIRST_WINDOW):
        assert not watch.diverged(torch.tensor(2.0), averaged)
    assert not any(go_on(2.5, 20.0))
    for loss in (4.0, math.inf, math.nan):
        assert go_on(loss, 30.0) == [False] * (WINDOW - 1) + [True]
        assert averaged["weight"].tolist() == [20.0] * 3
    assert watch.rate == 1 / 8
    assert not watch.diverged(torch.tensor(math.nan), averaged)  # one does no harm
    for _ in range(WINDOW - 1):
        averaged["weight"].fill_(40.0)
        assert not watch.diverged(torch.tensor(2.5), averaged)
    assert not any(go_on(2.5, 40.0))
    assert averaged["weight"].tolist() == [40.0] * 3


def test_textures_count_by_their_logarithm() -> None:
    """One crop that costs a thousand times as much must not outweigh the others."""
    level, bpp = torch.full((4,), 30), torch.ones(4)
    error = torch.tensor([1e5, 10.0, 10.0, 10.0])
    drawn = torch.tensor([True, False, False, False])
    weighed = rate_distortion_loss(bpp, error, level, drawn)
    same = rate_distortion_loss(bpp, torch.full((4,), 10.0), level)
    assert same < weighed < 10 * same < rate_distortion_loss(bpp, error, level)


@pytest.mark.parametrize("tune", TUNES)
@pytest.mark.usefixtures("few_steps")
def test_a_stage_is_of_its_tune(
    tmp_path: Path, shard: Path, tune: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it records of held-out pictures is R + lambda D with the distortion of the tune. It ends
    with larger crops, and then with what exported models compute."""
    phases: list[tuple[int, bool]] = []

    def noted(model: TrainableCodec, *arguments: Any, side: int, **more: Any) -> Gradients:
        phases.append((side, model.indices.fake_quantise))
        return Gradients(model, *arguments, side=side, **more)

    monkeypatch.setattr(loop, "Gradients", noted)
    fitting, cpu = Fitting(crops=2), torch.device("cpu")
    stage = Stage(
        data=shard,
        out=tmp_path,
        size="small",
        minutes=0.02,
        device=cpu,
        batch=4,
        patch=64,
        learning_rate=1e-3,
        decay_from=0.3,
        tune=tune,
        fitting=fitting,
    )
    result = train(stage)
    assert result is not None
    trained, about = read_model(result[0])
    assert (about["tune"], about["steps"]) == (tune, 9)
    assert phases == [(64, False), (128, False), (128, True)]
    trained.indices.fake_quantise = True
    held_out = load(shard, cpu, 64).held_out
    losses = {t: [row["loss"] for row in held_out_table(trained, held_out, t)] for t in TUNES}
    recorded = [row["loss"] for row in about["held_out"]]
    assert recorded == pytest.approx(losses[tune], rel=1e-3)
    assert losses["visual"] != pytest.approx(losses["psnr"], rel=1e-2)
