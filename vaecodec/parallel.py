"""Work on many items at a time, in threads or in processes."""

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

#: Items in hand, those whose results nobody has taken yet among them, per job.
AHEAD = 2
#: More jobs than these keep the interpreter's lock busy: entropy coding and what is Python between
#: the networks' layers hold it for a sixth of the time.
THREADS_AT_MOST = 6

#: What is an item's own result where it goes wrong; but see `Ended`.
Failure = VaeError | MemoryError
FAILURES = (VaeError, MemoryError)


class Ended(VaeError):
    """The system ended a process, as it does when memory runs out."""


def settled(work: Callable[[Item], Result], item: Item) -> Result | Failure:
    """What `work` returns, or what it raises that is of the item."""
    try:
        return work(item)
    except Ended:  # is of all items
        raise
    except FAILURES as error:
        _let_go(error)
        return error


def _let_go(error: BaseException | None) -> None:
    """Of what the functions held that an error has ended: it may be kept for long."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__


def filled_in(found: Sequence[Item | Failure], results: Iterable[Result]) -> list[Result | Failure]:
    """Failures where they are, and results in the places of the others."""
    rest = iter(results)
    return [item if isinstance(item, FAILURES) else next(rest) for item in found]


@contextlib.contextmanager
def unheard_interrupts() -> Iterator[None]:
    """For starting a process, which takes this along: who started it is interrupted as well, and ends
    it."""
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
    """Every item with what `work` returns or raises, in the order they end or, if `in_order`, in which
    they come; `jobs` at once, each on its share of PyTorch's threads.

    Items are taken as they are needed: there may be any number. One job is done by the caller's thread.
    """
    if jobs == 1:
        yield from ((item, settled(work, item)) for item in items)
        return
    pool = ThreadPoolExecutor(jobs, "vaecodec")
    try:
        _share_threads(pool, jobs)
        yield from _each(pool, items, work, jobs, in_order)
    finally:  # what is under way is not waited for
        pool.shutdown(wait=False, cancel_futures=True)


def in_processes(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    jobs: int,
    start: Callable[[], None] | None = None,
) -> Iterator[tuple[Item, Result | Failure]]:
    """The same in processes, unless it is one job, in the order they end. All can be pickled. `start`:
    done in each process first.

    Raises Ended.
    """
    if jobs == 1:
        if start is not None:
            start()
        yield from ((item, settled(work, item)) for item in items)
        return
    # Spawned: a forked process may hang in the threads that PyTorch had.
    context = multiprocessing.get_context("spawn")
    threads = max(1, usable_cores() // jobs)
    with ProcessPoolExecutor(jobs, context, _start, (threads, start)) as pool:
        try:
            yield from _each(pool, items, work, jobs, in_order=False)
        except BrokenProcessPool as error:
            raise Ended(
                "a worker process was ended from outside: was memory short (try fewer --jobs), or does "
                "a script that starts them lack its `if __name__ == '__main__'`?"
            ) from error
        except BaseException:  # an interrupt does not wait for what is under way
            for child in multiprocessing.active_children():
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
        except Exception as error:  # whatever the caller's iterator raises, after what it gave
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
        torch.get_num_threads()  # a thread's first use of PyTorch takes what is set for all
        torch.set_num_threads(max(1, all_of_them // jobs))
        ready.wait()

    try:
        for _ in range(jobs):  # each waits for the others: none does the start of two
            pool.submit(start)
        ready.wait()
    except BaseException:
        ready.abort()
        raise
    # It is a setting of the thread, but new threads take the last one made anywhere.
    torch.set_num_threads(all_of_them)


def start_process(threads: int) -> None:
    """What a process of a pool does first: it ends with the one that started it, and PyTorch has so
    many threads."""
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where the system has no `unheard_interrupts`
    torch.set_num_threads(threads)


def _start(threads: int, start: Callable[[], None] | None) -> None:
    start_process(threads)
    if start is not None:
        start()


def _end_with_parent() -> None:
    """However that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
