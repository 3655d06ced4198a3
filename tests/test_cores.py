"""Cores and how threads wait: what the system allows, and what the user has set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vaecodec import cores

GROUP = "proc/self/cgroup"


def _system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({GROUP: "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({GROUP: "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({GROUP: "0::/\n", "sys/fs/cgroup/cpu.max": "5000 100000\n"}, 1),
        # The tightest of all that it is in, and those of other controllers say nothing.
        (
            {
                GROUP: "0::/a/b\n",
                "sys/fs/cgroup/cpu.max": "700000 100000\n",
                "sys/fs/cgroup/a/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/c/cpu.max": "100000 100000\n",
            },
            3,
        ),
        # Seen from inside a container, whose group is mounted as the root.
        ({GROUP: "0::/docker/1f\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        (
            {
                GROUP: "9:name=systemd:/\n3:cpuset:/x\n2:cpu,cpuacct:/docker/1f\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            {
                GROUP: "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
    ],
)
def test_quotas(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert cores.usable_cores(_system(tmp_path, files)) == expected


def _settled(**settings: str) -> dict[str, str]:
    """What PyTorch would read in a process whose user has these settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    program = (
        "import os, sys; from vaecodec import cores; cores.usable_cores = lambda: 1\n"
        "os.cpu_count = lambda: 4\n"
        "cores.settle_threads(); assert 'torch' not in sys.modules\n"
        "print(*(f'{k}={v}' for k, v in os.environ.items() if k.startswith(('OMP_', 'GOMP_'))))"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], env=kept | settings, capture_output=True, text=True, check=True
    ).stdout
    return dict(each.split("=") for each in out.split())


def test_settings() -> None:
    spins = str(cores.SPIN_COUNT)
    assert _settled() == {"GOMP_SPINCOUNT": spins, "OMP_NUM_THREADS": "1"}
    for own in ({"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}):
        assert _settled(**own) == {**own, "OMP_NUM_THREADS": "1"}
    assert _settled(OMP_NUM_THREADS="3") == {"GOMP_SPINCOUNT": spins, "OMP_NUM_THREADS": "3"}
