"""The entropy coder: integer symbols, each with a scale index, to one ANS stream and back.

Symbols that share a scale index share a frequency table, so a block of symbols is coded table by
table: one call per table instead of one model per symbol. Symbols of the smallest scale indices are
almost certainly zero and are not coded at all (skip rule). A value outside its table's support is
coded as an escape symbol, and its tail, similar to Elias's gamma code (Elias, 1975), follows after all
tables of the block. The coder is constriction's ANS (Duda, 2013; Bamler, 2022) with 32-bit words and
24-bit frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import constriction
import numpy as np

from bitstream.errors import CorruptFile

AnsCoder = constriction.stream.stack.AnsCoder
Categorical = constriction.stream.model.Categorical
Uniform = constriction.stream.model.Uniform

TOTAL_BITS = 24
#: Most bits in the tail of an escaped value, sign included; the format has no larger values.
MAX_TAIL_BITS = 22


@dataclass(kw_only=True)
class Tables:
    """Integer frequency tables, one per scale index, as shipped with the weights.

    `supports`: int, (S,): table s codes the values -supports[s]..supports[s], then the escape.
    `frequencies`: int, flat: 2 * supports[s] + 2 entries per table, each at least 1, adding up to
    2^24 in every table. `skip`: scale indices below this are not coded. Raises ValueError for tables
    that violate this.
    """

    supports: np.ndarray
    frequencies: np.ndarray
    skip: int
    _models: list[Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        lengths = 2 * np.asarray(self.supports, dtype=np.int64) + 2
        if lengths.sum() != len(self.frequencies) or lengths.min() < 2:
            raise ValueError("the frequency tables do not have the lengths their supports ask for")
        self._models = []
        for table in np.split(np.asarray(self.frequencies), np.cumsum(lengths)[:-1]):
            if table.min() < 1 or table.sum() != 2**TOTAL_BITS:
                raise ValueError(f"a frequency table does not add up to 2^{TOTAL_BITS}")
            # Given n integers that add up to 2^24 - n, constriction's fast quantisation multiplies
            # by exactly one and then adds one to each entry, so nothing is rounded.
            weights = (table - 1).astype(np.float64)
            self._models.append(Categorical(weights, lazy=False, perfect=False))

    def bits(self, symbols: np.ndarray, indices: np.ndarray) -> float:
        """Ideal code length of `symbols` under `indices`, in bits; skipped symbols cost nothing."""
        coded = [s for s in np.unique(indices) if s >= self.skip]
        return sum(float(self.symbol_bits(int(s), symbols[indices == s]).sum()) for s in coded)

    def least_bits(self) -> np.ndarray:
        """Ideal code length of every table's most probable symbol, in bits: float, (S,)."""
        starts = np.cumsum(np.concatenate(([0], 2 * np.asarray(self.supports)[:-1] + 2)))
        bits = TOTAL_BITS - np.log2(np.maximum.reduceat(np.asarray(self.frequencies), starts))
        return np.where(np.arange(len(bits)) < self.skip, 0.0, bits)

    def symbol_bits(self, index: int, symbols: np.ndarray) -> np.ndarray:
        """Ideal code length of each of `symbols` under scale index `index`, in bits."""
        start, support = 2 * int((self.supports[:index] + 1).sum()), int(self.supports[index])
        excess = np.abs(symbols) - support
        codes = np.where(excess > 0, 2 * support + 1, symbols + support)
        bits = TOTAL_BITS - np.log2(np.asarray(self.frequencies)[start + codes])
        tails = np.log2(MAX_TAIL_BITS) + np.floor(np.log2(np.maximum(excess, 1))) + 1
        return np.where(excess > 0, bits + tails, bits)


def _segments(tables: Tables, indices: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Return the positions of a block's coded symbols, in coding order, and (table, start, end) for
    every table in use."""
    coded = np.flatnonzero(indices >= tables.skip)
    of_coded = indices[coded].astype(np.uint8)  # radix-sorted by numpy, several times as fast
    order = np.argsort(of_coded, kind="stable")
    tables_from = np.searchsorted(of_coded[order], np.arange(len(tables.supports) + 1))
    segments = [
        (s, int(start), int(end)) for s, (start, end) in enumerate(pairwise(tables_from)) if end > start
    ]
    return coded[order], segments


def _supports(tables: Tables, segments: list[tuple[int, int, int]]) -> np.ndarray:
    """Return the support of the table that codes each symbol, in coding order."""
    used = np.array([s for s, _, _ in segments], dtype=np.int64)
    lengths = np.array([end - start for _, start, end in segments], dtype=np.int64)
    return np.repeat(tables.supports[used].astype(np.int32), lengths)


def encode(tables: Tables, blocks: Sequence[tuple[np.ndarray, np.ndarray]]) -> bytes:
    """Encode blocks of (symbols, scale indices), both 1-D and equally long, into one stream.

    Symbols exceed the support of their table by less than 2^22; those under the skip rule must be 0.
    The stream is a sequence of little-endian 32-bit words.
    """
    coder = AnsCoder()
    # ANS is last in, first out: everything is pushed in the reverse of the order in which it is read.
    for symbols, indices in reversed(blocks):
        order, segments = _segments(tables, indices)
        ordered = symbols[order].astype(np.int32)
        supports = _supports(tables, segments)
        escaped = np.abs(ordered) > supports
        if np.count_nonzero(symbols) > np.count_nonzero(ordered):
            raise ValueError("a symbol under the skip rule is not zero")
        codes = np.where(escaped, 2 * supports + 1, ordered + supports)
        if escaped.any():
            _encode_tails(coder, ordered[escaped], supports[escaped])
        for s, start, end in reversed(segments):
            coder.encode_reverse(codes[start:end], tables._models[s])
    return coder.get_compressed().astype("<u4").tobytes()


def _encode_tails(coder: Any, values: np.ndarray, supports: np.ndarray) -> None:
    excess = np.abs(values) - supports  # at least 1
    if excess.max() >= 2**MAX_TAIL_BITS:
        raise ValueError("a symbol is too large to be coded")
    bits = np.frexp(excess.astype(np.float64))[1]  # bit length
    # The leading one of the excess is implied by its bit length; the sign takes its place.
    tails = ((excess - (1 << (bits - 1))) << 1) | (values < 0)
    coder.encode_reverse(tails.astype(np.int32), Uniform(), (1 << bits).astype(np.int32))
    coder.encode_reverse(bits.astype(np.int32) - 1, Uniform(MAX_TAIL_BITS))


class Decoder:
    """Decodes what `encode` wrote, block by block.

    Any ANS stream decodes to some symbols: damage is found by checksums and by `finish`, not here.
    Raises CorruptFile if the words cannot be an ANS stream at all.
    """

    def __init__(self, tables: Tables, stream: bytes) -> None:
        if len(stream) % 4:
            raise CorruptFile(f"a stream of {len(stream)} bytes is not a whole number of words")
        words = np.frombuffer(stream, dtype="<u4").astype(np.uint32)
        if len(words) and words[-1] == 0:
            raise CorruptFile("a stream ends in a zero word")
        self._tables = tables
        self._coder = AnsCoder(words)

    def decode(self, indices: np.ndarray) -> np.ndarray:
        """Return the symbols (int32) of the next block, given its scale indices (1-D, 0..S-1)."""
        order, segments = _segments(self._tables, indices)
        codes = np.empty(len(order), dtype=np.int32)
        for s, start, end in segments:
            codes[start:end] = self._coder.decode(self._tables._models[s], end - start)
        supports = _supports(self._tables, segments)
        ordered = codes - supports
        escaped = np.flatnonzero(ordered > supports)
        if len(escaped):
            ordered[escaped] = self._decode_tails(supports[escaped])
        symbols = np.zeros(len(indices), dtype=np.int32)
        symbols[order] = ordered
        return symbols

    def _decode_tails(self, supports: np.ndarray) -> np.ndarray:
        bits = self._coder.decode(Uniform(MAX_TAIL_BITS), len(supports)) + 1
        tails = self._coder.decode(Uniform(), (1 << bits).astype(np.int32))
        excess = (tails >> 1) + (1 << (bits - 1))
        return np.where(tails & 1, -(excess + supports), excess + supports)

    def finish(self) -> None:
        """Raise CorruptFile unless the stream has been used up."""
        if not self._coder.is_empty():
            raise CorruptFile("a stream holds more data than its group needs")
