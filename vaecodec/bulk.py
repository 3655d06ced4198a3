"""Any number of pictures or files: read, sorted into batches for the networks, several batches at a
time, and returned in their order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import torch
from PIL import Image

from bitstream.errors import BadType, BadValue
from vaecodec import parallel
from vaecodec.cores import usable_cores
from vaecodec.parallel import FAILURES, Failure, settled

Item = TypeVar("Item")
Read = TypeVar("Read")
Result = TypeVar("Result")

OnError = Literal["raise", "return"]

#: Where batches pay: most items, and most pixels, that are read before they are sorted into batches.
#: With few items, windows shrink so that every thread has one, but not below LEAST_WINDOW.
WINDOW = 32
WINDOW_PIXELS = 2**25
LEAST_WINDOW = 8
#: Most pixels that pass through the networks at once; bounds the memory of a batch.
BATCH_PIXELS = 2**23


@dataclass(frozen=True, kw_only=True)
class Steps(Generic[Item, Read, Result]):
    """What is done with every item.

    - `take`: turns the item, in the caller's thread, into one that can no longer change: files and
      pictures of one source often share a position or a buffer;
    - `pixels`: tells roughly how many pixels a taken item has, at little cost;
    - `read`: turns the item into what passes through the networks;
    - `shape`: returns what must be equal for items to do so together, height and width first;
    - `work`: turns items of one shape into their results.
    """

    take: Callable[[Item], Item]
    pixels: Callable[[Item], int]
    read: Callable[[Item], Read]
    shape: Callable[[Read], tuple[Any, ...]]
    work: Callable[[Sequence[Read]], Sequence[Result]]


def each(
    items: Iterable[Item],
    steps: Steps[Item, Read, Result],
    device: torch.device,
    on_error: OnError,
) -> Iterator[Result | Failure]:
    """Yield the result of every item, in order; `on_error`: as in `Codec.encode_batch`.

    On the CPU a batch is one picture: several would push each other out of the caches, and threads that
    each have their own picture need not wait for one another after every layer.
    """
    if not isinstance(on_error, str) or on_error not in ("raise", "return"):
        raise BadValue(f'on_error must be "raise" or "return", not {on_error!r}')
    most = 1 if parallel.is_worker() else parallel.THREADS_AT_MOST
    jobs = min(usable_cores(), torch.get_num_threads(), most)
    count = len(items) if isinstance(items, Sized) else None
    size = window_of(device, count, jobs)
    if count is not None:
        jobs = max(1, min(jobs, -(-count // size)))
    return _results(items, steps, device, size, jobs, on_error)


def _as_the_caller(device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """Return what makes the context in which worker threads use the caller's CUDA stream, not their
    own: what the caller does next then waits for what they do."""
    if device.type == "cpu":
        return nullcontext
    stream = torch.cuda.current_stream(device)
    return lambda: torch.cuda.stream(stream)  # sets the device too


def window_of(device: torch.device, count: int | None, jobs: int) -> int:
    """Return how many items, at most, are sorted into batches at a time in each of `jobs` threads.
    `count`: number of all items, if known."""
    if device.type == "cpu":
        return 1
    return WINDOW if count is None else min(WINDOW, max(LEAST_WINDOW, -(-count // jobs)))


def windows(items: Iterable[Item], pixels: Callable[[Item], int], most: int) -> Iterator[list[Item]]:
    """Yield lists of items that are sorted into batches together: at most `most` items and, unless
    `most` is one, WINDOW_PIXELS pixels. The last list holds what is left, even if `items` then raises
    an error."""
    window: list[Item] = []
    left = WINDOW_PIXELS
    rest = iter(items)
    while True:
        try:
            item = next(rest)
        except StopIteration:
            break
        except Exception:  # from the caller's iterator
            if window:
                yield window
            raise
        size = pixels(item) if most > 1 else 0
        if window and size > left:
            yield window
            window, left = [], WINDOW_PIXELS
        window.append(item)
        left -= size
        if len(window) == most:
            yield window
            window, left = [], WINDOW_PIXELS
    if window:
        yield window


def _pixels_of(steps: Steps[Item, Read, Result]) -> Callable[[Item | Failure], int]:
    return lambda item: 0 if isinstance(item, FAILURES) else steps.pixels(item)


def _results(
    items: Iterable[Item],
    steps: Steps[Item, Read, Result],
    device: torch.device,
    size: int,
    jobs: int,
    on_error: OnError,
) -> Iterator[Result | Failure]:
    on_device = _as_the_caller(device)

    def work(window: list[Item | Failure]) -> list[Result | Failure]:
        with on_device():
            return _window(window, steps)

    # In turn, each item is finished before the next is taken, so `take` is not needed.
    in_turn = jobs == 1 and size == 1
    taken = items if in_turn else (settled(steps.take, item) for item in items)
    for _, results in parallel.in_threads(
        windows(taken, _pixels_of(steps), size), work, jobs, in_order=True
    ):
        if isinstance(results, FAILURES):
            raise results
        for result in results:
            if on_error == "raise" and isinstance(result, FAILURES):
                raise result
            yield result


def _window(
    window: Sequence[Item | Failure], steps: Steps[Item, Read, Result]
) -> list[Result | Failure]:
    read = [item if isinstance(item, FAILURES) else settled(steps.read, item) for item in window]
    results: dict[int, Result | Failure] = {}
    intact: dict[int, Read] = {}
    for i, found in enumerate(read):
        if isinstance(found, FAILURES):
            results[i] = found
        else:
            intact[i] = found
    for chosen in _batches({i: steps.shape(found) for i, found in intact.items()}):
        together = settled(steps.work, [intact[i] for i in chosen])
        if not isinstance(together, FAILURES):
            results |= zip(chosen, together, strict=True)
        elif len(chosen) == 1:
            results[chosen[0]] = together
        else:  # one of them is bad, or all together need too much memory
            for i in chosen:
                alone = settled(steps.work, [intact[i]])
                results[i] = alone if isinstance(alone, FAILURES) else alone[0]
    return [results[i] for i in range(len(window))]


def members(batch: Iterable[Item], what: str) -> list[Item]:
    """Return the items of a batch as a list. Raises as `several` does."""
    return list(several(batch, what))


def several(batch: Iterable[Item], what: str) -> Iterable[Item]:
    """Return `batch`. Raises BadType if it is a single item, or no batch at all."""
    single = isinstance(batch, (str, bytes, bytearray, memoryview, os.PathLike, Image.Image))
    if single or hasattr(batch, "read") or not isinstance(batch, Iterable):
        raise BadType(f"a batch is a sequence of {what}, not {type(batch).__name__}")
    dimensions = getattr(batch, "ndim", 4)
    if dimensions != 4:
        raise BadType(f"a batch of {what} in one array has 4 dimensions, not {dimensions}")
    return batch


def _batches(shapes: dict[int, tuple[Any, ...]]) -> Iterator[list[int]]:
    """Yield the numbers of items of equal shape, at most `BATCH_PIXELS` pixels at a time."""
    by_shape: dict[tuple[Any, ...], list[int]] = {}
    for i, shape in shapes.items():
        by_shape.setdefault(shape, []).append(i)
    for shape, numbers in by_shape.items():
        most = max(1, BATCH_PIXELS // (shape[0] * shape[1]))
        yield from (numbers[start : start + most] for start in range(0, len(numbers), most))
