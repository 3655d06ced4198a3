"""Working on many items at a time, in threads or in processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from bitstream.errors import VaeError
from vaecodec.cores import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Items in hand per job, including those whose results have not been taken yet.
AHEAD = 2
#: This many jobs keep the interpreter's lock busy: entropy coding, and the Python code between the
#: networks' layers, hold it for a sixth of the time.
THREADS_AT_MOST = 6

#: Windows waits for no more than 64 objects at once.
MAX_PROCESSES = 61

#: Errors that become the result of the item that caused them; but see `Ended`.
Failure = VaeError | MemoryError
FAILURES = (VaeError, MemoryError)

_this_thread = threading.local()


class Ended(VaeError):
    """The system ended a process, as it does when memory runs out."""


def settled(work: Callable[[Item], Result], item: Item) -> Result | Failure:
    """Return what `work` returns, or the error that it raises because of this item."""
    try:
        return work(item)
    except Ended:  # concerns all items
        raise
    except FAILURES as error:
        let_go(error)
        return error


def let_go(error: BaseException | None) -> None:
    """Release the local variables of the functions that an error has ended: it may be kept for long."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__


def filled_in(found: Sequence[Item | Failure], results: Iterable[Result]) -> list[Result | Failure]:
    """Keep the failures in `found`, and replace its other items by `results`, in order."""
    rest = iter(results)
    return [item if isinstance(item, FAILURES) else next(rest) for item in found]


@contextlib.contextmanager
def unheard_interrupts() -> Iterator[None]:
    """Block SIGINT while a process is started, which inherits this: its parent is interrupted as well,
    and ends it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_threads(
    items: Iterable[Item], work: Callable[[Item], Result], jobs: int, *, in_order: bool = False
) -> Iterator[tuple[Item, Result | Failure]]:
    """Yield every item with what `work` returns or raises, in order of completion or, if `in_order`, of
    the items; `jobs` at once, each with its share of PyTorch's threads.

    Items are taken as they are needed, so there may be any number. A single job runs in the caller's
    thread.
    """
    if jobs == 1:
        yield from ((item, settled(work, item)) for item in items)
        return
    pool = ThreadPoolExecutor(jobs, "vaecodec")
    try:
        _share_threads(pool, jobs)
        yield from _each(pool, items, work, jobs, in_order)
    finally:  # does not wait for what is under way
        pool.shutdown(wait=False, cancel_futures=True)


def is_worker() -> bool:
    """Whether the caller runs in a thread of `in_threads`, which starts no threads of its own."""
    return getattr(_this_thread, "works", False)


def in_processes(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    jobs: int,
    start: Callable[[], None] | None = None,
) -> Iterator[tuple[Item, Result | Failure]]:
    """Do the same in processes (unless it is a single job), in order of completion. Everything must be
    picklable. `start`: called first in each process.

    Raises Ended.
    """
    if jobs == 1:
        if start is not None:
            start()
        yield from ((item, settled(work, item)) for item in items)
        return
    # Spawn: a forked process may hang on the threads that PyTorch had.
    context = multiprocessing.get_context("spawn")
    jobs = min(jobs, MAX_PROCESSES)
    threads = max(1, usable_cores() // jobs)
    of_caller = set(multiprocessing.active_children())
    with ProcessPoolExecutor(jobs, context, _start, (threads, start)) as pool:
        try:
            yield from _each(pool, items, work, jobs, in_order=False)
        except BrokenProcessPool as error:
            raise Ended(
                "a worker process was ended from outside: was memory short (try fewer --jobs), or does "
                "a script that starts them lack its `if __name__ == '__main__'`?"
            ) from error
        except BaseException:  # an interrupt does not wait for what is under way
            for child in set(multiprocessing.active_children()) - of_caller:
                child.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _each(
    pool: Executor,
    items: Iterable[Item],
    work: Callable[[Item], Result],
    jobs: int,
    in_order: bool,
) -> Iterator[tuple[Item, Result | Failure]]:
    rest = iter(items)
    running: dict[Future[Result | Failure], Item] = {}
    of_caller: Exception | None = None
    while True:
        try:
            for item in islice(rest, AHEAD * jobs - len(running)):
                with unheard_interrupts():
                    running[pool.submit(settled, work, item)] = item
        except Exception as error:  # from the caller's iterator; raised after what it yielded before
            of_caller, rest = error, iter(())
        if not running:
            if of_caller is not None:
                raise of_caller
            return
        first = next(iter(running))
        for future in [first] if in_order else wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()


def _share_threads(pool: ThreadPoolExecutor, jobs: int) -> None:
    """Start all threads of `pool`, each with its share of those that PyTorch uses here."""
    import torch

    all_of_them = torch.get_num_threads()
    ready = threading.Barrier(jobs + 1)

    def start() -> None:
        torch.get_num_threads()  # a thread's first use of PyTorch adopts the global setting
        torch.set_num_threads(max(1, min(all_of_them, usable_cores()) // jobs))
        _this_thread.works = True
        ready.wait()

    try:
        for _ in range(jobs):  # each waits for the others, so none runs `start` twice
            pool.submit(start)
        ready.wait()
    except BaseException:
        ready.abort()
        raise
    # The setting is per thread, but new threads adopt the last one made anywhere: make it this again.
    torch.set_num_threads(all_of_them)


def start_process(threads: int) -> None:
    """Set up a process of a pool: it ends with the one that started it, and PyTorch uses `threads`
    threads."""
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where the system has no `unheard_interrupts`
    torch.set_num_threads(threads)


def _start(threads: int, start: Callable[[], None] | None) -> None:
    start_process(threads)
    if start is not None:
        start()


def _end_with_parent() -> None:
    """Exit when the parent has ended, however that happened."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
