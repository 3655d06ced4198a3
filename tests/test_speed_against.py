"""`tools/speed_against.py`: both sides run from their own tree, in turn."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
from speed_against import AVX2, ROOT, in_turn


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read as Linux tells it")
def test_both_sides_take_turns_and_count_time_memory_and_products(tmp_path: Path) -> None:
    picture = tmp_path / "picture.npy"
    noise = np.random.default_rng(1).normal(128, 20, (64, 80, 1))  # not stored without loss
    np.save(picture, np.repeat(noise, 3, axis=2).astype(np.uint8))
    found = in_turn({"here": ROOT, "there": ROOT}, picture, 2, AVX2)
    assert list(found) == ["here", "there"]
    for row in found.values():
        assert row["encode"] > 0
        assert row["decode"] > 0
        assert row["mib"] > 100
        assert 0 < row["encode_outside_products"] < 1
        assert 0 < row["decode_outside_products"] < 1
