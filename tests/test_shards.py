"""Training shards: from a folder of pictures, and drawn."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from vaecodec.train import data

TOOL = Path(__file__).parent.parent / "tools" / "make_shards.py"


def test_drawn_graphics_are_lossless_training_pictures(tmp_path: Path) -> None:
    shards = [tmp_path / "a.tar", tmp_path / "b.tar"]
    tool = TOOL.with_name("draw_graphics.py")
    for path in shards:
        subprocess.run([sys.executable, str(tool), str(path), "--count", "6"], check=True)
    assert shards[0].read_bytes() == shards[1].read_bytes()
    pictures = [data._decode(item) for item in data.members(shards[0])]
    assert len(pictures) == 6
    for picture in pictures:
        sides = [level.shape[:2] for level in picture]
        assert sides == [(768, 1024), (653, 870), (538, 717), (384, 512)]
        assert len(np.unique(picture[0].reshape(-1, 3), axis=0)) > 20


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)], capture_output=True, text=True
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A lossless picture, a JPEG turned by EXIF, near-duplicates, a small one and rubbish."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    astronaut, coffee = skimage.data.astronaut(), skimage.data.coffee()
    Image.fromarray(astronaut).save(folder / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.fromarray(coffee).save(folder / "sub" / "b.jpg", quality=95, exif=exif)
    Image.fromarray(astronaut[:, ::-1] // 2 + 30).save(folder / "c.png")
    Image.fromarray(coffee[:90, :90]).save(folder / "small.png")
    (folder / "d.png").write_bytes(b"rubbish")
    (folder / "broken.png").symlink_to(folder / "absent.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_shards(folder: Path, tmp_path: Path) -> None:
    licences = tmp_path / "licences.csv"
    licences.write_text("file,author,licence\nsub/b.jpg,Rachel,CC0\n")
    out = tmp_path / "out"
    options = ["--smallest", 128, "--licences", licences, "--licence", "own"]
    done = run(folder, out, *options)
    assert done.returncode == 0, done.stderr
    assert "d.png: not an image" in done.stderr
    assert "broken.png: cannot be read" in done.stderr
    assert "small.png: 90 x 90" in done.stderr
    assert done.stderr.count("nearly the same as another picture") == 1
    rows = list(csv.DictReader((out / "MANIFEST.csv").open()))
    assert len(rows) == 2
    (turned,) = [row for row in rows if row["source"] == "sub/b.jpg"]
    assert (turned["width"], turned["height"]) == ("200", "300")  # 600 x 400, turned, halved
    assert (turned["author"], turned["licence"], turned["shrunk_by"]) == ("Rachel", "CC0", "2.0")
    (whole,) = [row for row in rows if row is not turned]
    assert (whole["licence"], whole["shrunk_by"]) == ("own", "1.0")
    with tarfile.open(out / "shard-00.tar") as tar:
        assert tar.getnames() == [row["name"] for row in rows]
        stream = tar.extractfile(whole["name"])
        assert stream is not None
        pixels = np.asarray(Image.open(io.BytesIO(stream.read())).convert("RGB"))
    source = np.asarray(Image.open(folder / whole["source"]))
    assert np.array_equal(pixels, source)

    again = tmp_path / "again"
    assert run(folder, again, *options).returncode == 0
    for path in out.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()
    refused = run(folder, out)
    assert refused.returncode == 2
    assert "not empty" in refused.stderr


def test_shards_are_split_and_evaluation_pictures_kept_out(folder: Path, tmp_path: Path) -> None:
    out, apart = tmp_path / "out", tmp_path / "apart"
    apart.mkdir()
    Image.fromarray(skimage.data.coffee()).rotate(-90, expand=True).save(apart / "kept.png")
    options = ["--smallest", 64, "--shard-megabytes", 0.01]
    assert run(folder, out, *options, "--apart", apart).returncode == 0
    rows = list(csv.DictReader((out / "MANIFEST.csv").open()))
    assert "sub/b.jpg" not in [row["source"] for row in rows]
    assert [row["shard"] for row in rows] == ["shard-00.tar", "shard-01.tar"]


def test_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = run(tmp_path / "in", tmp_path / "out")
    assert done.returncode == 2
    assert "not a folder that holds pictures" in done.stderr
    done = run(tmp_path / "in", tmp_path / "out", "--licences", tmp_path / "absent.csv")
    assert done.returncode == 2
