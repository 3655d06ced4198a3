"""Work on many items in several processes at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from bitstream.errors import VaeError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Ended(VaeError):
    """The system ended a process, as it does when memory runs out."""


def each(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    jobs: int,
    start: Callable[[], None] | None = None,
) -> Iterator[tuple[Item, Result | VaeError | MemoryError]]:
    """Every item with what `work` returns or raises, in the order they end; `jobs` at once, in
    processes of their own if that is more than one. All can be pickled. `start`: done in each first.

    Raises Ended.
    """
    if jobs == 1:
        if start is not None:
            start()
        for item in items:
            yield item, _settled(work, item)
        return
    # Spawned: a forked process may hang in the threads that PyTorch had.
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, context, _start, (threads, start)) as pool:
        rest = iter(items)
        running: dict[Future[Result | VaeError | MemoryError], Item] = {}
        try:
            while True:
                for item in islice(rest, 2 * jobs - len(running)):
                    running[pool.submit(_settled, work, item)] = item
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
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


def _start(threads: int, start: Callable[[], None] | None) -> None:
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us is interrupted as well, and ends us
    torch.set_num_threads(threads)
    if start is not None:
        start()


def _end_with_parent() -> None:
    """However that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _settled(work: Callable[[Item], Result], item: Item) -> Result | VaeError | MemoryError:
    """An error travels between processes as a value."""
    try:
        return work(item)
    except (VaeError, MemoryError) as error:
        return error
