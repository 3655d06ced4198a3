"""Memory of a process, from /proc."""

from __future__ import annotations

from pathlib import Path


def peak() -> float:
    """Peak resident memory of this process so far, in MiB."""
    # getrusage would count the parent's as well.
    return _status("self", "VmHWM")


def resident(pid: int) -> float:
    """Resident memory of a process in MiB; 0 if it has ended."""
    return _status(str(pid), "VmRSS")


def _status(process: str, field: str) -> float:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return 0.0
    _, found, rest = status.partition(f"{field}:")
    return int(rest.split()[0]) / 1024 if found else 0.0
