"""Entropy coding in processes, alongside the networks.

constriction holds the interpreter's lock, so threads code only one group at a time. Processes do not
wait for one another; symbols and scale indices lie in memory that they share with this one.
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import current_process, get_context
from multiprocessing.sharedctypes import RawArray
from multiprocessing.util import Finalize
from typing import Any, TypeVar

import numpy as np
import torch

from bitstream.errors import CorruptFile
from vaecodec.geometry import GROUP, HYPER_CELL
from vaecodec.model.config import SIZES
from vaecodec.model.load import load_symbol_coder
from vaecodec.model.registry import ModelEntry
from vaecodec.model.symbols import Blocks, Stream, SymbolCoder, Symbols
from vaecodec.parallel import Ended, start_process, unheard_interrupts

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Type of symbols in shared memory; larger ones, which no photograph has, are sent instead.
_SHARED = np.dtype("<i2")
#: Size of the largest group: a symbol and a scale index for each value.
_SLOT_BYTES = max(
    (GROUP**2 * each.latent_channels + (GROUP // HYPER_CELL) ** 2 * each.hyper_channels)
    * (_SHARED.itemsize + 1)
    for each in SIZES.values()
)
#: Groups in hand per process.
_AHEAD = 2


class EntropyProcesses:
    """`count` processes, started when first needed, that live as long as this object.

    Any number of threads may use them. They take `_AHEAD * count * _SLOT_BYTES` bytes of shared memory
    (13 MB per process), and some 250 MB each.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._pool: _Pool | None = None
        self._refused = False

    def renew_lock(self) -> None:
        """For a forked process, in which nobody can release it."""
        self._lock = threading.Lock()

    def of(self, entry: ModelEntry, here: SymbolCoder) -> ProcessCoder:
        """Return the coder of a model's groups. `here`: codes them if no process can be started."""
        return ProcessCoder(self, entry, here)

    def pool(self) -> _Pool | None:
        """Return the processes, started anew after a fork or after one has ended; None in a daemonic
        process, or if the system has no room for the shared memory."""
        if current_process().daemon:
            return None
        with self._lock:
            if self._refused:
                return None
            if self._pool is None or self._pool.ended or self._pool.owner != os.getpid():
                try:
                    self._pool = _Pool(self._count)
                except OSError:
                    self._refused = True
                    return None
            return self._pool


class ProcessCoder:
    """A `vaecodec.model.symbols.GroupCoder`. Raises Ended if the system ends a process."""

    def __init__(self, processes: EntropyProcesses, entry: ModelEntry, here: SymbolCoder) -> None:
        self._processes, self._entry, self._here = processes, entry, here

    def encode_each(self, groups: Iterable[Blocks]) -> Iterator[bytes]:
        """See `GroupCoder`."""
        pool = self._processes.pool()
        if pool is None:
            return self._here.encode_each(groups)

        def begin(blocks: Blocks, slot: int) -> Future[Any]:
            shared = _put(pool.slots[slot], blocks)
            return pool.submit(_encode, self._entry, blocks if shared is None else shared, slot)

        return pool.each(groups, begin, lambda stream, _: stream)

    def decode_each(self, streams: Iterable[Stream]) -> Generator[Symbols | CorruptFile]:
        """See `GroupCoder`."""
        pool = self._processes.pool()
        if pool is None:
            return self._here.decode_each(streams)

        def begin(stream: Stream, slot: int) -> Future[Any]:
            return pool.submit(_decode, self._entry, stream, slot)

        def end(found: _Sizes | Symbols | CorruptFile, slot: int) -> Symbols | CorruptFile:
            return found.symbols(pool.slots[slot]) if isinstance(found, _Sizes) else found

        return pool.each(streams, begin, end)


class _Pool:
    """Processes, and slots of memory that they share with this one (`owner`)."""

    def __init__(self, count: int) -> None:
        self.owner, self.ended = os.getpid(), False
        number = _AHEAD * count
        self._share = number - 1  # per caller: another can always begin
        memory = RawArray("B", number * _SLOT_BYTES)
        self.slots = _slots(memory)
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(number):
            self._free.put(slot)
        self._executor = ProcessPoolExecutor(count, get_context("spawn"), _start, (memory,))
        # At exit, a process that multiprocessing started joins its own processes before the executor
        # tells them to end, for which it needs a queue that is closed at priority 10. So end them
        # first.
        Finalize(None, _shut_down, (weakref.ref(self._executor),), exitpriority=100)

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Run `work` in one of the processes."""
        return self._executor.submit(work, *arguments)

    def each(
        self,
        items: Iterable[Item],
        begin: Callable[[Item, int], Future[Any]],
        end: Callable[[Any, int], Result],
    ) -> Generator[Result]:
        """Call `begin` with every item and yield `end` of each result, in order; both are given a slot.

        A caller that holds a slot never waits for another: several might wait for one another.
        """
        running: deque[tuple[Future[Any], int]] = deque()

        def first() -> Result:
            future, slot = running[0]
            result = end(future.result(), slot)
            running.popleft()
            self._free.put(slot)
            return result

        try:
            for item in items:
                while (slot := self._slot(len(running))) is None:
                    yield first()
                try:
                    with unheard_interrupts():
                        running.append((begin(item, slot), slot))
                except BaseException as error:
                    self.ended = True  # what was begun may still write to the slot: nobody uses it
                    self._free.put(slot)  # wakes a caller that waits
                    if isinstance(error, OSError):
                        raise Ended(
                            f"no entropy coding process can be started ({error.strerror or error}): "
                            "try fewer, or none, as with --jobs 1"
                        ) from error
                    raise
            while running:
                yield first()
        except BrokenProcessPool as error:
            self.ended = True
            raise Ended(
                "an entropy coding process was ended from outside: was memory short (try fewer, or "
                "none, as with --jobs 1), or does a script that starts them lack its "
                "`if __name__ == '__main__'`?"
            ) from error
        finally:
            for future, slot in running:  # a slot is free once no process can write to it
                future.cancel()
                future.add_done_callback(partial(self._free_slot, slot))

    def _free_slot(self, slot: int, _: Future[Any]) -> None:
        self._free.put(slot)

    def _slot(self, held: int) -> int | None:
        """Take a free slot for a caller that holds `held`; wait for one only if it holds none. Raises
        Ended if the processes have ended in the meantime."""
        try:
            slot = None if held == self._share else self._free.get(block=not held)
        except queue.Empty:
            return None
        if slot is not None and self.ended:
            self._free.put(slot)
            raise Ended("the entropy coding processes have ended, which another thread was told of")
        return slot


def _shut_down(executor: weakref.ref[ProcessPoolExecutor]) -> None:
    if (left := executor()) is not None:
        left.shutdown(cancel_futures=True)


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """Shapes of the symbols in a slot."""

    hyper: tuple[int, ...]
    latent: tuple[int, ...]

    def symbols(self, slot: np.ndarray) -> Symbols:
        """Copy the symbols out of `slot`."""
        found, start = [], 0
        for shape in (self.hyper, self.latent):
            end = start + int(np.prod(shape)) * _SHARED.itemsize
            found.append(torch.from_numpy(slot[start:end].view(_SHARED).reshape(shape).copy()))
            start = end
        return Symbols(hyper=found[0], latent=found[1])


def _slots(memory: Any) -> np.ndarray:
    return np.frombuffer(memory, dtype=np.uint8).reshape(-1, _SLOT_BYTES)


def _put(slot: np.ndarray, blocks: Blocks) -> list[int] | None:
    """Put blocks into a slot and return their lengths; None if the slot cannot hold them."""
    lengths = [len(symbols) for symbols, _ in blocks]
    if sum(lengths) * (_SHARED.itemsize + 1) > len(slot):
        return None
    start = 0
    for symbols, indices in blocks:
        if np.abs(symbols).max(initial=0) > np.iinfo(_SHARED).max:
            return None
        for values, dtype in ((symbols, _SHARED), (indices, np.dtype(np.uint8))):
            end = start + len(values) * dtype.itemsize
            np.copyto(slot[start:end].view(dtype), values, casting="unsafe")
            start = end
    return lengths


# Everything below runs in the processes.

_memory: np.ndarray
_coders: dict[bytes, SymbolCoder] = {}


def _start(memory: Any) -> None:
    global _memory
    start_process(1)
    _memory = _slots(memory)


def _coder(entry: ModelEntry) -> SymbolCoder:
    if entry.id not in _coders:
        _coders[entry.id] = load_symbol_coder(entry)
    return _coders[entry.id]


def _encode(entry: ModelEntry, given: Blocks | list[int], slot: int) -> bytes:
    """Encode blocks into a stream. `given`: the blocks, or the lengths of those in the slot."""
    blocks: Blocks = []
    start = 0
    for each in given:
        if not isinstance(each, int):
            blocks.append(each)
            continue
        middle = start + each * _SHARED.itemsize
        symbols = _memory[slot, start:middle].view(_SHARED)
        blocks.append((symbols, _memory[slot, middle : middle + each]))
        start = middle + each
    return _coder(entry).encode(blocks)


def _decode(entry: ModelEntry, stream: Stream, slot: int) -> _Sizes | Symbols | CorruptFile:
    """Decode a stream into the slot and return the shapes, or the symbols if it cannot hold them."""
    try:
        symbols = _coder(entry).decode(stream)
    except CorruptFile as error:
        return error
    found = [part.numpy() for part in (symbols.hyper, symbols.latent)]
    size = sum(part.size for part in found) * _SHARED.itemsize
    largest = max(int(np.abs(part).max()) for part in found)
    if size > _SLOT_BYTES or largest > np.iinfo(_SHARED).max:
        return symbols
    start = 0
    for part in found:
        end = start + part.size * _SHARED.itemsize
        np.copyto(_memory[slot, start:end].view(_SHARED).reshape(part.shape), part, casting="unsafe")
        start = end
    return _Sizes(hyper=found[0].shape, latent=found[1].shape)
