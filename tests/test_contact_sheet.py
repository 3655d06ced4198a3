"""tools/contact_sheet.py: cuts, and files of matching sizes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bitstream.errors import VaeError
from vaecodec.bench.codecs.pillow import JPEG, WEBP

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import contact_sheet


@dataclass(kw_only=True)
class Steps:
    """A codec whose files have `base` bytes, times `step` at each quality more, up to a million."""

    base: float
    step: float
    name: str = "steps"
    settings: str = ""
    qualities: tuple[int, ...] = (1, 100)

    def encode(self, image: np.ndarray, quality: int) -> bytes:
        return bytes(round(min(self.base * self.step**quality, 1e6)))

    def decode(self, data: bytes) -> np.ndarray:
        raise NotImplementedError


def test_files_match_in_size_and_ours_is_never_the_larger() -> None:
    image = np.zeros((100, 800, 3), np.uint8)  # 10000 bytes at 1 bit per pixel
    for ours, theirs in ((1.05, 1.07), (1.07, 1.05), (1.03, 1.03)):
        found = contact_sheet.pair(
            image, Steps(base=1000, step=ours), Steps(base=1010, step=theirs), 1.0
        )
        assert found is not None
        assert 1 <= len(found.theirs) / len(found.ours) <= 1 + contact_sheet.TOLERANCE
        assert abs(len(found.ours) / 10_000 - 1) <= contact_sheet.NEAR
    assert (
        contact_sheet.pair(image, Steps(base=1000, step=1.05), Steps(base=1700, step=3.0), 1.0) is None
    )


def test_a_row(photo: np.ndarray, photo_file: Path) -> None:
    cut = contact_sheet.read_cut(f"a face={photo_file}:100,20,120,80")
    assert (cut.label, cut.path, cut.box) == ("a face", photo_file, (100, 20, 220, 100))
    files = contact_sheet.pair(photo, WEBP, JPEG, 2.0)
    assert files is not None
    row = np.asarray(contact_sheet.row(cut, files, WEBP, JPEG))
    assert row.shape == (80 + contact_sheet.LINE, 3 * 120 + 2 * contact_sheet.GAP, 3)
    original = photo[20:100, 100:220]
    assert np.array_equal(row[:80, :120], original)
    for left in (126, 252):
        apart = np.abs(row[:80, left : left + 120].astype(int) - original)
        assert 0 < apart.mean() < 12


def test_what_cannot_be_cut(photo_file: Path) -> None:
    with pytest.raises(VaeError, match="not LABEL=PICTURE:LEFT,TOP,WIDTH,HEIGHT"):
        contact_sheet.read_cut(f"{photo_file}:0,0,8,8")
    outside = contact_sheet.read_cut(f"a={photo_file}:200,0,57,8")
    with pytest.raises(VaeError, match=r"photo\.png: has no .* in its 256 x 192 pixels"):
        contact_sheet.row(outside, contact_sheet.Pair(ours=b"", theirs=b""), WEBP, JPEG)
    with pytest.raises(VaeError, match=r"x\.gif: must end in \.png or \.webp"):
        contact_sheet.main(["x.gif", "1", f"a={photo_file}:0,0,8,8"])


def test_a_sheet_is_its_rows() -> None:
    rows = [Image.new("RGB", size, colour) for size, colour in (((8, 4), "red"), ((6, 3), "blue"))]
    sheet = contact_sheet.stack(rows)
    assert sheet.size == (8, 7 + contact_sheet.GAP)
    assert sheet.getpixel((0, 4 + contact_sheet.GAP)) == (0, 0, 255)
