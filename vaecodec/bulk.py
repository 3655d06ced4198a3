"""Any number of pictures or files: read, sorted into batches for the networks, and given back in their
order, several batches at a time."""

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

#: Items that are read before they are sorted into batches, where batches pay: so many, or of so many
#: pixels; fewer where every thread is to have some, but not too few for a batch.
WINDOW = 32
WINDOW_PIXELS = 2**25
LEAST_WINDOW = 8
#: Pixels that pass through the networks at once; bounds the memory of a batch.
BATCH_PIXELS = 2**23


@dataclass(frozen=True, kw_only=True)
class Steps(Generic[Item, Read, Result]):
    """What is done with every item.

    - `take`: the item, in the caller's thread as it is taken, to one that does not change any more:
      files and pictures of one source often share a position or a buffer;
    - `pixels`: of an item taken, about, at little cost;
    - `read`: the item to what passes through the networks;
    - `shape`: what is equal in items that can do so together, height and width first;
    - `work`: those of one shape to their results.
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
    """The result of every item, in their order; `on_error` as `Codec.encode_batch` has it.

    On the CPU a batch is one picture: several would push each other out of the caches, and threads of
    which each has its own picture need not wait for one another after every layer.
    """
    if on_error not in ("raise", "return"):
        raise BadValue(f'on_error must be "raise" or "return", not {on_error!r}')
    jobs = min(usable_cores(), torch.get_num_threads(), parallel.THREADS_AT_MOST)
    count = len(items) if isinstance(items, Sized) else None
    size = window_of(device, count, jobs)
    if count is not None:
        jobs = max(1, min(jobs, -(-count // size)))
    return _results(items, steps, device, size, jobs, on_error)


def _as_the_caller(device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """For threads, where a GPU's current stream is another: the caller's, so that what follows there
    waits for what they do."""
    if device.type == "cpu":
        return nullcontext
    stream = torch.cuda.current_stream(device)
    return lambda: torch.cuda.stream(stream)  # and its device


def window_of(device: torch.device, count: int | None, jobs: int) -> int:
    """Of `count` items, or of no known number, how many are sorted into batches at a time, at most, in
    `jobs` threads."""
    if device.type == "cpu":
        return 1
    return WINDOW if count is None else min(WINDOW, max(LEAST_WINDOW, -(-count // jobs)))


def windows(items: Iterable[Item], pixels: Callable[[Item], int], most: int) -> Iterator[list[Item]]:
    """Lists of as many items as go through the networks side by side: at most `most` and, unless it is
    one, WINDOW_PIXELS. The last one has what is left, also where `items` then raises an error."""
    window: list[Item] = []
    left = WINDOW_PIXELS
    rest = iter(items)
    while True:
        try:
            item = next(rest)
        except StopIteration:
            break
        except Exception:  # of the caller
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

    # One after the other, each is done with before the next is there.
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
        else:  # one of them is bad, or they are too many
            for i in chosen:
                alone = settled(steps.work, [intact[i]])
                results[i] = alone if isinstance(alone, FAILURES) else alone[0]
    return [results[i] for i in range(len(window))]


def members(batch: Iterable[Item], what: str) -> list[Item]:
    """The items of a batch. Raises BadType for what is one item, or none."""
    return list(several(batch, what))


def several(batch: Iterable[Item], what: str) -> Iterable[Item]:
    """`batch`, or BadType for what is one item, or none."""
    single = isinstance(batch, (str, bytes, bytearray, memoryview, os.PathLike, Image.Image))
    if single or hasattr(batch, "read") or not isinstance(batch, Iterable):
        raise BadType(f"a batch is a sequence of {what}, not {type(batch).__name__}")
    dimensions = getattr(batch, "ndim", 4)
    if dimensions != 4:
        raise BadType(f"a batch of {what} in one array has 4 dimensions, not {dimensions}")
    return batch


def _batches(shapes: dict[int, tuple[Any, ...]]) -> Iterator[list[int]]:
    """Numbers of items of equal shape, at most `BATCH_PIXELS` at a time."""
    by_shape: dict[tuple[Any, ...], list[int]] = {}
    for i, shape in shapes.items():
        by_shape.setdefault(shape, []).append(i)
    for shape, numbers in by_shape.items():
        most = max(1, BATCH_PIXELS // (shape[0] * shape[1]))
        yield from (numbers[start : start + most] for start in range(0, len(numbers), most))
