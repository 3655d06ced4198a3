"""Symbols are the same whatever computes them, and however they are batched; means are nearly so."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vaecodec.codec import Codec
from vaecodec.figures import psnr
from vaecodec.model import indices as exact
from vaecodec.model import registry
from vaecodec.model.config import SIZES, ModelConfig
from vaecodec.model.indices import IndexNetwork, layers, layout, magnitude
from vaecodec.model.load import LoadedModel, load_model
from vaecodec.model.precision import set_mixed_precision
from vaecodec.model.quadtree import STEP_XOR, STEPS, by_place, of_step, places
from vaecodec.model.rounding import bits_saved, rounded
from vaecodec.model.symbols import Stream, Symbols

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import reference_decoder


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(registry.find(None), torch.device("cpu"))


def random_latents(
    config: ModelConfig, count: int, rows: int = 16, columns: int = 16
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    latent = torch.randn(count, rows, columns, config.latent_channels, generator=generator) * 4
    latent[..., 7] *= 500  # escapes
    cells = -(-rows // 4), -(-columns // 4)
    hyper = torch.randn(count, *cells, config.hyper_channels, generator=generator)
    return latent, hyper * 3


def streams_of(model: LoadedModel, latent: Tensor, hyper: Tensor, level: int) -> list[Stream]:
    _, rows, columns, _ = latent.shape
    blocks = model.latents.quantise(latent, hyper, level).blocks()
    coded = model.symbols.encode_each(blocks)
    return [Stream(data=data, level=level, rows=rows, columns=columns) for data in coded]


def symbols_of(model: LoadedModel, streams: list[Stream]) -> list[Symbols]:
    return [model.symbols.decode(stream) for stream in streams]


def test_steps_code_everything_once() -> None:
    assert sorted(STEP_XOR) == [0, 1, 2, 3]
    coded = {(place.phase, place.quarter) for step in range(STEPS) for place in places(step)}
    assert len(coded) == 16


@pytest.mark.parametrize(("rows", "columns"), [(6, 4), (5, 3), (1, 1)])
def test_what_steps_code_and_back(rows: int, columns: int) -> None:
    x = torch.arange(2.0 * rows * columns * 8).reshape(2, rows, columns, 8)
    back = torch.full_like(x, torch.nan)
    for step in range(STEPS):
        values = of_step(x, step)
        assert values.shape == (2, rows * columns, 2)
        for place, part in by_place(values, x, step):
            place.values(back).copy_(part)
    assert torch.equal(back, x)
    if columns > 1:  # phase 1: even row, odd column; in the first step its second quarter
        first = of_step(x, 0)[0, -(-rows // 2) * -(-columns // 2)]
        assert torch.equal(first, x[0, 0, 1, 2:4])


def test_magnitudes() -> None:
    symbols = torch.tensor([0, 1, -2, 3, 6, 7, -8, 255, 256, -(2**20)])
    assert magnitude(symbols).tolist() == [0, 8, 12, 16, 22, 24, 25, 64, 64, 64]
    every = torch.arange(256)
    assert float((magnitude(every) / 8 - torch.log2(1 + every.float())).abs().max()) < 0.21


@pytest.mark.parametrize("size", SIZES)
def test_no_sum_can_leave_the_exact_range(size: str) -> None:
    """Worst case of every accumulator: below 2^24 in the finest unit that occurs in it."""
    config = SIZES[size]
    factors = {exact.ACTIVATION_MAX, exact.WEIGHT_MAX, int(magnitude(torch.tensor(2**21)))}
    assert max(factors) < 2**8  # products are exact in bfloat16 too
    half = 2 ** (exact.SHIFT_MAX - 1)
    for name, layer in layers(config).items():
        terms = 9 if name.startswith("depthwise") else layer.weight[1]
        largest = exact.ACTIVATION_MAX
        if name == "magnitude":
            terms, largest = layer.weight[0], int(magnitude(torch.tensor(exact.SYMBOL_MAX)))
        total = terms * exact.WEIGHT_MAX * largest
        if layer.biases is not None:
            offset = exact.OFFSET_MAX + 2 ** (exact.INDEX_BITS - 1)
            total += exact.BIAS_MAX + half + (name == "map") * offset * 2**exact.SHIFT_MAX
        else:  # a head, which is added to the base
            total += (exact.BASE_MAX + 2 ** (exact.INDEX_BITS - 1)) * 2**exact.SHIFT_MAX
        assert total < 2**24


def test_rounding_of_factors_changes_nothing(model: LoadedModel) -> None:
    """The network with all that enters products rounded to bfloat16."""
    network = model.symbols.indices
    for layer in (network.map, network.magnitude, *network.depthwise, *network.head):
        assert torch.equal(layer.weight, layer.weight.bfloat16().float())
    whole = torch.arange(-float(exact.ACTIVATION_MAX), exact.ACTIVATION_MAX + 1)
    assert torch.equal(whole, whole.bfloat16().float())


@pytest.mark.parametrize("level", [0, 31, 63])
def test_threads_batches_and_layouts_agree(model: LoadedModel, level: int) -> None:
    latent, hyper = random_latents(model.config, 3)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        batch = streams_of(model, latent, hyper, level)
        symbols = symbols_of(model, batch)
        torch.set_num_threads(4)
        for again, before_it in zip(symbols_of(model, batch), symbols, strict=True):
            assert torch.equal(again.hyper, before_it.hyper)
            assert torch.equal(again.latent, before_it.latent)
        strided = latent.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
        apart = torch.zeros(3, 16, 16, 2 * latent.shape[3])
        apart[..., ::2] = latent
        for other in (strided, apart[..., ::2]):
            found = symbols_of(model, streams_of(model, other, hyper, level))
            for its, theirs in zip(found, symbols, strict=True):
                assert int((its.latent - theirs.latent).abs().max()) <= 1  # means differ in last bits
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (13, 16), (1, 1), (5, 2)])
def test_decoder_sees_what_the_encoder_saw(model: LoadedModel, rows: int, columns: int) -> None:
    latent, hyper = random_latents(model.config, 2, rows, columns)
    coded = model.latents.quantise(latent, hyper, 40)
    symbols = symbols_of(model, streams_of(model, latent, hyper, 40))
    for item, blocks in zip(symbols, coded.blocks(), strict=True):
        assert np.array_equal(item.hyper.reshape(-1), blocks[0][0])
        for step in range(STEPS):
            found = of_step(item.latent[None], step)
            assert np.array_equal(found.reshape(-1), blocks[1 + step][0])
    seen = model.latents.reconstruct(symbols, 40)
    assert torch.allclose(seen, coded.latent, atol=1e-4)
    # Only values under the skip rule may be off by more than one step.
    scale = model.latent_scale[40]
    indices = np.concatenate([index for blocks in coded.blocks() for _, index in blocks[1:]])
    skipped = int((indices < model.symbols.tables.skip).sum())
    off = (seen / scale - latent).abs()
    assert off.numel() == len(indices) > skipped
    assert int((off > 1.01).sum()) <= skipped


@pytest.mark.parametrize("quality", [5, 60, 100])
def test_blocks_in_bfloat16_are_near(photo: np.ndarray, quality: int) -> None:
    """Samples of one file, with and without: within the tolerance of docs/format.md. And a file that
    was encoded so is as good."""
    codec = Codec(device="cpu")
    transforms, found = codec.loaded().transforms, []
    for enabled in (False, True):
        set_mixed_precision(transforms, enabled)
        data = codec.encode(photo, quality, lossless=False)
        found.append((len(data), np.asarray(codec.decode(data))))
    (size, _), (other_size, as_encoded) = found
    set_mixed_precision(transforms, False)
    exact = np.asarray(codec.decode(data))
    assert np.abs(exact.astype(int) - as_encoded).max() <= 2
    assert 50 < psnr(exact, as_encoded) < 90
    assert abs(other_size / size - 1) < 0.01
    assert abs(psnr(photo, found[0][1]) - psnr(photo, as_encoded)) < 0.05


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_means_of_another_precision_are_near(
    model: LoadedModel, photo: np.ndarray, dtype: torch.dtype
) -> None:
    """Samples of one file, means computed otherwise: within the tolerance of docs/format.md."""
    other = load_model(registry.find(None), torch.device("cpu"))
    for level in (10, 37, 63):
        latent, hyper = model.analyse(photo[None], level)
        rows, columns = (side // 16 for side in photo.shape[:2])
        (symbols,) = symbols_of(model, streams_of(model, latent[:, :rows, :columns], hyper, level))
        found = []
        for each, precision in ((model, torch.float32), (other, dtype)):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
                if precision == torch.float64:
                    means = _reconstructed_in_double(each, symbols, level)
                else:
                    means = each.latents.reconstruct([symbols], level)
            found.append(model.synthesise(means.float(), level).clamp(0, 255))
        off = (found[0] - found[1]).abs()
        assert float(off.max()) <= 2
        assert float(off.square().mean()) < 255**2 / 10**5


def _reconstructed_in_double(model: LoadedModel, symbols: Symbols, level: int) -> Tensor:
    means = model.means.double()
    levels = torch.tensor([level])
    latent = symbols.latent[None].double() * model.latent_scale[level].double()
    predicted = (latent.shape[-1] - model.config.detail_channels) // 4
    group = means.start(symbols.hyper[None].double(), levels, *latent.shape[1:3])
    for step in range(STEPS):
        values = group.next() + of_step(latent, step, predicted)
        for place, part in by_place(values, latent, step):
            place.values(latent, predicted).copy_(part)
        if step < STEPS - 1:
            group.see(values)
    return latent


def test_rounding_saves_rate_and_moves_at_most_one_step(model: LoadedModel) -> None:
    generator, tables = torch.Generator().manual_seed(1), model.symbols.tables
    index = torch.randint(0, 64, (20_000,), generator=generator)
    residual = torch.randn(20_000, generator=generator)
    residual *= 0.11 * torch.exp(index * 0.112)
    symbol = rounded(residual, index, 60.0, bits_saved(tables), tables.skip)
    nearest = torch.floor(residual + 0.5) * (index >= tables.skip)
    moved = nearest - symbol
    assert float(moved.abs().max()) == 1
    assert bool((symbol.abs() <= nearest.abs()).all())
    assert 0 < float((moved != 0).double().mean()) < 0.05
    indices = index.numpy().astype(np.uint8)
    bits = [tables.bits(s.numpy().astype(np.int64), indices) for s in (symbol, nearest)]
    assert bits[0] < bits[1]


def test_extreme_weights_stay_exact() -> None:
    """Random full-range weights saturate everywhere; 64-bit integers and any batch give the same."""
    config = SIZES["small"]
    rng = np.random.default_rng(1)
    tensors = {}
    for name, (shape, dtype) in layout(config).items():
        low, high = {
            "weight": (-exact.WEIGHT_MAX, exact.WEIGHT_MAX),
            "bias": (-exact.BIAS_MAX, exact.BIAS_MAX),
            "shift": (1, exact.SHIFT_MAX),
            "table": (0, {"hyper": 63, "gain": 2**20, "offset": 512}[name.split(".")[0]])
            if name.endswith("table")
            else (0, 0),
        }[name.split(".")[1]]
        values = rng.integers(low, high + 1, shape)
        tensors[name] = torch.from_numpy(np.asarray(values)).to(getattr(torch, dtype))
    network = IndexNetwork(config, tensors, torch.device("cpu"))
    integers = {name: value.numpy().astype(np.int64) for name, value in tensors.items()}
    generator = torch.Generator().manual_seed(0)
    z = torch.randint(-(2**21), 2**21, (2, 2, 2, config.hyper_channels), generator=generator)
    size = (2, 8, 7, config.latent_channels)
    symbols = torch.randint(-300, 300, size, generator=generator)
    symbols *= torch.randint(0, 2, size, generator=generator)
    batch = network.start(z, 5, 8, 7)
    alone = [network.start(z[i : i + 1], 5, 8, 7) for i in range(2)]
    base = reference_decoder.base_indices(integers, 5, z[0].numpy())[:8, :7]
    known = torch.zeros_like(symbols)
    for step in range(STEPS):
        found = batch.next()
        assert found.unique().numel() > 2
        assert torch.equal(torch.cat([each.next() for each in alone]), found)
        args = integers, 5, base, known[0].numpy(), step
        expected = torch.from_numpy(reference_decoder.scale_indices(*args))[None]
        assert torch.equal(of_step(expected, step).to(torch.uint8), found[:1])
        batch.see(of_step(symbols, step))
        for i, each in enumerate(alone):
            each.see(of_step(symbols[i : i + 1], step))
        for place in places(step):
            place.values(known).copy_(place.values(symbols))


@pytest.mark.parametrize("level", [0, 40, 63])
def test_bits_are_those_of_the_tables(model: LoadedModel, level: int) -> None:
    coded = model.latents.quantise(*random_latents(model.config, 2), level)
    tables = model.symbols.tables
    expected = sum(tables.bits(*block) for blocks in coded.blocks() for block in blocks)
    assert any(np.abs(symbols).max() > 100 for blocks in coded.blocks() for symbols, _ in blocks)
    assert model.latents.bits(coded) == pytest.approx(expected, rel=1e-6)


def test_bits_of_positions_are_those_of_all(model: LoadedModel) -> None:
    """But for the hyper-latent, and symbols that are too large to be rated."""
    latent, hyper = random_latents(model.config, 2)
    coded = model.latents.quantise(latent.clamp(-20, 20), hyper, 40)
    found = model.latents.position_bits(coded)
    assert found.shape == latent.shape[:3]
    tables = model.symbols.tables
    for group, blocks in zip(found, coded.blocks(), strict=True):
        rated = [(np.clip(symbols, -32, 32), index) for symbols, index in blocks[1:]]
        assert float(group.sum()) == pytest.approx(sum(tables.bits(*b) for b in rated), rel=1e-4)
    alone = latent.clone()
    alone[:, 5, 2] += 3
    changed = model.latents.position_bits(model.latents.quantise(alone.clamp(-20, 20), hyper, 40))
    assert (changed != found)[:, 5, 2].all()


def test_not_a_number_does_not_reach_the_file(model: LoadedModel) -> None:
    latent, hyper = random_latents(model.config, 1, 4, 4)
    latent[0, 0, 0, 0], latent[0, 1, 1, 1], hyper[0, 0, 0, 0] = (
        float("nan"),
        float("inf"),
        -float("inf"),
    )
    symbols = symbols_of(model, streams_of(model, latent, hyper, 20))
    assert torch.isfinite(model.latents.reconstruct(symbols, 20)).all()


@pytest.mark.gpu
@pytest.mark.parametrize("quality", [1, 60, 100])
def test_cuda_and_cpu_read_each_other(photo: np.ndarray, codec: Codec, quality: int) -> None:
    cuda = Codec(device="cuda")
    for data in (codec.encode(photo, quality), cuda.encode(photo, quality)):
        here, there = np.asarray(codec.decode(data)), np.asarray(cuda.decode(data))
        assert np.abs(here.astype(int) - there.astype(int)).max() <= 2


def test_networks_work_where_they_are(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device without arithmetic, which like any other takes no part in what others compute."""
    meta, entry = torch.device("meta"), registry.find(None)
    elsewhere = LoadedModel(model.config, entry.tune, load_file(entry.path), meta)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(Tensor, "cpu", lambda x: torch.zeros(x.shape, dtype=x.dtype))
    latent, hyper = elsewhere.analyse([np.zeros((100, 150, 3), np.uint8)] * 2, 30)
    assert latent.device == hyper.device == meta
    coded = elsewhere.latents.quantise(latent[:, :7, :10], hyper, 30)
    assert coded.latent.device == meta
    (first, *_), zeros = coded.blocks(), torch.zeros(7, 10, model.config.latent_channels)
    assert sum(len(symbols) for symbols, _ in first[1:]) == zeros.numel()
    symbols = Symbols(hyper=torch.zeros(2, 3, model.config.hyper_channels), latent=zeros)
    decoded = elsewhere.latents.reconstruct([symbols] * 2, 30)
    assert elsewhere.synthesise(decoded, 30).shape == (2, 112, 160, 3)
