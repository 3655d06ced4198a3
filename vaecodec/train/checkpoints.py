"""Checkpoints: float weights with the record of their training, to resume from or to export."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from bitstream.errors import VaeError
from vaecodec.files import write_whole
from vaecodec.model.config import ModelConfig
from vaecodec.quality import TUNES
from vaecodec.train.model import TrainableCodec


def save_checkpoint(path: Path, state: dict[str, Tensor], about: dict[str, object]) -> None:
    """Write float weights, or replace them. Raises VaeError."""
    tensors = {k: v.detach().to("cpu", torch.float32).contiguous() for k, v in state.items()}
    write_whole(path, save(tensors, {"vaecodec": json.dumps(about)}), force=True)


def read_model(path: Path) -> tuple[TrainableCodec, dict]:
    """Load the model of a checkpoint and the record of its training. Raises VaeError."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["vaecodec"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model = TrainableCodec(ModelConfig(**about["config"]))
        model.load_weights(weights)
        if about.get("tune") in TUNES:
            model.set_tune(about["tune"])
        return model, about
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise VaeError(f"{path}: not a vaecodec training checkpoint ({error})") from error
