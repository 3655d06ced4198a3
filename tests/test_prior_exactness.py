"""The prior computes the same integers whatever it runs on, and however it is batched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from vaecodec.codec import Codec
from vaecodec.model import fixed_point as fp
from vaecodec.model import registry
from vaecodec.model.config import SIZES
from vaecodec.model.integer import IntegerArithmetic, integer_layout
from vaecodec.model.latents import ERROR_BITS, LatentCoder
from vaecodec.model.load import LoadedModel, load_model
from vaecodec.model.prior import (
    STEP_XOR,
    LinearSpec,
    merge_quarters,
    prior_layers,
    split_quarters,
    step_quarters,
)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(registry.find(None), torch.device("cpu"))


def random_latents(model: LoadedModel, count: int, side: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    config = model.config
    latent = torch.randn(count, side, side, config.latent_channels, generator=generator) * 4
    latent[..., 7] *= 500  # escapes
    hyper = torch.randn(count, side // 4, side // 4, config.hyper_channels, generator=generator)
    return latent, hyper * 3


def streams_of(
    coder: LatentCoder, latent: Tensor, hyper: Tensor, level: int, rows: int, columns: int
) -> list[bytes]:
    return [coder.encode(b) for b in coder.quantise(latent, hyper, level, rows, columns).blocks]


def test_steps_code_everything_once() -> None:
    assert sorted(STEP_XOR) == [0, 1, 2, 3]
    coded = {(phase, q) for step in range(4) for phase, q in enumerate(step_quarters(step))}
    assert len(coded) == 16


def test_quarters_and_back() -> None:
    x = torch.randn(2, 6, 4, 8)
    parts = split_quarters(x)
    assert torch.equal(merge_quarters(parts), x)
    assert torch.equal(parts[1, 2, 0, 0, 0], x[0, 0, 1, 4:6])  # phase 1: even row, odd column


@pytest.mark.parametrize("size", SIZES)
def test_no_sum_can_leave_the_exact_range(size: str) -> None:
    """Worst case of every accumulator: below 2^53 in the finest unit that occurs in it."""
    config = SIZES[size]
    for spec in prior_layers(config):
        terms = spec.inputs if isinstance(spec, LinearSpec) else 9
        assert terms * fp.WEIGHT_MAX * fp.ACTIVATION_MAX + 2**31 < 2**52
    assert fp.STEP_MAX * fp.GAIN_MAX < 2**52
    assert 2**21 * fp.GAIN_MAX < 2**52  # largest hyper symbol the entropy coder can return


@pytest.mark.parametrize("level", [0, 31, 63])
def test_threads_batches_and_layouts_agree(model: LoadedModel, level: int) -> None:
    latent, hyper = random_latents(model, 3)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        batch = streams_of(model.latents, latent, hyper, level, 16, 16)
        torch.set_num_threads(4)
        assert streams_of(model.latents, latent, hyper, level, 16, 16) == batch
        strided = latent.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
        apart = torch.zeros(3, 16, 16, 2 * latent.shape[3])
        apart[..., ::2] = latent
        assert streams_of(model.latents, strided, hyper, level, 16, 16) == batch
        assert streams_of(model.latents, apart[..., ::2], hyper, level, 16, 16) == batch
        single = [
            streams_of(model.latents, latent[i : i + 1], hyper[i : i + 1], level, 16, 16)[0]
            for i in range(3)
        ]
        assert single == batch
        together = model.latents.decode(batch, level, 16, 16)
        torch.set_num_threads(1)
        alone = torch.cat([model.latents.decode([s], level, 16, 16) for s in batch])
        assert torch.equal(together, alone)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (13, 16), (1, 1), (5, 2)])
def test_decoder_sees_what_the_encoder_saw(model: LoadedModel, rows: int, columns: int) -> None:
    height, width = -(-rows // 4) * 4, -(-columns // 4) * 4
    latent, hyper = random_latents(model, 2)
    latent, hyper = latent[:, :height, :width], hyper[:, : height // 4, : width // 4]
    streams = streams_of(model.latents, latent, hyper, 40, rows, columns)
    coded = model.latents.quantise(latent, hyper, 40, rows, columns)
    seen = coded.latent
    assert torch.equal(model.latents.decode(streams, 40, rows, columns), seen)
    assert not seen[:, rows:].any()
    assert not seen[:, :, columns:].any()
    # Only values under the skip rule may be off by more than one step.
    indices = np.concatenate([index for blocks in coded.blocks for _, index in blocks[1:]])
    skipped = int((indices < model.tables.skip).sum())
    off = (seen - latent)[:, :rows, :columns].abs()
    assert off.numel() == len(indices) > skipped
    assert int((off > 1 + 2**-fp.STEP_BITS).sum()) <= skipped


def test_rounding_saves_rate_and_moves_at_most_one_step(model: LoadedModel) -> None:
    generator = torch.Generator().manual_seed(1)
    index = torch.randint(0, 64, (20_000,), generator=generator).double()
    residual = torch.randn(20_000, generator=generator, dtype=torch.float64)
    residual *= 0.11 * torch.exp(index * 0.112)
    symbol = model.latents._round(residual, index, ERROR_BITS["psnr"].bits)
    nearest = torch.floor(residual + 0.5) * (index >= model.tables.skip)
    moved = nearest - symbol
    assert float(moved.abs().max()) == 1
    assert bool((symbol.abs() <= nearest.abs()).all())
    assert 0 < float((moved != 0).double().mean()) < 0.05
    indices = index.numpy().astype(np.uint8)
    bits = [model.tables.bits(s.numpy().astype(np.int64), indices) for s in (symbol, nearest)]
    assert bits[0] < bits[1]


def test_extreme_weights_stay_exact() -> None:
    """Random full-range weights saturate everywhere, and batch, order and layout still agree."""
    config = SIZES["small"]
    rng = np.random.default_rng(1)
    tensors = {}
    for name, (shape, dtype) in integer_layout(config).items():
        if name.endswith("shift"):
            tensors[name] = torch.tensor(13, dtype=dtype)
            continue
        peak = 2**15 - 1 if dtype == torch.int16 else 2**24
        low = 1 if name.endswith("table") else -peak
        values = rng.integers(low, peak, shape)
        tensors[name] = torch.from_numpy(np.asarray(values)).to(dtype)
    tensors["hyper.index.table"] = tensors["hyper.index.table"] % 64
    entry_tables = load_model(registry.find(None), torch.device("cpu")).tables
    coder = LatentCoder(
        IntegerArithmetic(config, tensors, torch.device("cpu")), entry_tables, torch.device("cpu")
    )
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(2, 8, 8, config.latent_channels, generator=generator) * 1000
    hyper = torch.randn(2, 2, 2, config.hyper_channels, generator=generator) * 1000
    streams = streams_of(coder, latent, hyper, 5, 8, 8)
    singles = [streams_of(coder, latent[i : i + 1], hyper[i : i + 1], 5, 8, 8)[0] for i in range(2)]
    assert streams == singles
    decoded = coder.decode(streams, 5, 8, 8)
    assert torch.equal(decoded, coder.quantise(latent, hyper, 5, 8, 8).latent)


def test_not_a_number_does_not_reach_the_file(model: LoadedModel) -> None:
    latent, hyper = random_latents(model, 1, 4)
    latent[0, 0, 0, 0], latent[0, 1, 1, 1], hyper[0, 0, 0, 0] = (
        float("nan"),
        float("inf"),
        -float("inf"),
    )
    streams = streams_of(model.latents, latent, hyper, 20, 4, 4)
    assert torch.isfinite(model.latents.decode(streams, 20, 4, 4)).all()


@pytest.mark.gpu
@pytest.mark.parametrize("quality", [1, 60, 100])
def test_cuda_and_cpu_read_each_other(photo: np.ndarray, codec: Codec, quality: int) -> None:
    cuda = Codec(device="cuda")
    for data in (codec.encode(photo, quality), cuda.encode(photo, quality)):
        assert np.array_equal(codec.decode_latent(data), cuda.decode_latent(data))
        here, there = np.asarray(codec.decode(data)), np.asarray(cuda.decode(data))
        assert np.abs(here.astype(int) - there.astype(int)).max() <= 2
