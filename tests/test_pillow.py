"""Pillow opens and saves `.vae` files; in a process of its own, since plugins stay registered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import vaecodec
import vaecodec.pillow
from vaecodec.quality import TUNES

photo = Image.open("photo.png")
photo.info["icc_profile"] = b"profile"
photo.save("photo.vae", quality=50)
assert Path("photo.vae").read_bytes() == vaecodec.encode(photo, 50)
for tune in TUNES:
    photo.save("tuned.vae", quality=50, tune=tune)
    assert Path("tuned.vae").read_bytes() == vaecodec.encode(photo, 50, tune=tune)
assert Image.MIME["VAE"] == "image/x-vae"

with Image.open("photo.vae") as image:
    assert (image.format, image.mode, image.size) == ("VAE", "RGB", photo.size)
    assert image.info["icc_profile"] == b"profile"
    image.verify()
with Image.open("photo.vae") as image:
    copy = image.copy()
    assert np.array_equal(copy, vaecodec.decode(Path("photo.vae").read_bytes()))
    assert np.array_equal(image.crop((3, 4, 50, 60)), copy.crop((3, 4, 50, 60)))

exif = Image.Exif()
exif[0x0110] = "a camera"
clear = photo.copy()
clear.putalpha(77)
clear.save("clear.vae", lossless=True, exif=exif, icc_profile=None)
with Image.open("clear.vae") as image:
    assert (image.mode, "icc_profile" in image.info) == ("RGBA", False)
    assert image.getexif()[0x0110] == "a camera"
    assert np.array_equal(image, clear)

data = Path("photo.vae").read_bytes()
for name, content, kind in (
    ("cut.vae", data[:-9], OSError),
    ("other.vae", b"hello", UnidentifiedImageError),
    ("flipped.vae", data[:-9] + b"?" + data[-8:], OSError),
):
    Path(name).write_bytes(content)
    with pytest.raises(kind), Image.open(name) as image:
        image.load()
with pytest.raises(OSError, match="bad.vae: quality must be"):
    photo.save("bad.vae", quality=101)
with pytest.raises(OSError, match="bad.vae: no tune is called 'ssim'; there are: visual, psnr"):
    photo.save("bad.vae", tune="ssim")
with pytest.raises(OSError, match="mode F"):
    Image.new("F", (4, 4)).save("bad.vae")
"""


def test_pillow(photo_file: Path) -> None:
    run = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(run, cwd=photo_file.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
