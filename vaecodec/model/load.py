"""Weights files to a working model."""

from __future__ import annotations

import json

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bitstream.entropy import Tables
from bitstream.errors import VaeError
from vaecodec.model.config import SCALES, ModelConfig
from vaecodec.model.integer import IntegerArithmetic, integer_layout
from vaecodec.model.latents import LatentCoder
from vaecodec.model.transforms import Transforms
from vaecodec.weights import ModelEntry


class LoadedModel:
    """Transforms and latent coder of one model on one device."""

    def __init__(self, entry: ModelEntry, device: torch.device) -> None:
        self.entry = entry
        self.device = device
        try:
            with safe_open(entry.path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self.config = ModelConfig(**json.loads(metadata["config"]))
            prior = _section(tensors, "prior.")
            _check_layout(self.config, prior)
            self.transforms = Transforms(self.config)
            self.transforms.load_state_dict(_section(tensors, "transforms."))
            tables = _section(tensors, "entropy.")
            self.tables = Tables(
                tables["supports"].numpy(), tables["frequencies"].numpy(), int(tables["skip"])
            )
            if len(self.tables.supports) != SCALES:
                raise ValueError(f"{SCALES} frequency tables expected")
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise VaeError(f"{entry.path}: not a vaecodec model ({error})") from error
        self.transforms.to(device).eval().requires_grad_(False)
        arithmetic = IntegerArithmetic(self.config, prior, device)
        self.latents = LatentCoder(arithmetic, self.tables, device)


def _section(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _check_layout(config: ModelConfig, prior: dict[str, Tensor]) -> None:
    for name, (shape, dtype) in integer_layout(config).items():
        tensor = prior[name]
        if tuple(tensor.shape) != shape or tensor.dtype != dtype:
            raise ValueError(
                f"prior.{name} is {tensor.dtype} {tuple(tensor.shape)}, not {dtype} {shape}"
            )
