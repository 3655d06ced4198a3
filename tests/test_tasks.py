"""Every example of docs/tasks.md, docs/latents.md, the quick start and the README does what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import skimage.data
from PIL import Image

import vaecodec
from vaecodec.codec import Codec

if TYPE_CHECKING:
    from conftest import Run

ROOT = Path(__file__).parent.parent


def sections(document: str) -> dict[str, str]:
    return dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", (ROOT / document).read_text(), re.M | re.S))


TASKS = sections("docs/tasks.md")
EXAMPLES = {
    f"{document}: {title}": text
    for document in ("docs/tasks.md", "docs/latents.md", "docs/index.md", "README.md")
    for title, text in sections(document).items()
}
#: Commands of a section run one after the other, in one folder.
COMMANDS = {
    title: lines
    for title, text in EXAMPLES.items()
    if (lines := re.findall(r"^    (?=vaecodec |cat )(.+)$", text, re.M))
}
PROGRAMS = {
    title: program
    for title, text in EXAMPLES.items()
    for program in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, codec: Codec) -> Path:
    """The files that the examples speak of."""
    folder = tmp_path_factory.mktemp("tasks")
    photo = np.ascontiguousarray(skimage.data.astronaut()[:192, 128:384])
    image, exif = Image.fromarray(photo), Image.Exif()
    exif[0x0110] = "a camera"
    image.save(folder / "photo.jpg", quality=95, exif=exif)
    shutil.copy(folder / "photo.jpg", folder / "portrait.jpg")
    for name in ("photo", "scan"):
        image.save(folder / f"{name}.png")
    marked = np.zeros(photo.shape[:2], bool)
    marked[90:93, 20:60] = True
    for name in ("scratches", "date"):
        Image.fromarray(marked).save(folder / f"{name}.png")
    page = np.where(np.arange(64)[None, :, None] // 4 % 2, 255, 30).astype(np.uint8)
    Image.fromarray(np.repeat(np.repeat(page, 48, axis=0), 3, axis=2)).save(folder / "screenshot.png")
    (folder / "holiday" / "beach").mkdir(parents=True)
    for name in ("a.jpg", "beach/b.jpg"):
        image.crop((0, 0, 80, 64)).save(folder / "holiday" / name)
    (folder / "photo.vae").write_bytes(codec.encode(photo, 60))
    for name in ("cat/a.vae", "dog/b.vae"):
        (folder / "animals" / name).parent.mkdir(parents=True)
        shutil.copy(folder / "photo.vae", folder / "animals" / name)
    (folder / "0.cls").write_text("0")
    with tarfile.open(folder / "shard-00.tar", "w") as tar:
        tar.add(folder / "photo.vae", "0.vae")
        tar.add(folder / "0.cls", "0.cls")
    (folder / "small").mkdir()
    shutil.copy(folder / "photo.vae", folder / "small" / "c.vae")
    wide = bytearray(codec.encode(np.tile(photo[:32], (1, 5, 1)), 30, lossless=False))
    wide[-9] ^= 1
    (folder / "damaged.vae").write_bytes(wide)
    return folder


@pytest.fixture
def here(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_twenty_of_them() -> None:
    assert len(TASKS) >= 20
    assert all(re.search(r"^    (vaecodec|cat) |^```python", text, re.M) for text in TASKS.values())


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("task", COMMANDS)
def test_commands(run: Run, here: Path, task: str) -> None:
    if any(line.startswith("vaecodec bench ") for line in COMMANDS[task]):
        pytest.importorskip("matplotlib", reason="the bench extra is not installed")
    for line in COMMANDS[task]:
        before = files(here)
        if "|" in line:
            pipe(line)
            out = err = ""
        else:
            name, *arguments = shlex.split(line, comments=True)
            code, out, err = run(*arguments)
            assert (name, code) == ("vaecodec", 0), err
        assert out or files(here) - before or "have an output already" in err
        # What a comment says is written, is; a pipeline gives back a picture.
        for name in re.findall(r"# (portrait\.\w+)$", line):
            assert here / name in files(here) - before
        for name in re.findall(r"> (\S+\.png)$", line):
            assert Image.open(here / name).size == (256, 192)


def pipe(line: str) -> None:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path}
    run = ["bash", "-eo", "pipefail", "-c", line]
    done = subprocess.run(run, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("task", PROGRAMS)
def test_program(here: Path, task: str) -> None:
    """In a process of its own, as a user's would be: plugins and workers stay there."""
    if "import webdataset" in PROGRAMS[task]:
        pytest.importorskip("webdataset", reason="the data extra is not installed")
    run = [sys.executable, "-c", PROGRAMS[task]]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=here)
    assert done.returncode == 0, done.stderr


def test_the_quick_start_and_the_readme_have_some() -> None:
    assert len(COMMANDS["docs/index.md: The first file"]) == 3
    assert len(COMMANDS["README.md: Command line"]) >= 6
    assert {"docs/index.md: The first three lines of Python", "README.md: Python"} < PROGRAMS.keys()


def test_what_some_of_them_promise(run: Run, here: Path) -> None:
    assert run("compress", "photo.jpg", "-o", "mail.vae", "--target-size", "20k")[0] == 0
    assert (here / "mail.vae").stat().st_size <= 20_000
    assert run("compress", "screenshot.png", "--lossless")[0] == 0
    assert np.array_equal(vaecodec.decode("screenshot.vae"), Image.open("screenshot.png"))
    assert run("compress", "photo.jpg", "-o", "whole.vae")[0] == 0
    assert set(vaecodec.info("whole.vae").metadata) == {"exif"}
    assert run("compress", "photo.jpg", "-o", "bare.vae", "--strip")[0] == 0
    assert vaecodec.info("bare.vae").metadata == {}
    code, _, err = run("decompress", "damaged.vae", "-o", "rescued.png", "--recover")
    assert (code, "filled in from around" in err) == (0, True)
