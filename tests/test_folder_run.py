"""tools/folder_run.py: a folder compressed by two runs, the first of them killed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import folder_run


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read as Linux tells it")
def test_killed_and_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray
) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    monkeypatch.setattr(folder_run, "MEGAPIXELS", (0.02, 0.05))
    monkeypatch.setattr(folder_run, "BROKEN", 2)
    monkeypatch.setattr(folder_run, "PERIOD", 0.02)
    out = tmp_path / "figures.json"
    monkeypatch.setattr(
        sys,
        "argv",
        ["", str(tmp_path / "photo.png"), str(tmp_path / "work"), str(out), "--count", "40"],
    )
    folder_run.main()
    figures = json.loads(out.read_text())
    assert (figures["written"], figures["written_again"], figures["unreadable"]) == (38, 0, 0)
    assert figures["resumed"]["code"] == 1
    assert figures["resumed"]["totals"]["failed"] == 2
    assert figures["killed"]["code"] == -9
    assert figures["killed"]["half_written"] in (0, 1)  # of the file that was being written, if any
    first = figures["killed"]["written"]
    assert first >= 20 and figures["resumed"]["totals"]["skipped"] == first
    assert min(figures["resumed"]["memory"]) > 0
