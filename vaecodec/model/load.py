"""Loading a weights file into a working model."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from bitstream.entropy import Tables
from bitstream.errors import VaeError
from vaecodec.geometry import HYPER_CELL, HYPER_STRIDE, LATENT_STRIDE
from vaecodec.model.config import LEVELS, SCALES, ModelConfig
from vaecodec.model.copies import to_device
from vaecodec.model.indices import IndexNetwork, layout
from vaecodec.model.latents import LatentQuantiser
from vaecodec.model.means import Means
from vaecodec.model.precision import multiplies_in_bfloat16, set_mixed_precision
from vaecodec.model.registry import ModelEntry
from vaecodec.model.restoring import RestoringAnalysis, strengths
from vaecodec.model.symbols import GroupCoder, SymbolCoder
from vaecodec.model.transforms import Transforms, repeated
from vaecodec.quality import Degradation


class LoadedModel:
    """One model on one device: from pictures to latents, symbols and streams, and back.

    `tensors`: the contents of a weights file; transforms and means may be stored in half precision, and
    are held in single. `tune`: one of `vaecodec.quality.TUNES`. Raises KeyError, ValueError or
    RuntimeError if the tensors do not fit `config`.

    `latent_scale` (LEVELS x M): the quantisation step, in the units of decoded latents. For the
    encoder: `curvature` (LEVELS x M), used by `vaecodec.model.search`; `ranges` (LEVELS x M), beyond
    which latents of photographs hardly lie, in steps; `distortion` (LEVELS), the usual mean squared
    error of 0..255 samples.

    `symbols`: the coder of groups; `coding`: what codes them for `vaecodec.encoding` and
    `vaecodec.decoding`, either `symbols` or separate processes. `restoring`: the analysis transform for
    degraded pictures, None until it is loaded.
    """

    restoring: RestoringAnalysis | None = None

    def __init__(
        self, config: ModelConfig, tune: str, tensors: dict[str, Tensor], device: torch.device
    ) -> None:
        self.config = config
        self.tune = tune
        self.device = device
        self.symbols = symbol_coder(config, tensors)
        self.coding: GroupCoder = self.symbols
        self.transforms, self.means = Transforms(config), Means(config)
        for name, part in (("transforms.", self.transforms), ("means.", self.means)):
            part.load_state_dict(_section(tensors, name))
            part.to(device, torch.float32).eval().requires_grad_(False)
        self.latent_scale = self.transforms.log_latent_scale.table().exp()
        self.curvature = _encoder_table(tensors, "curvature", config.latent_channels).to(device)
        self.ranges = _encoder_table(tensors, "ranges", config.latent_channels).to(device)
        self.distortion = _encoder_table(tensors, "distortion").to(device)
        error_bits = _encoder_table(tensors, "error_bits", 2)
        on_host = device.type == "cpu"
        self.latents = LatentQuantiser(
            self.symbols.indices if on_host else _index_network(config, tensors, device),
            self.means,
            self.latent_scale,
            self.symbols.tables,
            config.detail_channels,
            error_bits.to(device),
        )

    @property
    def analysis_halo(self) -> int:
        """How far around a region, in latent positions, its latent and hyper-latent depend on the
        picture: one position at 1/8 per block, one at 1/16 for the hyper-analysis, rounded up to whole
        hyper-latent positions."""
        pixels = 8 * self.config.analysis_blocks + LATENT_STRIDE
        return -(-pixels // HYPER_STRIDE) * HYPER_CELL

    @property
    def synthesis_halo(self) -> int:
        """How far around a region, in latent positions, its samples depend on the latent."""
        pixels = LATENT_STRIDE * self.config.coarse_blocks + 8 * self.config.synthesis_blocks
        return -(-pixels // LATENT_STRIDE)

    @torch.no_grad()
    def analyse(
        self, pictures: Iterable[np.ndarray], level: int, degradations: Sequence[Degradation] = ()
    ) -> tuple[Tensor, Tensor]:
        """Transform pictures (uint8, H x W x 3, whose latents have equal sizes) into latents in
        quantisation steps and unrounded hyper-latents, both padded to whole cells of the latter.
        `degradations`: what to undo in each picture, if anything."""
        padded = np.stack([_padded(picture) for picture in pictures])
        x = to_device(torch.from_numpy(padded), self.device).float() / 255 - 0.5
        levels = self.levels(len(x), level)
        if degradations:
            assert self.restoring is not None
            natural = self.restoring(x, levels, strengths(degradations, self.device))
        else:
            natural = self.transforms.latent(x, levels)
        hyper = self.transforms.hyper_latent(natural, levels)
        return natural * self.transforms.latent_gain(levels), hyper

    @torch.no_grad()
    def synthesise(self, latent: Tensor, level: int) -> Tensor:
        """Transform decoded latents (float32, N x h x w x M) into samples: float32, N x 16h x 16w x 3
        on the scale 0..255, neither limited nor rounded."""
        picture = self.transforms.synthesis(latent, self.levels(1, level))
        return picture.add_(0.5).mul_(255)

    def levels(self, count: int, level: int) -> Tensor:
        """Repeat `level` for each of `count` items: int64, N."""
        return repeated(level, count, self.device)


def symbol_coder(config: ModelConfig, tensors: dict[str, Tensor]) -> SymbolCoder:
    """Return the coder of a model's groups. Raises as `LoadedModel` does."""
    tables = _section(tensors, "entropy.")
    found = Tables(
        supports=tables["supports"].numpy(),
        frequencies=tables["frequencies"].numpy(),
        skip=int(tables["skip"]),
    )
    if len(found.supports) != SCALES:
        raise ValueError(f"{SCALES} frequency tables expected")
    return SymbolCoder(_index_network(config, tensors, torch.device("cpu")), found)


def _index_network(
    config: ModelConfig, tensors: dict[str, Tensor], device: torch.device
) -> IndexNetwork:
    indices = _section(tensors, "index.")
    _check_layout(config, indices)
    return IndexNetwork(config, indices, device)


def load_model(entry: ModelEntry, device: torch.device) -> LoadedModel:
    """Load a weights file. Raises VaeError if it is not one, or not the one that `entry` describes."""
    _check_usable(device)
    with _telling(entry):
        config, tensors = _read(entry)
        # Whatever the caller's default dtype and mode, parameters are float32 and may have gradients.
        # Drawing their initial values leaves the caller's random state alone.
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
            model = LoadedModel(config, entry.tune, tensors, device)
    set_mixed_precision(model.transforms, multiplies_in_bfloat16(device))
    return model


def load_symbol_coder(entry: ModelEntry) -> SymbolCoder:
    """Load only the coder of a model's groups. Raises as `load_model` does."""
    with _telling(entry):
        return symbol_coder(*_read(entry))


def _read(entry: ModelEntry) -> tuple[ModelConfig, dict[str, Tensor]]:
    try:
        data = entry.path.read_bytes()
    except OSError as error:
        raise VaeError(f"cannot read the model ({error.strerror})").in_file(str(entry.path)) from error
    if hashlib.sha256(data).hexdigest() != entry.card["sha256"]:
        raise VaeError("the weights are not those of the model's card").in_file(str(entry.path))
    length = int.from_bytes(data[:8], "little")
    config = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["config"])
    return ModelConfig(**config), load(data)


def _check_usable(device: torch.device) -> None:
    """Raise VaeError if PyTorch cannot use the device now, for instance a GPU in a forked process."""
    try:
        torch.empty(0, device=device)
    except RuntimeError as error:
        raise VaeError(f"device {device} cannot be used ({str(error).splitlines()[0]})") from error


@contextlib.contextmanager
def _telling(entry: ModelEntry) -> Iterator[None]:
    """Turn errors about the file's contents into a VaeError that names it."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error).splitlines()[0]) from error
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise VaeError(f"not a vaecodec model ({error})").in_file(str(entry.path)) from error


def _padded(picture: np.ndarray) -> np.ndarray:
    """Pad H x W x 3 to whole positions of the hyper-latent, repeating the edge."""
    bottom, right = (-side % HYPER_STRIDE for side in picture.shape[:2])
    return np.pad(picture, ((0, bottom), (0, right), (0, 0)), mode="edge")


def _section(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _encoder_table(tensors: dict[str, Tensor], name: str, *channels: int) -> Tensor:
    table = tensors[f"encoder.{name}"]
    if tuple(table.shape) != (LEVELS, *channels):
        raise ValueError(f"encoder.{name} has the shape {tuple(table.shape)}")
    return table


def _check_layout(config: ModelConfig, indices: dict[str, Tensor]) -> None:
    for name, (shape, dtype) in layout(config).items():
        found = indices[name].numpy()
        if found.shape != shape or found.dtype != dtype:
            raise ValueError(f"index.{name} is {found.dtype} {found.shape}, not {dtype} {shape}")
