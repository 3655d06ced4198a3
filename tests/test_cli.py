"""The command line as a user meets it."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import vaecodec
from bitstream import container
from vaecodec.bench.codecs.pillow import JPEG
from vaecodec.bench.results import read_results
from vaecodec.figures import psnr
from vaecodec.files import write_whole
from vaecodec.model import registry
from vaecodec.pictures.saving import saved
from vaecodec.quality import TUNES

if TYPE_CHECKING:
    from conftest import Run


@pytest.fixture
def vae_file(tmp_path: Path, photo: np.ndarray, codec: vaecodec.Codec) -> Path:
    path = tmp_path / "given.vae"
    path.write_bytes(codec.encode(photo, 30))
    return path


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_there_and_back(run: Run, photo_file: Path, photo: np.ndarray) -> None:
    assert run("compress", photo_file, "--tune", "psnr") == (0, "", "")
    vae = photo_file.with_suffix(".vae")
    back = photo_file.with_name("back.png")
    assert run("decompress", vae, "-o", back) == (0, "", "")
    assert psnr(photo, np.asarray(Image.open(back))) > 32
    assert names(photo_file.parent) == ["back.png", "photo.png", "photo.vae"]


@pytest.mark.parametrize(("name", "kind"), [("x.jpg", "JPEG"), ("x.webp", "WEBP"), ("x.tif", "TIFF")])
def test_extension_chooses_the_format(run: Run, vae_file: Path, name: str, kind: str) -> None:
    out = vae_file.with_name(name)
    assert run("decompress", vae_file, "-o", out)[0] == 0
    assert Image.open(out).format == kind


def test_unknown_output_format(run: Run, vae_file: Path) -> None:
    code, _, err = run("decompress", vae_file, "-o", vae_file.with_name("x.nonesuch"))
    assert code == 1
    assert "x.nonesuch: Pillow writes no image format with this extension" in err


def test_quality_changes_the_size(run: Run, photo_file: Path) -> None:
    sizes = []
    for quality in (5, 95):
        out = photo_file.with_name(f"q{quality}.vae")
        assert run("compress", photo_file, "-q", quality, "-o", out)[0] == 0
        sizes.append(out.stat().st_size)
    assert sizes[1] > 3 * sizes[0]


def test_nothing_is_overwritten_without_force(run: Run, photo_file: Path) -> None:
    out = photo_file.with_suffix(".vae")
    out.write_bytes(b"precious")
    code, _, err = run("compress", photo_file)
    assert code == 1
    assert f"{out}: exists already (use --force to replace it)" in err
    assert out.read_bytes() == b"precious"
    assert run("compress", photo_file, "--force") == (0, "", "")
    assert out.read_bytes().startswith(container.SIGNATURE)


def test_folders_globs_and_failures(run: Run, tmp_path: Path, photo: np.ndarray) -> None:
    source = tmp_path / "in"
    (source / "deep").mkdir(parents=True)
    Image.fromarray(photo[:40, :40]).save(source / "a.png")
    Image.fromarray(photo[:30, :20]).save(source / "deep" / "b.jpg")
    (source / "notes.txt").write_text("not an image, and not an image's name")
    (source / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    out = tmp_path / "out"
    code, _, err = run("compress", source, "-o", out)
    assert code == 1
    assert "broken.png: not an image" in err
    assert len(err.strip().splitlines()) == 1
    assert names(out) == ["a.vae", "deep/b.vae"]
    assert run("decompress", out / "*.vae", out / "deep", "-o", tmp_path / "back") == (0, "", "")
    assert names(tmp_path / "back") == ["a.png", "b.png"]
    webp = tmp_path / "webp"
    assert run("decompress", out, "-o", webp, "--format", ".WebP", "-q", 50) == (0, "", "")
    assert names(webp) == ["a.webp", "deep/b.webp"]
    assert Image.open(webp / "a.webp").format == "WEBP"
    code, _, err = run("decompress", out, "-o", tmp_path / "back.jpg")  # is this one file, or a folder?
    assert code == 1 and "back.jpg: is the name of a file, but several inputs need a folder" in err


def test_format_of_what_the_output_does_not_name(run: Run, vae_file: Path) -> None:
    both = ("decompress", vae_file, "-o", vae_file.with_name("x.jpg"), "--format")
    assert run(*both, "jpeg", "-q", 50)[0] == 0
    for extension, error in (
        ("png", "--format and the extension of -o name different formats"),
        ("nonesuch", "'nonesuch': Pillow writes no image format with this extension"),
    ):
        code, _, err = run(*both, extension)
        assert code == 2 and error in err


def test_two_inputs_with_one_output(run: Run, photo_file: Path, photo: np.ndarray) -> None:
    twin = photo_file.with_suffix(".bmp")
    Image.fromarray(photo).save(twin)
    code, _, err = run("compress", photo_file, twin)
    assert code == 1
    assert "photo.vae is already that of" in err


def test_what_is_not_kept_is_said(run: Run, tmp_path: Path, photo: np.ndarray) -> None:
    frames = [Image.fromarray(photo[i : i + 20, :30]) for i in range(2)]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    code, _, err = run("compress", tmp_path / "moving.png")
    assert code == 0
    assert "moving.png: not kept in the .vae file: frames but the first" in err
    code, _, err = run("compress", tmp_path / "moving.png", "-o", tmp_path / "again.vae")
    Image.fromarray(photo[:20, :30, 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    code, _, err = run("compress", tmp_path / "deep.png")
    assert code == 0
    assert "deep.png: not kept in the .vae file: 16 bits per sample (reduced to 8)" in err
    text = PngInfo()
    text.add_text("Author", "somebody")
    frames[0].save(tmp_path / "signed.png", pnginfo=text)
    assert (
        "signed.png: not kept in the .vae file: text\n" in run("compress", tmp_path / "signed.png")[2]
    )
    frames[0].save(tmp_path / "plain.png")
    assert run("compress", tmp_path / "plain.png")[2] == ""


@pytest.fixture
def full(tmp_path: Path, photo: np.ndarray, srgb_profile: bytes) -> Path:
    """A picture with everything a file can carry."""
    image = Image.fromarray(photo[:20, :30])
    image.putalpha(128)
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    image.save(tmp_path / "full.webp", icc_profile=srgb_profile, exif=exif, xmp=b"<xmp/>")
    return tmp_path / "full.webp"


@pytest.mark.parametrize("tags", [{256: 400, 257: 300}, {256: 400, 257: 300, 274: 6}, {277: 3, 258: 8}])
def test_tags_of_another_layout_stay_out_of_tiff(
    tmp_path: Path, run: Run, photo: np.ndarray, tags: dict[int, int]
) -> None:
    """Pillow would write them in place of its own, and the file could not be read."""
    exif = Image.Exif()
    exif.update(tags)
    exif[305] = "a camera"
    Image.fromarray(photo[:, :, 0]).save(tmp_path / "a.jpg", exif=exif)
    assert run("compress", tmp_path / "a.jpg", "--no-lossless")[0] == 0
    whole = vaecodec.decode(tmp_path / "a.vae")
    for name, *options in (("whole.tif",), ("half.tif", "--scale", "1/2")):
        assert run("decompress", tmp_path / "a.vae", "-o", tmp_path / name, *options)[0] == 0
        with Image.open(tmp_path / name) as written:
            expected = whole if name == "whole.tif" else whole.reduce(2)
            assert np.array_equal(np.asarray(written), np.asarray(expected))
            assert written.getexif()[305] == "a camera"


def test_exif_of_nothing_but_layout(photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif.update({256: 400, 257: 300})
    image = Image.fromarray(photo)
    image.info["exif"] = exif.tobytes()
    data, dropped = saved(image, "TIFF", 90)
    assert (Image.open(io.BytesIO(data)).size, dropped) == ((256, 192), [])


@pytest.mark.parametrize("extension", ["png", "webp", "avif", "tiff"])
def test_metadata_goes_there_and_back(
    run: Run, full: Path, extension: str, srgb_profile: bytes
) -> None:
    target = full.with_name(f"back.{extension}")
    assert run("compress", full)[0] == 0
    code, out, _ = run("info", full.with_suffix(".vae"), "--json")
    assert set(json.loads(out)["metadata"]) == {"icc", "exif", "xmp"}
    assert "metadata:" in run("info", full.with_suffix(".vae"))[1]
    code, _, err = run("decompress", full.with_suffix(".vae"), "-o", target)
    assert (code, "no XMP" in err) == (0, extension == "tiff")
    with Image.open(target) as image:
        assert (image.mode, image.info["icc_profile"]) == ("RGBA", srgb_profile)
        assert image.getexif()[0x0110] == "a camera"
        assert extension == "tiff" or image.info["xmp"] == b"<xmp/>"


def test_metadata_can_be_left_out(run: Run, full: Path) -> None:
    assert run("compress", full, "--strip")[0] == 0
    code, out, _ = run("info", full.with_suffix(".vae"), "--json")
    assert json.loads(out)["metadata"] == {}
    run("compress", full, "--force")
    target = full.with_suffix(".bmp")
    code, _, err = run("decompress", full.with_suffix(".vae"), "-o", target)
    assert code == 0
    assert ".bmp files keep no colour profile, no EXIF data, no XMP data" in err


def test_regions_and_thumbnails(run: Run, vae_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "part.png"
    assert run("decompress", vae_file, "--region", "10,20,33,44", "-o", target)[0] == 0
    part = Image.open(target)
    assert part.size == (33, 44)
    assert run("decompress", vae_file, "--scale", "1/8", "-o", target, "--force")[0] == 0
    assert Image.open(target).size == (32, 24)
    code, _, err = run("decompress", vae_file, "--region", "10,20,33,444", "--force")
    assert code == 1
    assert "the box 10, 20, 43, 464 is empty or not within the picture of 256 x 192" in err
    code, _, err = run("decompress", vae_file, "--region", "all")
    assert (code, "not four whole numbers" in err) == (2, True)
    code, _, err = run("decompress", vae_file, "--max-pixels", "1000", "--force")
    assert code == 1
    assert "256 x 192 pixels, the limit is 1000" in err


def test_recovery(run: Run, tmp_path: Path, photo: np.ndarray) -> None:
    wide = tmp_path / "wide.vae"
    wide.write_bytes(vaecodec.encode(np.tile(photo[:40], (1, 5, 1)), device="cpu"))
    data = bytearray(wide.read_bytes())
    data[-9] ^= 1
    wide.write_bytes(data)
    code, _, err = run("decompress", wide)
    assert code == 1
    assert "wide.vae: the checksum of group 1 is wrong" in err
    code, _, err = run("decompress", wide, "--recover")
    assert code == 0
    assert "filled in from around: 256 x 40 at 1024,0" in err
    assert Image.open(tmp_path / "wide.png").size == (1280, 40)


def test_orientation_is_applied(run: Run, tmp_path: Path, photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rows are columns
    Image.fromarray(photo[:40, :60]).save(tmp_path / "turned.jpg", exif=exif)
    assert run("compress", tmp_path / "turned.jpg")[0] == 0
    assert run("decompress", tmp_path / "turned.vae")[0] == 0
    assert Image.open(tmp_path / "turned.png").size == (40, 60)


def test_bad_inputs_to_compress(run: Run, tmp_path: Path, photo_file: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    cut = tmp_path / "cut.png"
    cut.write_bytes(photo_file.read_bytes()[:3000])
    before = names(tmp_path)
    for name, message in [
        ("empty.png", "the file is empty"),
        ("text.png", "not an image in a format that can be read"),
        ("cut.png", ""),
        ("absent.png", "cannot be read (No such file"),
    ]:
        code, out, err = run("compress", tmp_path / name)
        assert code == 1
        assert out == ""
        assert f"{name}: {message}" in err
        assert len(err.strip().splitlines()) == 1
    assert names(tmp_path) == before


def test_bad_inputs_to_decompress(run: Run, tmp_path: Path, vae_file: Path, photo_file: Path) -> None:
    good = vae_file.read_bytes()
    parsed = container.parse(good)
    stranger = container.Header(
        width=256, height=192, colour=container.RGB, depth=8, model_id=b"\xde\xad\xbe\xef", level=30
    )
    cases = {
        "empty.vae": (b"", "the file is empty"),
        "cut.vae": (good[:-40], "are left"),
        "foreign.vae": (photo_file.read_bytes(), "not a .vae file"),
        "newer.vae": (good[:7] + b"\x02" + good[8:], "format version 2"),
        "stranger.vae": (container.pack(stranger, parsed.streams), "needs the model deadbeef"),
        "flipped.vae": (good[:-30] + bytes([good[-30] ^ 1]) + good[-29:], "checksum of group 0"),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        for command in ("decompress", "info"):
            code, _, err = run(command, tmp_path / name)
            if command == "info" and name == "stranger.vae":
                assert code == 0
                continue
            assert code == 1
            assert f"{name}: " in err
            assert message in err
            assert len(err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.glob("*.png")] == ["photo.png"]
    assert not [n for n in names(tmp_path) if n.endswith(".partial")]


@pytest.mark.parametrize("quality", ["0", "101", "high", "5.5"])
def test_quality_out_of_range(run: Run, photo_file: Path, quality: str) -> None:
    code, _, err = run("compress", photo_file, "-q", quality)
    assert code == 2
    assert "quality" in err
    assert names(photo_file.parent) == ["photo.png"]


def test_wrong_usage(run: Run, photo_file: Path, tmp_path: Path) -> None:
    assert run("compress", photo_file, "--model", "nonesuch")[0] == 2
    assert run("nonesuch")[0] == 2
    assert run("compress")[0] == 2
    (tmp_path / "file").touch()
    for name in ("file", "new.vae"):
        code, _, err = run("compress", photo_file, photo_file, "-o", tmp_path / name)
        assert code == 1
        assert "several inputs need a folder" in err
    (tmp_path / "hollow").mkdir()
    code, _, err = run("compress", tmp_path / "hollow")
    assert code == 1
    assert "no file to work on" in err


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that may not be written to, by whoever this process is for the time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        locked = folder / "locked"
        locked.mkdir()
        locked.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield locked
        finally:
            if root:
                os.seteuid(0)
            locked.chmod(0o755)


def test_a_folder_without_permission(unprivileged: Path) -> None:
    with pytest.raises(vaecodec.VaeError, match=r"out\.vae: cannot be written \("):
        write_whole(unprivileged / "out.vae", b"data")


def test_a_full_disk(tmp_path: Path, photo_file: Path) -> None:
    """A limit on file size stands in for the disk: the write fails half-way, as there."""
    out = tmp_path / "out.vae"
    done = subprocess.run(
        [sys.executable, "-m", "vaecodec.cli.main", "compress", photo_file, "-q", "100", "-o", out],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048)),
    )
    assert done.returncode == 1
    assert "out.vae: cannot be written (File too large)" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(tmp_path) == ["photo.png"]


def test_info(run: Run, vae_file: Path) -> None:
    code, out, _ = run("info", vae_file, "--json")
    about = json.loads(out)
    assert code == 0
    assert (about["width"], about["height"], about["colour"]) == (256, 192, "RGB")
    assert about["bytes"]["file"] == vae_file.stat().st_size
    assert about["bytes"]["picture"] + about["bytes"]["container"] == about["bytes"]["file"]
    assert about["bits_per_pixel"] == round(8 * vae_file.stat().st_size / (256 * 192), 4)
    default = registry.find(None)
    assert (about["model"], about["tune"]) == (default.name, default.tune)
    code, out, _ = run("info", vae_file)
    assert code == 0
    assert "256 x 192, RGB" in out
    rows = dict(line.split(":", 1) for line in out.splitlines())
    assert rows["model"].split() == [default.name, f"({default.card['id']})"]
    assert rows["tune"].strip() == default.tune


def test_tunes(run: Run, photo_file: Path) -> None:
    out = photo_file.with_suffix(".vae")
    for tune in TUNES:
        assert run("compress", photo_file, "--tune", tune, "--force") == (0, "", "")
        about = json.loads(run("info", out, "--json")[1])
        assert (about["model"], about["tune"]) == (registry.find(None, tune).name, tune)
        assert run("decompress", out, "--force") == (0, "", "")
    own = registry.find(None, "psnr").name
    assert run("compress", photo_file, "--model", own, "--force") == (0, "", "")
    assert json.loads(run("info", out, "--json")[1])["tune"] == "psnr"
    out.unlink()
    code, _, err = run("compress", photo_file, "--model", own, "--tune", "visual")
    assert code == 2
    assert f"{own} is of tune psnr, not visual; there are: " in err
    assert run("compress", photo_file, "--tune", "ssim")[0] == 2
    assert not out.exists()


def test_lossless(run: Run, photo_file: Path, photo: np.ndarray) -> None:
    out, back = photo_file.with_suffix(".vae"), photo_file.with_name("back.png")
    assert run("compress", photo_file, "--lossless") == (0, "", "")
    assert run("decompress", out, "-o", back) == (0, "", "")
    assert np.array_equal(np.asarray(Image.open(back)), photo)
    assert "without loss" in run("info", out)[1]
    assert json.loads(run("info", out, "--json")[1])["lossless"]


def test_a_model_that_is_not_installed(run: Run, tmp_path: Path, photo_file: Path) -> None:
    """One whose bytes differ from the shipped one's has another id: files need it named."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    shipped = registry.find(None).path
    with safe_open(shipped, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    own, vae, out = tmp_path / "own.safetensors", tmp_path / "own.vae", tmp_path / "own.png"
    tensors["transforms.synthesis.tail.bias"] += 0.01
    save_file(tensors, own, metadata)
    assert run("compress", photo_file, "-o", vae, "--model", own)[0] == 0
    code, _, err = run("decompress", vae, "-o", out)
    assert code == 1
    assert "not installed" in err
    assert run("decompress", vae, "-o", out, "--model", own)[0] == 0
    image = vaecodec.decode(vae.read_bytes(), model=str(own))
    assert np.array_equal(np.asarray(image), np.asarray(Image.open(out)))
    page = tmp_path / "page.html"
    assert run("compare", photo_file, "-o", page, "--model", own, "--codecs", "jpeg")[0] == 0
    assert "own" in page.read_text()


@pytest.mark.parametrize(
    ("options", "same"),
    [
        (("-q", "33"), {"quality": 33}),
        (("--tune", "psnr"), {"tune": "psnr"}),
        (("--effort", "1"), {"effort": 1}),
        (("--target-size", "1500"), {"target_size": 1500}),
        (("--target-bpp", "0.5"), {"target_bpp": 0.5}),
        (("--target-psnr", "30"), {"target_psnr": 30}),
        (("--target-ssimulacra2", "60"), {"target_ssimulacra2": 60}),
        (("--denoise", "10"), {"denoise": 10}),
        (("--deblock", "40"), {"deblock": 40}),
    ],
)
def test_options_reach_the_encoder(
    run: Run, tmp_path: Path, photo: np.ndarray, options: tuple[str, ...], same: dict[str, Any]
) -> None:
    Image.fromarray(photo[:64, :96]).save(tmp_path / "a.png")
    assert run("compress", tmp_path / "a.png", *options)[0] == 0
    found = (tmp_path / "a.vae").read_bytes()
    assert found == vaecodec.encode(photo[:64, :96], **same) != vaecodec.encode(photo[:64, :96])


def test_a_picture_beyond_pillow_s_limit(
    run: Run, tmp_path: Path, photo_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae, out = tmp_path / "a.vae", tmp_path / "a.png"
    assert run("compress", photo_file, "-o", vae)[0] == 0
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert run("decompress", vae, "-o", out) == (0, "", "")
    assert Image.open(out).size == (256, 192)


def test_models_and_version(run: Run) -> None:
    code, out, _ = run("models")
    assert code == 0
    rows = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert set(rows) == {entry.name for entry in registry.registered()}
    for entry in registry.registered():
        assert f" {entry.tune} " in rows[entry.name]
        assert rows[entry.name].endswith(" *") == (entry == registry.find(None))
    assert rows[registry.find(None, "psnr").name].endswith(" with --tune psnr")
    assert vaecodec.__version__ in run("--version")[1]
    assert "compress" in run("--help")[1]


@pytest.fixture
def images(tmp_path: Path, photo: np.ndarray) -> Path:
    """A folder of two small photographs and a file that is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(photo[:96, :96]).save(folder / "a.png")
    Image.fromarray(photo[96:, 96:]).save(folder / "b.png")
    (folder / "c.png").write_bytes(b"rubbish")
    return folder


def test_bench(run: Run, images: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the bench extra is not installed")
    out = tmp_path / "deep" / "out"
    arguments = ("--qualities", "10,40,70,95", "--metrics", "psnr,psnr-y", "--out", out)
    code, text, err = run("bench", images, *arguments)
    assert code == 1
    assert err.count("\n") == 1
    assert "c.png: not an image" in err
    assert "BD-rate against jpeg at equal PSNR (dB) (akima)\n  vae " in text
    assert "100% of the shorter range" in text
    assert "; mean of 2 images -" in text
    results = read_results(out / "results.json")
    assert len(results.rows) == 2 * (len(TUNES) * 4 + len(JPEG.qualities))
    for row in results.rows:
        assert row.bpp == 8 * row.bytes / (96 * 96 if row.image == "a.png" else 96 * 160)
    names = {"cache.jsonl", "report.html", "results.csv", "results.json"}
    names |= {f"{n}.{e}" for n in ("rd-psnr", "rd-psnr-y", "speed") for e in ("png", "svg")}
    assert {path.name for path in out.iterdir()} == names
    # Once more: the same figures, and nothing measured again, speeds included.
    (images / "c.png").unlink()
    before = {name: (out / name).read_bytes() for name in names}
    assert run("bench", images, *arguments)[0] == 0
    assert {name: (out / name).read_bytes() for name in names} == before
    # Anew, elsewhere: the same files, byte for byte, and the same qualities.
    other = tmp_path / "other"
    assert run("bench", images, *arguments[:-1], other)[0] == 0
    again = read_results(other / "results.json")
    for a, b in zip(results.rows, again.rows, strict=True):
        assert (a.image, a.codec, a.quality, a.sha256, a.metrics) == (
            b.image, b.codec, b.quality, b.sha256, b.metrics
        )  # fmt: skip


def test_bench_without_what_was_asked_for(
    run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="the bench extra is not installed")
    (images / "c.png").unlink()
    small = ("--codecs", "vae,jpeg", "--qualities", "20,90", "--qualities", "jpeg=20,90")
    # A codec, a metric, an external codec and a reference that are missing: the others go on.
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    options = ("--codecs", "jpeg,jxl", "--qualities", "jpeg=10,50", "--metrics", "psnr,lpips")
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    code, text, err = run(
        "bench", images, *options, "--external", tmp_path / "x.toml", "--reference", tmp_path / "y.json"
    )
    assert code == 1
    for message in (
        "jxl needs the extra",
        "lpips ",
        "x.toml: cannot be read",
        "y.json: cannot be read",
    ):
        assert message in err
    assert len(err.splitlines()) == 4
    assert [line.split()[:2] for line in text.splitlines()[2:]] == [["jpeg", "10"], ["jpeg", "50"]]
    code, text, err = run("bench", images, *small, "--efforts", "0,1")
    assert code == 0
    assert text.count("effort 1 ") >= 2
    assert "effort 0" not in text  # the default has no suffix
    size = registry.find(None).card["size"]
    code, text, err = run("bench", images, *small, "--tunes", "visual,psnr", "--models", size)
    assert code == 0
    for tune in TUNES:
        assert text.count(f"vae {registry.find(size, tune).name} ") >= 2
    code, text, err = run("bench", images, *small, "--tunes", "psnr", "--models", "all")
    assert code == 0
    for entry in registry.registered():
        assert (f"vae {entry.name} " in text) == (entry.tune == "psnr")
    code, text, err = run("bench", images, "--codecs", "avif:10", "--qualities", "avif:10=30")
    assert [line.split()[:4] for line in text.splitlines()[2:3]] == [["avif", "speed", "10", "30"]]
    own = registry.find(size, "psnr").name
    for wrong, message in (
        (("--efforts", "2,99"), "'2,99' is not a list of numbers from 0 to 32"),
        (("--codecs", "vae,gif"), "no codec is called 'gif'"),
        (("--codecs", "jpeg", "--codecs", "webp,gif:3"), "no codec is called 'gif'"),
        (("--tunes", "psnr,ssim"), "no tune is called 'ssim'; there are: visual, psnr"),
        (("--models", own, "--tunes", "visual"), f"{own} is of tune psnr, not visual"),
        (("--metrics", "psnr,mse"), "no metric is called 'mse'"),
        (("--qualities", "0,5"), "'0,5' is not a list of numbers from 1 to 100"),
        (("--qualities", "webp=5"), "no codec is called 'webp'"),
        (("--qualities", "jpeg=x"), "'jpeg=x' is not CODEC=Q,Q,..."),
        (("--anchor", "webp"), "no curve is called 'webp'"),
        (("--models", "large-9"), "no model is called 'large-9'"),
        (("--codecs", "avif:4,avif"), "two codecs are called 'avif'"),
    ):
        code, _, err = run("bench", images, *wrong)
        assert code == 2, wrong
        assert message in err


def test_bench_on_bad_folders(run: Run, images: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the bench extra is not installed")
    code, _, err = run("bench", tmp_path / "absent")
    assert (code, err) == (2, f"vaecodec: {tmp_path / 'absent'}: no such folder of images\n")
    (tmp_path / "empty").mkdir()
    assert "empty: holds no image" in run("bench", tmp_path / "empty")[2]
    for path in (images / "a.png", images / "b.png"):
        path.unlink()
    code, _, err = run("bench", images)
    assert code == 2
    assert "c.png: not an image" in err
    assert "images: no readable image" in err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    code, _, err = run("bench", images, "--out", tmp_path / "full")
    assert code == 2
    assert "full: holds other files; choose an empty or a new folder" in err
