"""`make demo`: what tools/demo.py prints and writes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaecodec

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import demo


def test_a_picture_and_one_that_is_none(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    photo: np.ndarray,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo[:96, :128]).save("a.png")
    monkeypatch.setattr(sys, "argv", ["demo", "absent.png", "a.png", "-q", "60"])
    assert demo.main() == 1
    said = capsys.readouterr()
    assert said.err == "demo: absent.png: cannot be read (No such file or directory)\n"
    data = Path("demo-out/a-q60.vae").read_bytes()
    assert data == vaecodec.encode(photo[:96, :128], 60, tune="psnr")
    (row,) = (line for line in said.out.splitlines() if " a.png " in line)
    assert f" {len(data)} " in row
    assert np.array_equal(
        np.asarray(Image.open("demo-out/a-q60.png")), np.asarray(vaecodec.decode(data))
    )
