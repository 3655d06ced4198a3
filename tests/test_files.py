"""Files on disk: names, links, devices, pipes, interrupts; which inputs a folder has."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import vaecodec
from bitstream import container
from vaecodec import bulk, files, parallel
from vaecodec.cli import convert
from vaecodec.cli.convert import Converted
from vaecodec.cli.messages import say
from vaecodec.files import write_whole

if TYPE_CHECKING:
    from conftest import Run

COMMAND = [sys.executable, "-m", "vaecodec.cli.main"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def piped(*arguments: object, data: bytes = b"") -> tuple[int, bytes, str]:
    """The command in a process of its own: exit code, standard output and standard error."""
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


def test_names_as_long_as_names_can_be(tmp_path: Path) -> None:
    path = tmp_path / ("写" * 83 + ".vae")
    write_whole(path, b"one")
    write_whole(path, b"two", force=True)
    assert path.read_bytes() == b"two"
    with pytest.raises(vaecodec.VaeError, match=r"cannot be written \(File name too long\)"):
        write_whole(tmp_path / ("写" * 90), b"three")
    assert names(tmp_path) == [path.name]


def test_modes_of_files(tmp_path: Path) -> None:
    path, before = tmp_path / "a", os.umask(0o027)
    try:
        write_whole(path, b"one")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    write_whole(path, b"two", force=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_what_a_link_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    target, link = tmp_path / "deep" / "target", tmp_path / "link"
    target.write_bytes(b"one")
    link.symlink_to(target)
    with pytest.raises(vaecodec.VaeError, match="link: exists already"):
        write_whole(link, b"two")
    write_whole(link, b"two", force=True)
    assert link.is_symlink()
    assert target.read_bytes() == b"two"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_devices_are_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(vaecodec.VaeError, match="pipe: cannot be written"):
        write_whole(pipe, b"nothing reads it", force=True)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, b"something does", force=True)
    assert os.read(reader, 99) == b"something does"
    os.close(reader)
    write_whole(Path(os.devnull), b"gone", force=True)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_an_interrupt_while_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")

    def interrupt(_: int) -> None:
        # Not by a signal: processes in the background of a shell ignore that one.
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"two", force=True)
    assert path.read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


def test_standard_streams(photo_file: Path, photo: np.ndarray) -> None:
    code, vae, err = piped("compress", "-", "-q", "30", data=photo_file.read_bytes())
    assert (code, err) == (0, "")
    assert vae == vaecodec.encode(photo, 30)
    code, png, err = piped("decompress", "-", data=vae)
    assert (code, err) == (0, "")
    assert png.startswith(b"\x89PNG")
    code, out, _ = piped("info", "-", data=vae)
    assert code == 0
    assert b"256 x 192" in out
    assert piped("compress", photo_file, "-o", "-", "-q", "30")[1] == vae
    code, _, err = piped("compress", photo_file, photo_file, "-o", "-")
    assert (code, "standard output takes one file" in err) == (2, True)
    assert names(photo_file.parent) == ["photo.png"]


@pytest.mark.skipif(not Path("/dev/stdin").exists(), reason="this system has no /dev/stdin")
def test_the_device_of_standard_input(photo_file: Path, photo: np.ndarray) -> None:
    target = photo_file.with_name("out.vae")
    assert (
        piped("compress", "/dev/stdin", "-o", target, "-q", "30", data=photo_file.read_bytes())[0] == 0
    )
    assert target.read_bytes() == vaecodec.encode(photo, 30)


def test_names_of_outputs(
    run: Run, monkeypatch: pytest.MonkeyPatch, photo_file: Path, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("scan.01", "scan.02", "plain"):
        shutil.copy(photo_file, tmp_path / name)
    assert run("compress", "scan.01", "scan.02", "plain", "photo.png")[0] == 0
    written = {name for name in names(tmp_path) if name.endswith(".vae")}
    assert written == {"scan.01.vae", "scan.02.vae", "plain.vae", "photo.vae"}
    assert run("compress", "phot*.png", "-o", "new")[0] == 0  # what has no extension is a folder
    assert run("decompress", "new/photo.vae", "-o", "back")[0] == 0
    assert (names(tmp_path / "new"), names(tmp_path / "back")) == (["photo.vae"], ["photo.png"])
    code, _, err = run("compress", "photo.png", "-o", "x.png")
    assert (code, "x.png: the name of a .vae file was expected" in err) == (1, True)
    for source in ("nonesuch", "nonesuch/*.png"):
        code, _, err = run("compress", source, "-o", "out")
        assert (code, f"{source}: cannot be read (No such file" in err) == (1, True)
    (tmp_path / "photo.vae").unlink()
    shutil.copy(photo_file, tmp_path / "photo.vae")
    code, _, err = run("compress", "photo.vae", "-o", "photo.vae", "--force")
    assert (code, "would be replaced by its own output" in err) == (1, True)
    assert (tmp_path / "photo.vae").read_bytes() == photo_file.read_bytes()


def test_a_failed_input_does_not_take_the_name(run: Run, photo_file: Path) -> None:
    photo_file.with_suffix(".jpg").write_bytes(b"none")
    code, _, err = run("compress", photo_file.parent)
    assert code == 1
    assert "photo.jpg: not an image" in err
    assert len(err.strip().splitlines()) == 1
    assert photo_file.with_suffix(".vae").read_bytes().startswith(container.SIGNATURE)


def test_what_a_folder_holds_besides_pictures(run: Run, photo_file: Path) -> None:
    """A Mac's companions of files, and formats that Pillow knows by name only."""
    for name in ("._photo.png", "film.mpg", "data.h5", "page.eps", "map.grib", "notes.txt"):
        photo_file.with_name(name).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    assert run("compress", photo_file.parent)[0::2] == (0, "")
    made = {name for name in names(photo_file.parent) if name.endswith(".vae")}
    assert made == {"photo.vae"}


def test_damaged_exif_is_left_out_with_a_word(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo[:32, :32]).save(tmp_path / "a.webp", exif=b"Exif\0\0garbagegarbage")
    assert run("compress", "a.webp")[0] == 0
    for name in ("a.avif", "a.tiff", "a.png"):
        code, _, err = run("decompress", "a.vae", "-o", name)
        assert code == 0
        assert "keep no damaged EXIF data" in err
        assert Image.open(tmp_path / name).size == (32, 32)


def test_bytes_after_the_end(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    data = vaecodec.encode(photo[:32, :32])
    (tmp_path / "a.vae").write_bytes(data + bytes(512))
    code, out, _ = run("info", "a.vae")
    assert (code, "512 bytes" in out) == (0, True)
    code, _, err = run("decompress", "a.vae")
    assert (code, "a.vae: 512 bytes after the end are ignored" in err) == (0, True)
    assert vaecodec.info(data + data).trailing == len(data)
    assert vaecodec.decode(data + data).info["trailing_bytes"] == len(data)


def test_as_json(run: Run, photo_file: Path, tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo[:9, :9]).save(tmp_path / "dense.jpg", dpi=(300, 300))
    (tmp_path / "none.png").write_bytes(b"none")
    code, out, err = run("compress", tmp_path, "-o", tmp_path / "out", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    said = {Path(line["input"]).name: line for line in lines}
    assert (code, err) == (1, "")
    assert set(said) == {"photo.png", "dense.jpg", "none.png"}
    assert said["photo.png"]["bytes"] == Path(said["photo.png"]["output"]).stat().st_size
    assert said["photo.png"]["notices"] == []
    assert "pixel density" in said["dense.jpg"]["notices"][0]
    assert "not an image" in said["none.png"]["error"]
    code, _, err = run("compress", photo_file, "-o", "-", "--json")
    assert (code, "run into each other" in err) == (2, True)


def test_quietly(run: Run, photo_file: Path, tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo[:9, :9]).save(tmp_path / "dense.jpg", dpi=(300, 300))
    (tmp_path / "none.png").write_bytes(b"none")
    code, out, err = run("compress", tmp_path, "-o", tmp_path / "out", "--quiet")
    assert (code, out) == (1, "")
    assert len(err.strip().splitlines()) == 1  # what went wrong is said all the same
    assert "none.png" in err


def test_times_are_kept_if_asked_for(run: Run, photo_file: Path) -> None:
    os.utime(photo_file, (1_000_000_000, 1_100_000_000))
    vae, back = photo_file.with_suffix(".vae"), photo_file.with_name("back.png")
    assert run("compress", photo_file, "--keep-times")[0] == 0
    assert run("decompress", vae, "-o", back, "--keep-times")[0] == 0
    assert (vae.stat().st_mtime, back.stat().st_mtime) == (1_100_000_000, 1_100_000_000)
    assert run("compress", photo_file, "--force")[0] == 0
    assert vae.stat().st_mtime > 1_200_000_000


@pytest.mark.parametrize("name", ["x.jpg", "x.webp", "x.avif"])
def test_quality_of_formats_that_lose(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.vae").write_bytes(vaecodec.encode(photo, 60))
    sizes = []
    for quality in (20, 95):
        code, _, err = run("decompress", "a.vae", "-o", name, "-q", quality, "--force")
        assert (code, err) == (0, "")
        sizes.append((tmp_path / name).stat().st_size)
    assert sizes[1] > 2 * sizes[0]
    code, _, err = run("decompress", "a.vae", "-o", name, "--force")
    assert (code, f"{name}: encoded anew" in err, "quality 90" in err) == (0, True, True)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("name", ["a.jpg", "a.ppm", "a.bmp", "a.pcx"])
def test_transparency_where_there_is_no_room_for_it(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    photo: np.ndarray,
    name: str,
    channels: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    clear = np.dstack((photo[:32, :32, : channels - 1], np.full((32, 32), 7, np.uint8)))
    (tmp_path / "a.vae").write_bytes(vaecodec.encode(clear, 60))
    code, _, err = run("decompress", "a.vae", "-o", name, "-q", "90")
    assert (code, "keep no transparency; white is behind the picture" in err) == (0, True)
    with Image.open(tmp_path / name) as written:
        assert written.mode == ("L" if channels == 2 else "RGB")
        assert np.asarray(written).mean() > 245  # an opacity of 7 of 255


def test_partial_transparency_in_gif(run: Run, tmp_path: Path, photo: np.ndarray) -> None:
    for name, values in (("partial", np.arange(256)), ("binary", np.repeat([0, 255], 128))):
        plane = np.tile(values.astype(np.uint8), (32, 1))
        path = tmp_path / f"{name}.vae"
        path.write_bytes(vaecodec.encode(np.dstack((photo[:32], plane)), lossless=True))
        code, _, err = run("decompress", path, "-o", path.with_suffix(".gif"))
        assert (code, "keep no partial transparency" in err) == (0, name == "partial")


@pytest.mark.parametrize("size", [65_400, 65_504, 65_505, 65_527, 65_528, 70_000])
def test_metadata_longer_than_the_format_has_room_for(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray, size: int
) -> None:
    """A segment of JPEG has 65,533 bytes, 6 of them of the prefix: more is left out with a word."""
    monkeypatch.chdir(tmp_path)
    image, exif = Image.fromarray(photo[:16, :16]), Image.Exif()
    exif[0x010F] = "Camera"
    image.info["exif"] = exif.tobytes().ljust(size + 6, b"\0")
    image.info["xmp"] = b"<x>" + b" " * (size - 3)
    (tmp_path / "a.vae").write_bytes(vaecodec.encode(image, 60))
    code, _, err = run("decompress", "a.vae", "-o", "a.jpg", "-q", "90")
    assert code == 0
    kept = Image.open(tmp_path / "a.jpg").info
    assert ("exif" in kept) == ("no EXIF data" not in err)
    assert ("xmp" in kept) == ("no XMP data" not in err)
    assert ("exif" in kept) == (size <= 65_527)
    assert ("xmp" in kept) == (size <= 65_504)
    assert run("decompress", "a.vae", "-o", "a.webp", "-q", "90") == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_shells(shell: str) -> None:
    program = "from vaecodec.cli.main import main; main()"
    environment = {**os.environ, "_VAECODEC_COMPLETE": f"{shell}_source"}
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0
    assert "_VAECODEC_COMPLETE" in done.stdout


def test_an_empty_name_is_no_folder(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("a.png")
    for command, message in (("compress", "empty"), ("decompress", "empty"), ("bench", "no such")):
        code, out, err = run(command, "")
        assert (code, out, message in err) == (2, "", True)
    assert names(tmp_path) == ["a.png"]


def test_standard_output_that_is_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(vaecodec.VaeError, match="is a terminal"):
        files.check_output(files.STANDARD_STREAM, force=False)
    files.check_output(files.STANDARD_STREAM, force=True)


def test_names_do_not_steer_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say("a\x1b[2J\nb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    say("a\x1b[2J\nb")
    assert capsys.readouterr().out == "a\x1b[2J\nb\na\\x1b[2J\nb\n"


def test_wrong_usage_does_not_steer_a_terminal(run: Run) -> None:
    code, _, err = run("info", "a", "b\x1b[2J\x07")
    assert (code, "\x1b" in err, "\x07" in err, "\\x07" in err) == (2, False, False, True)


def test_what_formats_have_no_room_for_is_said(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    wide = np.concatenate((photo, photo), axis=1)
    (tmp_path / "a.vae").write_bytes(vaecodec.encode(wide, 60))
    assert "no more than 256 colours" in run("decompress", "a.vae", "-o", "a.gif")[2]
    assert "written as 128 x 48 pixels" in run("decompress", "a.vae", "-o", "a.ico")[2]
    assert "encoded anew, as MPO of quality 90" in run("decompress", "a.vae", "-o", "a.mpo")[2]
    code, _, err = run("decompress", "a.vae", "-o", "a.pdf", "-q", "95")
    assert (code, err) == (0, "")
    clear = np.dstack((photo, photo[..., 0]))
    (tmp_path / "b.vae").write_bytes(vaecodec.encode(clear, 60))
    assert run("decompress", "b.vae", "-o", "b.pdf")[0] == 0
    assert run("decompress", "b.vae", "-o", "b.png") == (0, "", "")


@pytest.mark.parametrize("words", ["compress ph", "compress -o ph", "decompress ph", "bench ph"])
def test_completion_knows_files(words: str) -> None:
    environment = {
        **os.environ,
        "_VAECODEC_COMPLETE": "bash_complete",
        "COMP_WORDS": f"vaecodec {words}",
        "COMP_CWORD": str(len(words.split())),
    }
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True)
    assert done.stdout == "file,ph\n"


@pytest.mark.parametrize("channels", [1, 2])
def test_grey_where_there_is_only_colour(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray, channels: int
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.vae").write_bytes(vaecodec.encode(photo[:32, :32, :channels], 60))
    assert run("decompress", "a.vae", "-o", "a.qoi") == (0, "", "")
    assert Image.open(tmp_path / "a.qoi").mode == ("RGB" if channels == 1 else "RGBA")


def test_one_output_by_two_names(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a.bmp"):
        Image.fromarray(photo).save(name)
    code, _, err = run("compress", "a.png", tmp_path / "a.bmp", "--force", "--lossless")
    assert (code, "is already that of a.png" in err) == (1, True)


def test_names_that_are_too_long(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    long = "x" * 250 + ".bmp"
    for name in (long, "y.bmp"):
        Image.fromarray(photo[:16, :16]).save(name)
    code, _, err = run("compress", long, "y.bmp", "-o", "z" * 300)
    assert (code, err.count("cannot be made")) == (1, 2)
    code, _, err = run("compress", long, "-o", "z" * 300 + ".vae")
    assert (code, "cannot be written" in err) == (1, True)
    long = "x" * 253
    Path("y.bmp").rename(long)
    assert "cannot be written (File name too long)" in run("compress", long)[2]


def test_standard_streams_that_are_closed(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_file: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    code, _, err = run("compress", "-", "-o", tmp_path / "a.vae")
    assert (code, "standard input is closed" in err) == (1, True)
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(vaecodec.VaeError, match="is closed"):
        files.check_output(files.STANDARD_STREAM, force=False)
    code, _, err = run("models")
    assert (code, "standard output cannot be written (it is closed)" in err) == (1, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("arguments", [["models"], ["info", "{}"], ["compress", "{}", "--json"]])
def test_standard_output_that_is_full(arguments: list[str], tmp_path: Path, photo: np.ndarray) -> None:
    source = tmp_path / "a.vae" if "info" in arguments else tmp_path / "a.png"
    Image.fromarray(photo[:16, :16]).save(tmp_path / "a.png")
    (tmp_path / "a.vae").write_bytes(vaecodec.encode(photo[:16, :16], lossless=True))
    if "--json" in arguments:
        (tmp_path / "a.vae").unlink()
    words = [each.format(source) for each in arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert "Traceback" not in done.stderr
    assert "standard output cannot be written" in done.stderr
    assert done.returncode == 1


def test_folders_in_folders(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in/deep").mkdir(parents=True)
    for name in ("in/a.png", "in/deep/b.png"):
        Image.fromarray(photo[:16, :16]).save(name)
    assert run("compress", "in", "-o", "flat", "--no-recursive")[0] == 0
    assert run("compress", "in", "-o", "whole", "-r")[0] == 0
    assert sorted(p.as_posix() for p in Path().rglob("*.vae")) == [
        "flat/a.vae",
        "whole/a.vae",
        "whole/deep/b.vae",
    ]


def test_jobs(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray) -> None:
    """Several at a time, in threads or in processes, give the same files, messages and exit code."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for number in range(4):
        Image.fromarray(photo[: 32 + number, :32]).save(f"in/{number}.png", dpi=(300, 300))
    Path("in/bad.png").write_text("no picture")
    Path("in/0.bmp").write_text("nor this")  # what fails takes nobody's name
    said = [run("compress", "in", "-o", f"by{jobs}", "--jobs", jobs) for jobs in (1, 2)]
    monkeypatch.setattr(parallel, "THREADS_AT_MOST", 1)  # more than that are processes
    said.append(run("compress", "in", "-o", "by3", "--jobs", "3"))
    assert [code for code, _, _ in said] == [1, 1, 1]
    messages = [sorted(err.splitlines()) for _, _, err in said]
    assert messages[0] == messages[1] == messages[2]
    assert sum("bad.png: not an image" in line for line in messages[0]) == 1
    assert sum("density" in line for line in messages[0]) == 4
    names = sorted(p.name for p in Path("by1").iterdir())
    assert names == ["0.vae", "1.vae", "2.vae", "3.vae"]
    for name in names:
        assert Path("by2", name).read_bytes() == Path("by1", name).read_bytes()
        assert Path("by3", name).read_bytes() == Path("by1", name).read_bytes()
    assert run("decompress", "by2", "-o", "back", "-j", "2", "--quiet") == (0, "", "")
    assert len(list(Path("back").glob("*.png"))) == 4


def test_batches(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    photo: np.ndarray,
    together: list[int],
) -> None:
    """As with a GPU, pictures pass through the networks side by side; what is wrong with one is its
    own, and options that ask for a picture alone are heard."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for number in range(6):
        Image.fromarray(photo[number : 32 + 16 * (number % 2), :32]).save(
            f"in/{number}.png", dpi=(300, 300)
        )
    Path("in/bad.png").write_text("no picture")
    assert run("compress", "in", "-o", "alone", "--no-lossless")[0] == 1
    monkeypatch.setattr(bulk, "window_of", lambda *_: 8)
    # One job is one at a time.
    assert run("compress", "in", "-o", "one", "--no-lossless", "-j", "1")[0] == 1
    assert run("compress", "in", "-o", "searched", "--no-lossless", "--effort", "1")[0] == 1
    assert together == [1] * 18
    together.clear()
    code, _, err = run("compress", "in", "-o", "small", "--no-lossless")
    assert (code, sum(together), max(together)) == (1, 6, 3)
    assert sum("bad.png: not an image" in line for line in err.splitlines()) == 1
    assert sum("density" in line for line in err.splitlines()) == 6
    Path("small/bad.vae").write_bytes(Path("small/0.vae").read_bytes()[:-3])
    together.clear()
    code, _, err = run("decompress", "small", "-o", "back")
    assert (code, sum(together), max(together)) == (1, 6, 3)
    assert err.startswith("vaecodec: small/bad.vae: ") and err.count("\n") == 1
    for number in range(6):
        found = np.asarray(Image.open(f"back/{number}.png"), int)
        alone = np.asarray(vaecodec.decode(f"alone/{number}.vae"), int)
        assert np.abs(found - alone).mean() < 0.5
    together.clear()
    assert run("decompress", "small", "-o", "halves", "--scale", "1/2")[0] == 1
    assert run("compress", "in", "-o", "sized", "--target-bpp", "2", "--no-lossless")[0] == 1
    assert max(together) == 1
    assert Image.open("halves/0.png").size == (16, 16)


def test_one_output_of_several_jobs(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a.bmp", "b.png"):
        Image.fromarray(photo[:16, :16]).save(name)
    code, _, err = run("compress", "a.png", "a.bmp", "b.png", "--jobs", "3")
    assert (code, err) == (
        1,
        "vaecodec: a.bmp: its output a.vae is already that of a.png; choose another with -o\n",
    )
    assert Path("b.vae").exists()
    code, _, err = piped(
        "compress", "b.png", "-", "-o", "out", "--jobs", "9", data=Path("a.png").read_bytes()
    )
    assert (code, err, names(Path("out"))) == (0, "", ["-.vae", "b.vae"])


def _die(_: object) -> None:
    os._exit(9)


def _unheard(_: object) -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_processes_do_not_hear_interrupts() -> None:
    """From their start on: who started them is interrupted as well."""
    assert dict(parallel.in_processes([1, 2], _unheard, 2)) == {1: True, 2: True}
    assert not _unheard(None)


def test_processes_that_are_ended_from_outside(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray
) -> None:
    """Each file that is not done is said to be so."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(photo[:16, :16]).save(name)

    def each(items: Iterable[Any], *_: object) -> Iterator[Any]:
        first, *_others = items
        yield first, [Converted(data=b"done", pixels=256)]
        raise parallel.Ended("ended")

    monkeypatch.setattr(parallel, "THREADS_AT_MOST", 1)
    monkeypatch.setattr(parallel, "in_processes", each)
    assert run("compress", "a.png", "b.png", "c.png", "--jobs", "2") == (
        1,
        "",
        "vaecodec: b.png: ended\nvaecodec: c.png: ended\n",
    )
    assert Path("a.vae").read_bytes() == b"done"
    monkeypatch.undo()
    with pytest.raises(vaecodec.VaeError, match="was ended from outside"):
        list(parallel.in_processes([1, 2], _die, 2))


def _fail(number: int) -> int:
    if number == 1:
        raise vaecodec.NoSuchFile("is not there").in_file("a.png")
    if number == 2:
        raise MemoryError
    return number


def test_errors_travel() -> None:
    found = dict(parallel.in_processes([1, 2, 3], _fail, 2))
    assert isinstance(found[1], vaecodec.NoSuchFile)
    assert (str(found[1]), found[1].filename) == ("a.png: is not there", "a.png")
    assert isinstance(found[2], MemoryError) and found[3] == 3


def _stall(number: int) -> int:
    if number == 1:
        time.sleep(100_000)
    return number


def test_an_interrupt_does_not_wait_for_what_is_under_way() -> None:
    """Of processes that the caller started itself it ends none."""
    spawn = multiprocessing.get_context("spawn")
    own = spawn.Process(target=time.sleep, args=(100_000,), daemon=True)
    own.start()
    before = set(multiprocessing.active_children())  # other tests may have left some
    results = parallel.in_processes([1, 2], _stall, 2)
    assert next(results) == (2, 2)
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    for child in set(multiprocessing.active_children()) - before:
        child.join()
    assert own.is_alive()
    own.kill()
    own.join()


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    program = """if __name__ == "__main__":
    import multiprocessing, os, time
    from vaecodec import parallel
    results = parallel.in_processes([0.0, 100_000.0], time.sleep, 2)
    next(results)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), 9)
"""
    # Its standard output is at an end when all of them are.
    (tmp_path / "main.py").write_text(program)
    command = [sys.executable, tmp_path / "main.py"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    assert len(done.stdout.split()) == 2


def test_times_that_cannot_be_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.fromarray(photo[:16, :16]).save(name)

    def refuse(path: object, **_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(convert.os, "utime", refuse)
    code, _, err = run("compress", "a.png", "b.png", "--keep-times")
    assert code == 1
    assert "a.vae: written, but not with the times of a.png (Operation not permitted)\n" in err
    assert Path("b.vae").exists()


def test_names_that_the_terminal_cannot_show(tmp_path: Path, photo: np.ndarray) -> None:
    path = os.fsencode(tmp_path) + b"/x\xff.png"
    file = io.BytesIO()
    Image.fromarray(photo[:16, :16]).save(file, "PNG")
    Path(os.fsdecode(path)).write_bytes(file.getvalue())
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(
        [*COMMAND, "compress", path, "--json"], env=environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\udcff.png" in done.stdout


def test_going_on(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.fromarray(photo[:16, :16]).save(name)
    Path("a.vae").write_text("mine")
    assert run("compress", "a.png", "b.png", "--resume") == (
        0,
        "",
        "vaecodec: 1 of 2 files have an output already\n",
    )
    assert Path("a.vae").read_text() == "mine" and Path("b.vae").exists()
    assert run("compress", "a.png", "b.png", "--resume", "--quiet") == (0, "", "")
    assert run("compress", "a.png", "--resume", "--force")[0] == 2


def test_report(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(photo[:16, :32]).save(name)
    Path("b.png").write_text("no picture")
    Path("c.vae").write_text("mine")
    command = ("compress", "a.png", "b.png", "c.png", "--resume", "--report", "new/r.json")
    assert run(*command)[0] == 1
    report = json.loads(Path("new/r.json").read_text())
    skipped, *others = report["files"]
    assert skipped == {"input": "c.png", "output": "c.vae", "skipped": True}
    failed, written = sorted(others, key=lambda each: "bytes" in each)
    assert failed.keys() == {"input", "output", "error"} and "b.png: not an image" in failed["error"]
    assert written == {
        "input": "a.png",
        "output": "a.vae",
        "input_bytes": Path("a.png").stat().st_size,
        "bytes": Path("a.vae").stat().st_size,
        "pixels": 512,
        "notices": [],
    }
    totals = report["totals"]
    assert [totals[name] for name in ("written", "failed", "skipped")] == [1, 1, 1]
    assert (totals["bytes"], totals["input_bytes"]) == (written["bytes"], written["input_bytes"])
    assert totals["megapixels"] == 512 / 1e6 and totals["seconds"] > 0
    assert report["finished"]
    assert run(*command)[0] == 1  # it belongs to the run, and is replaced as one goes on
    report = json.loads(Path("new/r.json").read_text())
    assert report["totals"]["skipped"] == 2
    assert report["files"][:2] == [written | {"skipped": True}, skipped]  # what was known of them
    Path("b.vae").write_text("mine, too")
    Image.fromarray(photo[:16, :32]).save("b.jpg")  # for once its own is not the first
    assert run("compress", "b.jpg", "--force", "--report", "b.json")[0] == 0
    code, _, err = run("compress", "b.png", "b.jpg", "--resume", "--report", "b.json")
    assert (code, "b.png: its output b.vae is already that of b.jpg" in err) == (1, True)
    skipped, failed = json.loads(Path("b.json").read_text())["files"]
    assert (skipped["input"], skipped["pixels"], failed["input"]) == ("b.jpg", 512, "b.png")
    code, _, err = run("decompress", "a.vae", "--report", "new/r.json")
    assert (code, "r.json: exists already" in err, Path("a.png").exists()) == (1, True, True)


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_gone_on_with(number: int, tmp_path: Path, photo: np.ndarray) -> None:
    """What is written by then is kept, nothing is half-written, and the rest comes later."""
    folder, out, report = tmp_path / "in", tmp_path / "out", tmp_path / "r.json"
    folder.mkdir()
    for shift in range(16):
        Image.fromarray(np.roll(photo, shift)).save(folder / f"{shift:02}.png")
    command = [
        *COMMAND,
        "compress",
        folder,
        "-o",
        out,
        "--jobs",
        "2",
        "--report",
        report,
        "--effort",
        "1",
    ]
    # A shell's background processes ignore the signal, and so would this one.
    running = subprocess.Popen(
        command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    )
    while not (out.is_dir() and any(out.glob("*.vae"))):
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(number)
    assert running.wait() == 128 + number
    kept = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert all(name.endswith(".vae") for name in kept)
    assert len(kept) < 16
    told = json.loads(report.read_text())
    # The interrupt may come between a file and the report of it.
    assert not told["finished"] and len(kept) - told["totals"]["written"] in (0, 1)
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        0,
        f"vaecodec: {len(kept)} of 16 files have an output already\n",
    )
    assert len(list(out.iterdir())) == 16
    assert kept == {name: (out / name).stat().st_mtime_ns for name in kept}
    assert json.loads(report.read_text())["totals"]["written"] == 16 - len(kept)


def test_a_report_in_the_place_of_something_else(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo[:16, :16]).save("a.png")
    Path("notes.json").write_text('{"files": []}')
    before = Path("a.png").read_bytes()
    for extra in ("--resume", "--force"):
        for report in ("a.png", "./a.vae"):
            code, _, err = run("compress", "a.png", "--report", report, extra)
            assert (code, "cannot take the place of an input or an output" in err) == (1, True)
        assert run("compress", "a.png", "--report", "-", extra)[0] == 2
    code, _, err = run("compress", "a.png", "--report", "notes.json", "--resume")
    assert (code, "notes.json: exists already, and is no report" in err) == (1, True)
    code, _, err = run("compress", "a.png", "--report", "a.png/r.json")
    assert (code, "a.png: cannot be made" in err) == (1, True)
    assert Path("a.png").read_bytes() == before and not Path("a.vae").exists()
    Path("empty").mkdir()
    assert run("compress", "empty", "--report", "none.json")[0] == 1
    assert json.loads(Path("none.json").read_text())["files"] == []


def test_going_on_where_two_have_one_output(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray
) -> None:
    """Nobody knows whose it is: the first is skipped, the other is an error again. A folder is no
    output."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.bmp", "a.png", "b.png"):
        Image.fromarray(photo[:16, :16]).save(name)
    command = ("compress", "a.bmp", "a.png", "b.png", "-o", "out")
    Path("out/b.vae").mkdir(parents=True)
    for extra, whose in (((), "is already"), (("--resume",), "exists and may be")):
        code, _, err = run(*command, *extra)
        assert code == 1
        assert f"a.png: its output out/a.vae {whose} that of a.bmp" in err
        assert "b.vae: is a folder" in err
    assert "1 of 3 files have an output already" in err


@pytest.mark.skipif(os.name != "posix", reason="pipes are those of POSIX")
@pytest.mark.parametrize("arguments", ["models", "--help", "compress photo.png -o - -q 5"])
def test_a_pipe_that_nobody_reads(arguments: str, photo_file: Path) -> None:
    command = subprocess.Popen(
        [*COMMAND, *arguments.split()],
        cwd=photo_file.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout is not None and command.stderr is not None
    command.stdout.close()
    with command.stderr as stderr:
        assert (command.wait(), stderr.read()) == (141, b"")


def test_folders_that_may_be_listed_but_not_searched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pathlib raises an error for what is in them, up to Python 3.13."""
    (tmp_path / "a.png").touch()

    def refused(_: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "is_file", refused)
    assert [each.path for each in files.expand([str(tmp_path)], {".png"})] == [tmp_path / "a.png"]


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    """Though no folder twice."""
    for name in ("album/cat", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.png").touch()
    album = tmp_path / "album"
    (album / "dog").symlink_to(tmp_path / "elsewhere")
    (album / "a cat").symlink_to(album / "cat")  # which comes under its own name
    (album / "dog" / "again").symlink_to(album)
    found = files.expand([str(album)], {".png"})
    assert [each.path for each in found] == [album / "cat" / "a.png", album / "dog" / "a.png"]


def test_an_output_without_a_name(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for command, name in (("compress", "a.png"), ("decompress", "a.vae")):
        Path(name).touch()
        code, _, err = run(command, name, "-o", "")
        assert (code, err) == (2, "vaecodec: a name of a file or a folder is empty\n")
    assert names(tmp_path) == ["a.png", "a.vae"]


def test_json_of_every_name(tmp_path: Path, photo: np.ndarray) -> None:
    """Whatever the terminal can show, a line is JSON; also for what is skipped."""
    path = os.fsencode(tmp_path) + "/é😀".encode() + b"\xff.png"
    file = io.BytesIO()
    Image.fromarray(photo[:16, :16]).save(file, "PNG")
    Path(os.fsdecode(path)).write_bytes(file.getvalue())
    for _ in range(2):
        done = subprocess.run(
            [*COMMAND, "compress", path, "--json", "--resume"],
            env={**os.environ, "PYTHONIOENCODING": "latin-1"},
            capture_output=True,
            check=True,
        )
        said = json.loads(done.stdout)
        assert os.fsencode(said["input"]) == path and done.stderr == b""
    assert said["skipped"]


def test_standard_output_that_is_full_and_the_report(tmp_path: Path, photo: np.ndarray) -> None:
    """It says what is on disk."""
    for name in ("a.png", "b.png"):
        Image.fromarray(photo[:16, :16]).save(tmp_path / name)
    report = tmp_path / "r.json"
    command = [*COMMAND, "compress", tmp_path, "--json", "--report", report, "--jobs", "1"]
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0 and "standard output cannot be written" in done.stderr
    written = json.loads(report.read_text())["files"]
    assert {Path(each["output"]) for each in written} == set(tmp_path.glob("*.vae"))


def test_what_a_folder_does_not_give_is_said(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in/gone.png").symlink_to("nothing.png")
    code, _, err = run("compress", "in", "-o", "out")
    assert (code, "in/gone.png: cannot be read (No such file or directory)" in err) == (1, True)

    def refused(top: Path, onerror: Any, **_: bool) -> Iterator[Any]:
        onerror(PermissionError(errno.EACCES, os.strerror(errno.EACCES), f"{top}/secret"))
        yield from ()

    monkeypatch.setattr(files.os, "walk", refused)
    code, _, err = run("compress", "in", "-o", "out")
    assert (code, "in/secret: cannot be listed (Permission denied)" in err) == (1, True)


def test_a_file_named_twice(run: Run, photo_file: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    code, _, said = run(
        "compress",
        photo_file,
        photo_file.parent / "." / photo_file.name,
        photo_file,
        "-o",
        tmp_path / "out",
        "--report",
        report,
    )
    assert code == 0, said
    (entry,) = json.loads(report.read_text())["files"]
    assert "error" not in entry


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["compress", "--help"]])
def test_help_that_cannot_be_written(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.stderr == "vaecodec: standard output cannot be written (No space left on device)\n"
    assert done.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_messages_that_cannot_be_written(photo_file: Path, tmp_path: Path) -> None:
    """The other files are worked on all the same."""
    names = [tmp_path / "absent.png", photo_file]
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, "compress", *names, "-o", tmp_path / "out"], stderr=full)
    assert done.returncode == 1
    assert (tmp_path / "out" / "photo.vae").exists()


def test_names_do_not_steer_the_terminal(tmp_path: Path, run: Run) -> None:
    name = tmp_path / "\x1b[31mred.vae"
    name.write_bytes(b"x")
    code, _, told = run("decompress", name)
    assert (code, "\x1b" in told, "\\x1b[31mred.vae" in told) == (1, False, True)


def test_a_file_in_this_folder_called_as_the_standard_streams(
    photo_file: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo_file.rename("-")
    assert run("compress", "./-", "-o", "x.vae")[0] == 0
    assert vaecodec.info("x.vae").width == 256


def test_a_file_called_as_the_standard_streams(photo_file: Path, tmp_path: Path) -> None:
    (tmp_path / "-").write_bytes(b"no picture")
    command = [*COMMAND, "compress", "-"]
    done = subprocess.run(command, input=photo_file.read_bytes(), capture_output=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert vaecodec.info(done.stdout).width


def test_a_report_nested_too_deep(run: Run, photo_file: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    report.write_text("[" * 100_000)
    code, _, said = run(
        "compress", photo_file, "-o", tmp_path / "a.vae", "--resume", "--report", report
    )
    assert (code, "is no report" in said) == (1, True)
