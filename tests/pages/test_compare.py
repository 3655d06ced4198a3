"""`vaecodec compare`: what is compared, and the page, opened from the file system in a real browser."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vaecodec
from vaecodec import compare, figures
from vaecodec.codec import Codec
from vaecodec.pictures.reading import Picture, to_picture

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def source(photo: np.ndarray, srgb_profile: bytes) -> compare.Original:
    image = Image.fromarray(photo)
    image.info["icc_profile"] = srgb_profile
    return compare.original(to_picture(image))


@pytest.fixture(scope="module")
def own(source: compare.Original, codec: Codec) -> compare.Own:
    return compare.own(source, codec, quality=40)


def test_own(own: compare.Own, photo: np.ndarray, codec: Codec, srgb_profile: bytes) -> None:
    version = own.version
    plain = codec.encode(photo, 40)
    assert version.bytes == len(plain) < len(own.file)
    assert version.bpp == 8 * len(plain) / (192 * 256)
    assert codec.decode(own.file).info["icc_profile"] == srgb_profile
    image = Image.open(io.BytesIO(version.shown.data))
    assert image.info["icc_profile"] == srgb_profile
    decoded = np.asarray(codec.decode(plain))
    assert np.array_equal(np.asarray(image.convert("RGB")), decoded)
    error = np.square(decoded.astype(float) - photo).mean()
    assert version.psnr == pytest.approx(10 * np.log10(255**2 / error))
    assert version.ssimulacra2 is not None and 0 < version.ssimulacra2 < 100


@pytest.mark.parametrize("name", compare.PEERS)
def test_peers_are_no_larger(
    name: str, own: compare.Own, source: compare.Original, srgb_profile: bytes
) -> None:
    peer = compare.peer(source, name, own.version.bytes)
    assert peer.fits and 0.8 * own.version.bytes < peer.bytes <= own.version.bytes
    image = Image.open(io.BytesIO(peer.shown.data))
    assert image.size == (256, 192)
    assert image.info["icc_profile"] == srgb_profile
    assert len(peer.shown.data) > peer.bytes  # the profile is shown, and not counted
    assert peer.psnr is not None and 20 < peer.psnr < 50


def test_what_cannot_be_so_small(source: compare.Original) -> None:
    peer = compare.peer(source, "jpeg", 10)
    assert not peer.fits and peer.bytes > 10
    assert "(its smallest)" in compare.table([peer])


def test_transparency_is_compared_over_white(photo: np.ndarray, codec: Codec) -> None:
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    alpha[:96] = 0
    source = compare.original(Picture(samples=photo, grey=False, alpha=alpha))
    assert (source.seen[:96] == 255).all()
    assert np.array_equal(source.seen[96:], photo[96:])
    own = compare.own(source, codec, quality=40)
    assert own.version.bytes < len(own.file)
    seen = np.asarray(Image.open(io.BytesIO(own.version.shown.data)).convert("RGB"))
    assert (seen[:96] == 255).all()
    assert codec.decode(own.file).mode == "RGBA"


def test_what_is_stored_without_loss_is_equal(codec: Codec) -> None:
    flat = np.zeros((64, 64, 3), np.uint8)
    flat[8:16, 8:16] = 200
    own = compare.own(compare.original(to_picture(flat)), codec, quality=40)
    assert (own.version.psnr, own.version.settings) == (None, "no model")
    assert own.version.quality == "lossless" and own.version.ssimulacra2 == 100
    assert "equal" in compare.table([own.version])


def test_large_pictures_are_not_measured_in_every_way(
    monkeypatch: pytest.MonkeyPatch, photo: np.ndarray, codec: Codec
) -> None:
    monkeypatch.setattr(figures, "MEASURED_PIXELS", 100)
    source = compare.original(to_picture(photo[:32, :32]))
    version = compare.own(source, codec, quality=40).version
    assert version.ssimulacra2 is None and version.psnr is not None


def test_sides_longer_than_webp_has() -> None:
    wide = np.zeros((1, 16384, 3), np.uint8)
    assert compare.shown(wide).type == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(compare.shown(wide).data))), wide)


def test_what_can_go_wrong(run: Run, monkeypatch: pytest.MonkeyPatch, photo_file: Path) -> None:
    monkeypatch.chdir(photo_file.parent)
    Path("photo.compare.html").write_text("mine")
    code, _, err = run("compare", "photo.png")
    assert (code, "exists already" in err) == (1, True)
    assert Path("photo.compare.html").read_text() == "mine"
    code, _, err = run("compare", "-")
    assert (code, "with -o" in err) == (2, True)
    code, _, err = run("compare", "none.png")
    assert (code, err) == (1, "vaecodec: none.png: cannot be read (No such file or directory)\n")
    code, _, err = run("compare", "photo.png", "-o", "photo.png", "--force")
    assert (code, err) == (1, "vaecodec: photo.png: the name of an .html file was expected\n")
    assert Image.open("photo.png").size == (256, 192)
    for name in (".", "/", ""):
        code, _, err = run("compare", name)
        assert (code, "the name of a picture file was expected" in err) == (1, True)
    code, _, err = run("compare", "photo.png", "--codecs", "jpeg,none")
    assert (code, "no codec is called 'none'" in err) == (2, True)
    Path("photo.vae").write_bytes(vaecodec.encode("photo.png"))
    code, _, err = run("compare", "photo.vae", "-o", "other.html")
    assert (code, "a .vae file already" in err) == (1, True)


def test_some_codecs_only(run: Run, monkeypatch: pytest.MonkeyPatch, photo_file: Path) -> None:
    monkeypatch.chdir(photo_file.parent)
    code, out, _ = run("compare", "photo.png", "--codecs", "jpeg", "-o", "deep/page.html")
    assert code == 0 and "JPEG" in out and "AVIF" not in out
    assert Path("deep/page.html").exists()


def test_drawings_are_compared_with_webp_without_loss(codec: Codec) -> None:
    flat = np.random.default_rng(1).integers(0, 2, (64, 64, 1), np.uint8).repeat(3, 2) * 255
    source = compare.original(to_picture(flat))
    size = compare.own(source, codec, quality=60).version.bytes
    webp = compare.peer(source, "webp", size)
    assert (webp.quality, webp.psnr, webp.fits) == ("lossless", None, True)
    assert compare.peer(source, "webp", size // 4).quality != "lossless"


def test_sides_longer_than_a_format_has(codec: Codec) -> None:
    source = compare.original(to_picture(np.zeros((1, 65501, 3), np.uint8)))
    for name, side in compare.SIDES.items():
        with pytest.raises(vaecodec.VaeError, match=f"a side of more than {side} pixels"):
            compare.peer(source, name, 1000)


def test_tiny_pictures_have_no_ssimulacra2(photo: np.ndarray, codec: Codec) -> None:
    source = compare.original(to_picture(photo[:7, :64]))
    assert compare.own(source, codec, quality=30).version.ssimulacra2 is None


def test_the_page(
    run: Run, monkeypatch: pytest.MonkeyPatch, photo_file: Path, browser: Any, open_page: Any
) -> None:
    monkeypatch.chdir(photo_file.parent)
    code, out, err = run("compare", "photo.png", "-q", "40")
    assert (code, err) == (0, "")
    assert out.endswith("written: photo.compare.html\n")
    assert out.count("\n") == 2 + 1 + len(compare.PEERS)
    page = open_page(Path("photo.compare.html").resolve().as_uri())
    rows = page.locator("#versions tr").all_text_contents()
    assert len(rows) == 2 + len(compare.PEERS)
    assert f"{len(vaecodec.encode(photo_file, 40)):,}" in rows[1]
    names = ["original", "vaecodec", *compare.PEERS.values()]
    assert page.locator("#left option").all_text_contents() == names
    for name in names:
        page.select_option("#right", name)
        page.wait_for_function(
            "below.complete && `${[below.naturalWidth, below.naturalHeight]}` === '256,192'"
        )
        assert page.text_content("#right-caption").startswith(name)
    page.focus("#handle")
    for key, value in (("ArrowLeft", "48"), ("PageUp", "68"), ("End", "100"), ("Home", "0")):
        page.keyboard.press(key)
        assert page.get_attribute("#handle", "aria-valuenow") == value
    # At most at 100 %, a pixel of the picture is one of the screen; at 400 % it is dragged.
    for zoom in ("0", "1"):
        page.select_option("#zoom", zoom)
        assert page.locator("#below").bounding_box()["width"] == 256
    page.select_option("#zoom", "4")
    box = page.locator("#slider").bounding_box()
    assert page.evaluate("pane.scrollTop") == 0
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 - 30, box["y"] + box["height"] / 2 - 40)
    page.mouse.up()
    assert page.evaluate("pane.scrollTop") == 40
    assert page.get_attribute("#handle", "aria-valuenow") == "0"
