"""Symbols of groups to streams and back: on the CPU, the index network drives the entropy coder, with
results that are the same to the last bit on every machine.

A group is a rectangle of at most 64 x 64 latent positions, coded without looking beyond its edge.
Order within a group's stream: the hyper-latent (rows, columns, channels), then, for each of the prior's
four steps, the values of phases 0..3, each in order of rows, columns, channels.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bitstream import entropy
from bitstream.errors import CorruptFile
from vaecodec.geometry import HYPER_CELL
from vaecodec.model.indices import IndexNetwork
from vaecodec.model.quadtree import STEPS, by_place

#: The symbols of one group, block by block in coding order, each with its scale indices.
Blocks = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """The stream of a group of `rows` x `columns` latent positions at a quality level."""

    data: bytes
    level: int
    rows: int
    columns: int


@dataclass(frozen=True, kw_only=True)
class Symbols:
    """Decoded symbols of a group, integers: `hyper` (h x w x Z) and `latent` (rows x columns x M),
    where h and w are rows and columns in cells of the hyper-latent, rounded up."""

    hyper: Tensor
    latent: Tensor


class SymbolSource(Protocol):
    """A source of symbols, block by block, such as `bitstream.entropy.Decoder`."""

    def decode(self, indices: np.ndarray) -> np.ndarray:
        """Return the symbols (int32) of the next block, given its scale indices (1-D)."""


class GroupCoder(Protocol):
    """Codes one group after the other: a `SymbolCoder`, or processes that have one each."""

    def encode_each(self, groups: Iterable[Blocks]) -> Iterator[bytes]:
        """Yield the stream of every group, in order."""

    def decode_each(self, streams: Iterable[Stream]) -> Generator[Symbols | CorruptFile]:
        """Yield the symbols of every stream, in order, or what is wrong with it."""


class SymbolCoder:
    """Codes groups one at a time. `indices` must be on the CPU."""

    def __init__(self, indices: IndexNetwork, tables: entropy.Tables) -> None:
        self.indices, self.tables = indices, tables
        self._hyper_indices = indices.hyper_table.numpy()
        self._least_bits = tables.least_bits()

    def encode(self, blocks: Blocks) -> bytes:
        """Encode a group into its stream."""
        return entropy.encode(self.tables, blocks)

    def encode_each(self, groups: Iterable[Blocks]) -> Iterator[bytes]:
        """See `GroupCoder`."""
        return map(self.encode, groups)

    def least_bytes(self, level: int, rows: int, columns: int) -> int:
        """Least size of the stream of a group of `rows` x `columns` positions, in bytes: half of what
        the most probable hyper-latent takes."""
        positions = -(-rows // HYPER_CELL) * -(-columns // HYPER_CELL)
        return int(positions * self._least_bits[self._hyper_indices[level]].sum() / 16)

    def decode(self, stream: Stream) -> Symbols:
        """Decode a stream. Raises CorruptFile if it is invalid, or holds more than its group."""
        decoder = entropy.Decoder(self.tables, stream.data)
        symbols = self.read(decoder, stream.level, stream.rows, stream.columns)
        decoder.finish()
        return symbols

    def decode_each(self, streams: Iterable[Stream]) -> Generator[Symbols | CorruptFile]:
        """See `GroupCoder`."""
        for stream in streams:
            try:
                yield self.decode(stream)
            except CorruptFile as error:
                yield error

    @torch.no_grad()
    def read(self, source: SymbolSource, level: int, rows: int, columns: int) -> Symbols:
        """Read the symbols (int32) of a group of `rows` x `columns` positions from any source."""
        cells = -(-rows // HYPER_CELL), -(-columns // HYPER_CELL)
        found = source.decode(np.tile(self._hyper_indices[level], cells[0] * cells[1]))
        hyper = torch.from_numpy(found.reshape(1, *cells, -1))
        indices = self.indices.start(hyper, level, rows, columns)
        latent = torch.empty((1, rows, columns, self.indices.channels), dtype=torch.int32, device="cpu")
        for step in range(STEPS):
            index = indices.next()
            values = torch.from_numpy(source.decode(index.numpy().reshape(-1))).view(index.shape)
            for place, part in by_place(values, latent, step):
                place.values(latent).copy_(part)
            if step < STEPS - 1:
                indices.see(values)
        return Symbols(hyper=hyper[0], latent=latent[0])
