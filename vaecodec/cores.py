"""The cores that this process may use, and how threads wait for one another on them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

#: How long a thread of GNU's OpenMP spins before it sleeps, in rounds of a loop. By default it spins
#: for milliseconds, and takes the core from other processes that could use it; at 0 it sleeps after
#: every layer, which is slower on an idle machine. Measured in benchmarks/test_busy.py.
SPIN_COUNT = 10_000
#: Environment variables by which a user decides that, and how many threads there are.
_WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_COUNT = "OMP_NUM_THREADS"


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use: those of its affinity, but no more than the quotas of
    its control groups allow, as in containers. `root`: of the file system."""
    # On a system without affinity, all cores are usable.
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([seen, *(math.ceil(quota) for quota in _quotas(root))]))


def settle_threads() -> None:
    """Set the environment that PyTorch's threads read when it is imported, unless the user did: their
    number, if fewer cores are usable than exist, and that they soon stop spinning while they wait."""
    if not any(name in os.environ for name in _WAITING):
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
    cores = usable_cores()
    if _COUNT not in os.environ and cores < (os.cpu_count() or 1):
        os.environ[_COUNT] = str(cores)


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quotas, in cores, of all control groups (of both versions) that this process is in."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        second = not controllers
        if not second and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("" if second else "cpu")
        # In a container, the group's own folder may be mounted in place of the root's.
        inner = mount / path.lstrip("/")
        for folder in (inner, *(parent for parent in inner.parents if parent.is_relative_to(mount))):
            yield from _quota_v2(folder) if second else _quota_v1(folder)


def _quota_v2(folder: Path) -> Iterator[float]:
    for line in _lines(folder / "cpu.max"):
        quota, period = line.split()
        if quota != "max":
            yield int(quota) / int(period)


def _quota_v1(folder: Path) -> Iterator[float]:
    quota, period = (_lines(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    if quota and period and int(quota[0]) > 0:
        yield int(quota[0]) / int(period[0])


def _lines(path: Path) -> list[str]:
    """Return the lines of a file that a system need not have."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
