"""The entropy coder: golden bytes, an independent decoder, round trips, damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitstream import entropy
from bitstream.errors import CorruptFile


def make_tables() -> entropy.Tables:
    """Four tables: one under the skip rule, a narrow, a wide, and one with unequal sides."""
    tables = []
    for support, centre in ((1, 2**24 - 30), (1, 12_000_000), (20, 1_000_000), (3, 9_000_000)):
        length = 2 * support + 2
        rest = 2**24 - centre
        table = np.full(length, rest // (length - 1))
        table[support] = centre
        table[0] += 2**24 - table.sum()
        tables.append(table)
    return entropy.Tables(supports=np.array([1, 1, 20, 3]), frequencies=np.concatenate(tables), skip=1)


TABLES = make_tables()
SYMBOLS = np.array([0, 1, -1, 0, 15, -20, 21, -300, 2, 0, -4, 0])
INDICES = np.array([0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 0], dtype=np.uint8)
GOLDEN = "64d1fe960200e6fe340a1200"


def test_golden_bytes() -> None:
    assert entropy.encode(TABLES, [(SYMBOLS, INDICES)]).hex() == GOLDEN


class PlainAns:
    """An independent ANS decoder, written from docs/format.md, section 4."""

    def __init__(self, stream: bytes) -> None:
        self.words = [int(w) for w in np.frombuffer(stream, "<u4")]
        self.state = self.words.pop() if self.words else 0
        while self.state < 2**32 and self.words:
            self.refill()

    def refill(self) -> None:
        self.state = self.state << 32 | self.words.pop()

    def symbol(self, frequencies: list[int]) -> int:
        quantile, start, symbol = self.state % 2**24, 0, 0
        while start + frequencies[symbol] <= quantile:
            start += frequencies[symbol]
            symbol += 1
        self.state = frequencies[symbol] * (self.state >> 24) + quantile - start
        if self.state < 2**32 and self.words:
            self.refill()
        return symbol

    def uniform(self, count: int) -> int:
        each = 2**24 // count
        return self.symbol([each] * (count - 1) + [2**24 - each * (count - 1)])


def table(s: int) -> list[int]:
    starts = np.concatenate(([0], np.cumsum(2 * TABLES.supports + 2)))
    return TABLES.frequencies[starts[s] : starts[s + 1]].tolist()


def test_an_independent_decoder_reads_the_integer_tables_exactly() -> None:
    """Nothing in constriction's model building rounds: frequencies are those of the tables."""
    rng = np.random.default_rng(5)
    indices = np.full(4000, 2, dtype=np.uint8)
    symbols = rng.integers(-20, 21, len(indices))
    stream = entropy.encode(TABLES, [(symbols, indices)])
    ans = PlainAns(stream)
    assert [ans.symbol(table(2)) - 20 for _ in indices] == symbols.tolist()


def test_an_independent_decoder_reads_escapes() -> None:
    """The golden block, symbol by symbol: tables in order, then bit lengths, then tails."""
    ans = PlainAns(bytes.fromhex(GOLDEN))
    assert [ans.symbol(table(1)) for _ in range(3)] == [1 + 1, -1 + 1, 0 + 1]
    assert [ans.symbol(table(2)) for _ in range(4)] == [15 + 20, -20 + 20, 41, 41]
    assert [ans.symbol(table(3)) for _ in range(3)] == [2 + 3, 0 + 3, 7]
    bits = [ans.uniform(22) + 1 for _ in range(3)]
    assert bits == [1, 9, 1]  # 21 - 20 = 1, 300 - 20 = 280, 4 - 3 = 1
    assert [ans.uniform(2**b) for b in bits] == [0, ((280 - 256) << 1) | 1, 1]
    assert (ans.state, ans.words) == (0, [])


@given(st.lists(st.lists(st.tuples(st.integers(-(2**20), 2**20), st.integers(0, 3)), max_size=60)))
def test_round_trip(blocks: list[list[tuple[int, int]]]) -> None:
    arrays = []
    for block in blocks:
        indices = np.array([index for _, index in block], dtype=np.uint8)
        symbols = np.array([value if index else 0 for value, index in block], dtype=np.int64)
        arrays.append((symbols, indices))
    decoder = entropy.Decoder(TABLES, entropy.encode(TABLES, arrays))
    for symbols, indices in arrays:
        assert np.array_equal(decoder.decode(indices), symbols)
    decoder.finish()


def test_size_is_the_ideal_code_length() -> None:
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 4, 50_000).astype(np.uint8)
    symbols = np.where(indices == 0, 0, rng.integers(-2, 3, len(indices)))
    bits = TABLES.bits(symbols, indices)
    size = 8 * len(entropy.encode(TABLES, [(symbols, indices)]))
    assert bits <= size + 1
    assert size < 1.001 * bits + 64


def test_skipped_symbols_cost_nothing() -> None:
    zeros = np.zeros(1000, dtype=np.int64)
    assert entropy.encode(TABLES, [(zeros, np.zeros(1000, dtype=np.uint8))]) == b""
    with pytest.raises(ValueError, match="skip"):
        entropy.encode(TABLES, [(np.array([1]), np.array([0], dtype=np.uint8))])


def test_values_beyond_the_format_are_refused() -> None:
    index, support = np.array([1], dtype=np.uint8), int(TABLES.supports[1])
    for largest in (support + 2**22 - 1, -support - 2**22 + 1):
        decoder = entropy.Decoder(TABLES, entropy.encode(TABLES, [(np.array([largest]), index)]))
        assert decoder.decode(index) == largest
    with pytest.raises(ValueError, match="too large"):
        entropy.encode(TABLES, [(np.array([support + 2**22]), index)])


@pytest.mark.parametrize("stream", [b"\x01\x02\x03", b"\x01\x00\x00\x00\x00\x00\x00\x00"])
def test_what_is_no_stream(stream: bytes) -> None:
    with pytest.raises(CorruptFile):
        entropy.Decoder(TABLES, stream)


def test_left_over_data_is_noticed() -> None:
    decoder = entropy.Decoder(TABLES, entropy.encode(TABLES, [(SYMBOLS, INDICES)]))
    decoder.decode(INDICES[:3])
    with pytest.raises(CorruptFile, match="more data"):
        decoder.finish()


@given(st.binary(max_size=64), st.lists(st.integers(0, 3), max_size=200))
def test_garbage_decodes_to_something(stream: bytes, indices: list[int]) -> None:
    try:
        decoder = entropy.Decoder(TABLES, stream)
    except CorruptFile:
        return
    assert len(decoder.decode(np.array(indices, dtype=np.uint8))) == len(indices)


@pytest.mark.parametrize(
    ("supports", "frequencies"),
    [([1], [1, 2**24 - 2, 1]), ([1], [1, 2**24 - 3, 1, 2]), ([1], [0, 2**24 - 2, 1, 1])],
)
def test_impossible_tables(supports: list[int], frequencies: list[int]) -> None:
    with pytest.raises(ValueError, match="frequency table"):
        entropy.Tables(supports=np.array(supports), frequencies=np.array(frequencies), skip=0)
