"""Data sets of `.vae` files for training in PyTorch: folders, lists of paths, tar files, WebDataset."""

from __future__ import annotations

from vaecodec.data.collate import DecodeCollate
from vaecodec.data.dataset import VaeDataset
from vaecodec.data.decoder import VaeDecoder

__all__ = ["DecodeCollate", "VaeDataset", "VaeDecoder"]
