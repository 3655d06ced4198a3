"""The benchmark: codecs, metrics, BD-rate, cache, processes."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from bitstream.errors import VaeError
from vaecodec.bench.cache import Cache
from vaecodec.bench.codecs import OTHERS, other
from vaecodec.bench.codecs.external import External, read_external
from vaecodec.bench.codecs.jpegxl import distance
from vaecodec.bench.codecs.pillow import JPEG, WEBP, Pillow, avif
from vaecodec.bench.codecs.vae import Vae
from vaecodec.bench.curves import (
    RATES,
    bd_rate,
    bd_rate_per_image,
    leads,
    mean_curve,
    quality_at,
    read_reference,
)
from vaecodec.bench.matched import match, match_all, side
from vaecodec.bench.metrics import (
    METRICS,
    ciede2000,
    cvvdp,
    features,
    flip,
    imagenet_input,
    ms_ssim,
    psnr_y,
    ssimulacra2,
    usable,
)
from vaecodec.bench.results import Results, Row, read_results
from vaecodec.bench.run import Source, jpeg_bytes_at, measure, read_samples, readable, run
from vaecodec.bench.summary import compare, standings
from vaecodec.figures import psnr
from vaecodec.files import expand

if TYPE_CHECKING:
    from conftest import Run

CURVE = [(0.1, 26.0), (0.25, 29.0), (0.6, 32.5), (1.2, 36.0), (2.0, 39.0)]
PUBLISHED = Path(__file__).parent.parent / "benchmarks" / "reference" / "kodak-published.json"

needs_bjontegaard = pytest.mark.skipif(
    importlib.util.find_spec("bjontegaard") is None,
    reason="the bench extra is not installed",
)

needs_cvvdp = pytest.mark.skipif(
    importlib.util.find_spec("pycvvdp") is None or importlib.util.find_spec("tqdm") is None,
    reason="cvvdp is not installed (pip install --no-deps cvvdp tqdm)",
)


@needs_bjontegaard
@pytest.mark.parametrize("interpolation", ["akima", "pchip"])
def test_bd_rate_of_known_curves(interpolation: str) -> None:
    assert abs(bd_rate(CURVE, CURVE, interpolation).percent) < 1e-9
    half = bd_rate(CURVE, [(r / 2, d) for r, d in CURVE], interpolation)
    assert half.percent == pytest.approx(-50, abs=1e-6)
    assert (half.low, half.high, half.overlap) == (26.0, 39.0, 1.0)
    assert bd_rate(CURVE, [(r * 3, d) for r, d in CURVE], interpolation).percent == pytest.approx(200)


@needs_bjontegaard
def test_bd_rate_leaves_out_points_that_are_no_better() -> None:
    bumpy = sorted([*CURVE, (0.3, 28.5), (0.6, 32.0)])
    assert abs(bd_rate(CURVE, bumpy).percent) < 1e-9


@needs_bjontegaard
def test_bd_rate_of_curves_that_cannot_be_compared() -> None:
    with pytest.raises(VaeError, match=r"overlap too little .* 26.00 to 39.00 and 38.00 to 51.00"):
        bd_rate(CURVE, [(r, d + 12) for r, d in CURVE])
    with pytest.raises(VaeError, match="needs curves of 4 points, one has 3"):
        bd_rate(CURVE, CURVE[:3])


@needs_bjontegaard
def test_bd_rate_agrees_with_published_ones() -> None:
    """CompressAI's own documents put VTM at 67 to 68 % below JPEG on these curves."""
    curves = read_reference(PUBLISHED)
    assert -68.5 < bd_rate(curves["jpeg"]["psnr"], curves["vtm"]["psnr"]).percent < -66.5


@needs_bjontegaard
@pytest.mark.parametrize("name", ["webp", "avif"])
def test_bd_rate_agrees_with_an_independent_computation(name: str, photo: np.ndarray) -> None:
    """Pillow's files measured without our code, and cubic polynomials as in VCEG-M33."""
    rows, polynomials, ranges = [], [], []
    for codec in (JPEG, other(name)):
        assert isinstance(codec, Pillow)
        rates, decibels = [], []
        for quality in codec.qualities[1:-2]:
            rows.append(measure("photo", photo, codec, quality))
            data = codec.encode(photo, quality)
            error = Image.open(io.BytesIO(data)).convert("RGB") - photo.astype(float)
            rates.append(math.log(len(data) * 8 / photo[..., 0].size))
            decibels.append(10 * math.log10(255**2 / float(np.mean(error**2))))
        polynomials.append(np.polyint(np.polyfit(decibels, rates, 3)))
        ranges.append((decibels[0], decibels[-1]))
    low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
    areas = [np.polyval(p, high) - np.polyval(p, low) for p in polynomials]
    expected = 100 * (math.exp((areas[1] - areas[0]) / (high - low)) - 1)
    measured = bd_rate(mean_curve(rows, "jpeg"), mean_curve(rows, name)).percent
    assert measured == pytest.approx(expected, abs=2)


@needs_bjontegaard
def test_mean_curves_and_means_of_single_images() -> None:
    def row(image: str, codec: str, quality: int, size: int, decibels: float | None) -> Row:
        return Row(
            image=image,
            codec=codec,
            quality=quality,
            bytes=size,
            sha256="",
            width=8,
            height=8,
            encode_seconds=0,
            decode_seconds=0,
            metrics={"psnr": decibels},
        )

    rows = []
    for image, factor in (("a", 1), ("b", 4)):
        for quality, size, decibels in ((1, 10, 25.0), (2, 20, 30.0), (3, 40, 34.0), (4, 80, 37.0)):
            rows.append(row(image, "x", quality, factor * size, decibels))
            share = 0.5 if image == "a" else 0.8
            rows.append(row(image, "y", quality, round(share * factor * size), decibels))
    assert mean_curve(rows, "x")[0] == ((10 + 40) / 2 / 8, 25.0)
    value, images = bd_rate_per_image(rows, "x", "y")
    assert images == 2
    assert value == pytest.approx((-50 - 20) / 2)
    # An exact copy has no finite PSNR: the point is left out.
    exact = [*rows, row("a", "x", 5, 200, None), row("b", "x", 5, 800, 50.0)]
    assert mean_curve(exact, "x") == mean_curve(rows, "x")
    # A mean over fewer images than the others is none.
    failed = [*rows, row("a", "x", 5, 200, 50.0)]
    assert mean_curve(failed, "x") == mean_curve(rows, "x")
    one_fails = [row for row in rows if (row.image, row.codec) != ("b", "y")]
    results = Results(machine="", jobs=1, codecs={"x": "", "y": ""}, metrics={}, rows=one_fails)
    (y,) = compare(results, "psnr", "x", {})
    assert y.of_means == "no quality of y was measured on every image"
    assert (y.images, y.per_image) == (1, pytest.approx(-50))
    nothing, none = bd_rate_per_image(rows, "x", "absent")
    assert math.isnan(nothing)
    assert none == 0


@needs_bjontegaard
def test_curves_at_equal_rate() -> None:
    assert quality_at(CURVE, [rate for rate, _ in CURVE]) == pytest.approx([d for _, d in CURVE])
    assert quality_at(CURVE, (0.05, 2.5)) == [None, None]
    # Straight over log rate, so exact in between.
    straight = [(2.0**k, 30.0 + 3 * k) for k in range(-4, 2)]
    assert quality_at(straight, (2.0**-1.5,)) == pytest.approx([25.5])
    better = [(rate, quality + 1.5) for rate, quality in straight if rate < 1.5]
    found = leads(straight, better, (0.03, 0.2, 0.8, 1.9))
    assert found == pytest.approx({0.2: 1.5, 0.8: 1.5})
    with pytest.raises(VaeError, match=r"share no rate of 3 to 4 bits per pixel"):
        leads(straight, better, (3, 4))
    with pytest.raises(VaeError, match="needs 2 points to be interpolated, one has 1"):
        quality_at([(1, 30.0), (2, 29.0)])


@needs_bjontegaard
def test_standings_are_against_the_best_curve_of_a_format() -> None:
    curves = {
        "vae own": CURVE,
        "avif": [(2 * rate, quality) for rate, quality in CURVE],
        # Better than ours at the low end alone.
        "avif-psnr speed 0": [
            (rate * (0.9 if rate < 0.3 else 1.5), quality) for rate, quality in CURVE
        ],
        "jpeg2000": [(rate, quality + 30) for rate, quality in CURVE],
    }
    rows = [
        Row(
            image="a",
            codec=name,
            quality=number,
            bytes=round(rate * 80_000),
            sha256="",
            width=800,
            height=800,
            encode_seconds=0,
            decode_seconds=0,
            metrics={"psnr": quality},
        )
        for name, curve in curves.items()
        for number, (rate, quality) in enumerate(curve)
    ]
    found = standings(
        Results(machine="", jobs=1, codecs=dict.fromkeys(curves, ""), metrics={"psnr": ""}, rows=rows),
        "psnr",
        "vae own",
    )
    assert set(found) == {"avif"}  # the other cannot be compared
    assert found["avif"].best == "avif-psnr speed 0"
    assert -25 < found["avif"].percent < -10
    assert found["avif"].rates == RATES
    assert found["avif"].behind == (0.15, 0.2, 0.25, 0.3)


def test_references_are_read_or_refused(tmp_path: Path) -> None:
    assert set(read_reference(PUBLISHED)["vtm"]) == {"psnr", "ms-ssim"}
    path = tmp_path / "curves.json"
    for text in (
        "",
        "[]",
        '{"curves": {"a": [{"psnr": 3}]}}',
        '{"curves": {"a": []}}',
        '{"curves": [1]}',
    ):
        path.write_text(text)
        with pytest.raises(VaeError, match=r"curves\.json: holds no rate-distortion curves"):
            read_reference(path)
    with pytest.raises(VaeError, match=r"absent\.json: cannot be read"):
        read_reference(tmp_path / "absent.json")


def test_psnr() -> None:
    a = np.zeros((4, 4, 3), np.uint8)
    assert psnr(a, a) == math.inf
    assert psnr(a, a + 1) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(a, a + 255) == pytest.approx(0)
    red = a.copy()
    red[..., 0] = 10
    assert psnr_y(a, red) == pytest.approx(20 * math.log10(255 / 2.99), abs=1e-6)


def test_ms_ssim(photo: np.ndarray) -> None:
    pytest.importorskip("pytorch_msssim", reason="the bench extra is not installed")
    assert ms_ssim(photo, photo) == pytest.approx(1, abs=1e-6)
    values = [ms_ssim(photo, JPEG.decode(JPEG.encode(photo, q))) for q in (10, 50, 90)]
    assert values == sorted(values)
    assert ms_ssim(photo[:160], photo[:160]) is None


def test_ssimulacra2(photo: np.ndarray) -> None:
    pytest.importorskip("ssimulacra2", reason="the bench extra is not installed")
    cut = photo[:96, :96]
    assert ssimulacra2(cut, cut) == pytest.approx(100)
    values = [ssimulacra2(cut, JPEG.decode(JPEG.encode(cut, q))) for q in (10, 50, 90)]
    assert values == sorted(values)
    assert ssimulacra2(cut[:7], cut[:7]) is None


@pytest.mark.parametrize(
    ("name", "same"),
    [("cvvdp", 10), ("ciede2000", 0), ("flip", 0), ("features", 0), ("psnr-y", math.inf)],
)
def test_metrics_tell_the_same_from_the_worse(name: str, same: float, photo: np.ndarray) -> None:
    try:
        metric = usable(name)
    except VaeError as error:
        pytest.skip(str(error))
    assert metric.measure(photo, photo) == pytest.approx(same, abs=1e-6)
    values = [metric.measure(photo, JPEG.decode(JPEG.encode(photo, q))) for q in (10, 40, 70, 95)]
    scaled = [metric.scale(value) for value in (*values, same) if value is not None]
    assert scaled == sorted(set(scaled))
    assert len(scaled) == 5


@needs_cvvdp
def test_cvvdp_of_small_pictures(photo: np.ndarray) -> None:
    assert cvvdp(photo[:8, :9], photo[:8, :9]) == 10
    assert cvvdp(photo[:7], photo[:7]) is None


@needs_cvvdp
def test_cvvdp_leaves_other_modules_alone() -> None:
    """In a process of its own: what stood in for torchvision and others is gone after the import."""
    program = (
        "import sys, types; path = list(sys.path)\n"
        "sys.modules['ffmpeg'] = own = types.ModuleType('ffmpeg')\n"
        "from vaecodec.bench.colorvideovdp import network; network()\n"
        "assert sys.modules['ffmpeg'] is own and sys.path == path\n"
        "assert 'torchvision.transforms' not in sys.modules and 'pycvvdp' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_ciede2000() -> None:
    """A pair of Sharma et al. (2005) is beyond sRGB's 8 bits; greys differ in lightness alone."""
    pytest.importorskip("skimage", reason="the bench extra is not installed")
    grey, brighter = (np.full((24, 32, 3), value, np.uint8) for value in (119, 122))
    lightness = [116 * ((v / 255 + 0.055) / 1.055) ** (2.4 / 3) - 16 for v in (119, 122)]
    mean = sum(lightness) / 2
    weight = 1 + 0.015 * (mean - 50) ** 2 / math.sqrt(20 + (mean - 50) ** 2)
    expected = (lightness[1] - lightness[0]) / weight
    assert ciede2000(grey, brighter) == pytest.approx(expected, rel=1e-3)
    # It sees a shift of an area's colour, and next to nothing of what averages out in one.
    noise = np.where(np.indices((24, 32)).sum(0) % 2, 3, -3)[..., None]
    assert ciede2000(grey, (grey + noise).astype(np.uint8)) < 0.1 * expected


def test_flip_of_the_colours_furthest_apart() -> None:
    """Its colour differences are scaled so that sRGB's blue and green are 1 apart."""
    pytest.importorskip("flip_evaluator", reason="the bench extra is not installed")
    green, blue = np.zeros((2, 48, 48, 3), np.uint8)
    green[..., 1], blue[..., 2] = 255, 255
    assert flip(green, blue) == pytest.approx(1, abs=1e-6)


def test_the_network_of_features_knows_a_cat() -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="the bench extra is not installed")
    import skimage.data
    import torch

    from vaecodec.bench.metrics import efficientnet

    cat = np.asarray(Image.fromarray(skimage.data.chelsea()).resize((224, 224)))
    with torch.inference_mode():
        assert int(efficientnet()(imagenet_input(cat)).argmax()) == 285  # Egyptian cat
    assert features(cat, cat[::-1]) > 0.1
    assert features(cat[:31], cat[:31]) is None


def test_metrics_that_cannot_be_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(VaeError, match="no metric is called 'ssim'; there are psnr, psnr-y"):
        usable("ssim")

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", absent)
    with pytest.raises(VaeError, match=r"ms-ssim is measured by pytorch-msssim, .*\[bench\]"):
        usable("ms-ssim")
    with pytest.raises(VaeError, match=r"by cvvdp, which is missing: pip install --no-deps cvvdp tqdm"):
        usable("cvvdp")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(VaeError, match=r"lpips needs the weights .*alexnet.* not on this machine"):
        usable("lpips")
    assert usable("psnr") is METRICS["psnr"]


def test_jpeg_size_at_a_psnr_lies_between_its_neighbours(photo: np.ndarray) -> None:
    data = {q: JPEG.encode(photo, q) for q in (60, 61)}
    values = {q: psnr(photo, JPEG.decode(d)) for q, d in data.items()}
    middle = jpeg_bytes_at(photo, (values[60] + values[61]) / 2)
    assert len(data[60]) <= middle <= len(data[61])
    assert jpeg_bytes_at(photo, values[60]) == pytest.approx(len(data[60]))
    assert np.isnan(jpeg_bytes_at(photo, 99.0))


@pytest.mark.parametrize("name", OTHERS)
def test_other_codecs_get_better_with_quality(name: str, photo: np.ndarray) -> None:
    if name == "jxl":
        pytest.importorskip("imagecodecs", reason="the bench extra is not installed")
    codec = other(name)
    assert codec.name == name
    assert any(digit in codec.settings for digit in "0123456789")  # versions
    files = [codec.encode(photo, q) for q in codec.qualities[::4]]
    assert files[0] == codec.encode(photo, codec.qualities[0])
    assert [len(f) for f in files] == sorted(len(f) for f in files)
    decoded = [codec.decode(f) for f in files]
    assert {(d.shape, d.dtype) for d in decoded} == {(photo.shape, photo.dtype)}
    values = [psnr(photo, d) for d in decoded]
    assert values == sorted(values)
    assert values[-1] > 33


def test_codecs_with_something_to_set(photo: np.ndarray) -> None:
    assert other("avif:9").name == "avif speed 9"
    assert other("avif:9").encode(photo[:64, :64], 50) != other("avif:1").encode(photo[:64, :64], 50)
    for spec, message in (
        ("gif", "no codec is called 'gif'; there are vae, jpeg"),
        ("avif:11", "the speed of avif is a number from 0 to 10"),
        ("avif-psnr:", "the speed of avif-psnr is a number from 0 to 10"),
        ("webp:3", "webp has nothing to set but its quality"),
    ):
        with pytest.raises(VaeError, match=message):
            other(spec)


def test_avif_is_tuned_for_the_eye_unless_for_psnr(photo: np.ndarray) -> None:
    _avif = pytest.importorskip("PIL._avif", reason="this Pillow has no AVIF")
    if not _avif.encoder_codec_available("aom"):
        pytest.skip("this Pillow's AVIF lacks aom")
    own, psnr_tuned = other("avif"), other("avif-psnr")
    assert isinstance(psnr_tuned, Pillow)
    assert psnr_tuned.settings.endswith("4:4:4, speed 4, one tile, tune psnr")
    assert other("avif-psnr:0").name == "avif-psnr speed 0"
    assert other("avif-psnr:0").settings.endswith("4:4:4, speed 0, one tile, tune psnr")
    files = {codec.name: codec.encode(photo, 55) for codec in (own, psnr_tuned)}
    assert files["avif"] != files["avif-psnr"]
    # Older ones have tune ssim, which is nearer to PSNR.
    iq = own.settings.endswith("tune iq, libavif's default")
    if iq:
        assert [own.encode(photo, q) for q in (25, 86)] == [
            avif(tune="iq").encode(photo, q) for q in (25, 86)
        ]
    # At equal rate the one tuned for PSNR has the better PSNR.
    curve = [(len(d), psnr(photo, own.decode(d))) for d in (own.encode(photo, q) for q in (55, 61, 67))]
    rates, values = zip(*curve, strict=True)
    tuned = files["avif-psnr"]
    assert rates[0] < len(tuned) < rates[-1]
    lead = psnr(photo, own.decode(tuned)) - np.interp(len(tuned), rates, values)
    assert lead > (0.2 if iq else 0)


def test_jpeg_xl_distances() -> None:
    """Values that `cjxl -v` prints: quality 90 is distance 1, and 30 joins the two formulas."""
    assert distance(90) == pytest.approx(1.0)
    assert distance(100) == 0
    assert distance(30) == pytest.approx(6.4)
    assert distance(29) == pytest.approx(6.55, abs=0.05)


@pytest.fixture
def png_pair(tmp_path: Path) -> Path:
    """An external codec: JPEG, by two Python scripts."""
    encode, decode = tmp_path / "encode.py", tmp_path / "decode with spaces.py"
    encode.write_text(
        "import sys; from PIL import Image\n"
        "Image.open(sys.argv[1]).save(sys.argv[2], 'JPEG', quality=100 - int(sys.argv[3]))\n"
    )
    decode.write_text("import sys; from PIL import Image; Image.open(sys.argv[1]).save(sys.argv[2])\n")
    path = tmp_path / "codec.toml"
    path.write_text(
        f"""name = "own"
encode = "{sys.executable} {encode} {{input}} {{output}} {{quality}}"
decode = "{sys.executable} '{decode}' {{input}} {{output}}"
qualities = [80, 5]
version = "1.0"
extension = ".jpg"
"""
    )
    return path


def test_an_external_codec(png_pair: Path, photo: np.ndarray) -> None:
    codec = read_external(png_pair)
    assert replace(codec, extension=".webp").settings != codec.settings
    plain = Pillow(name="plain", format="JPEG", about="", feature="jpg", qualities=(20, 95))
    assert codec.encode(photo, 30) == plain.encode(photo, 70)
    row = measure("photo", photo, codec, 30)
    assert row.psnr == measure("photo", photo, plain, 70).psnr
    # Its larger numbers are the worse ones: the search for a size goes the other way.
    found = match(photo, codec, 2.0, 64)
    assert found.bpp <= 2.0
    assert len(plain.encode(photo, 101 - found.quality)) * 8 / photo[..., 0].size > 2.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "own"', "", "lacks 'name'"),
        ("qualities = [80, 5]", "qualities = [80, 80]", "'qualities' must be a list of different"),
        ("qualities = [80, 5]", "qualities = 3", "'qualities' must be a list of different"),
        ('version = "1.0"', "version = 1", "'version' must be a text"),
        ('version = "1.0"', 'version = "1"\ncolour = "red"', "has 'colour', which means nothing here"),
        ("{quality}", "", r"'encode' lacks \{quality\}"),
        ("{quality}", "{speed}", "'encode' is not a command line"),
        ("name = ", "name ", "is not TOML"),
    ],
)
def test_bad_external_codecs(png_pair: Path, old: str, new: str, message: str) -> None:
    png_pair.write_text(png_pair.read_text().replace(old, new, 1))
    with pytest.raises(VaeError, match=rf"codec\.toml: {message}"):
        read_external(png_pair)


def test_external_commands_that_fail(photo: np.ndarray) -> None:
    python = f"{sys.executable} -c"
    for encode, message in (
        (f"{python} 'raise SystemExit(\"no memory\")' {{input}}", r"ended with code 1 \(no memory\)"),
        (f"{python} pass {{input}} {{output}}", "wrote no file"),
        ("absent-command {input} {output}", "cannot be run"),
    ):
        codec = External(
            name="own", encode_command=encode, decode_command=encode, qualities=(1,), version="1"
        )
        with pytest.raises(VaeError, match=rf"photo: own failed at quality 1 \(own: .*{message}"):
            measure("photo", photo, codec, 1)
    copy = f"{python} 'import shutil, sys; shutil.copy(*sys.argv[1:])' {{input}} {{output}}"
    empty = f"{python} 'import sys; open(sys.argv[1], \"w\")' {{output}}"
    broken = External(
        name="own", encode_command=copy, decode_command=empty, qualities=(1,), version="1"
    )
    with pytest.raises(VaeError, match="the decoder wrote no image that can be read"):
        measure("photo", photo, broken, 1)


@dataclass(frozen=True, kw_only=True)
class Counting:
    """A codec that counts what it is asked for: raw samples, coarser at low quality."""

    name: str = "counting"
    version: str = "1"
    qualities: Sequence[int] = (1, 2, 3)
    calls: list[int] = field(default_factory=list)

    @property
    def settings(self) -> str:
        return self.version

    def encode(self, image: np.ndarray, quality: int) -> bytes:
        if image.any():  # what codecs are warmed up with is black
            self.calls.append(quality)
        if self.version == "fails":
            raise ValueError("on purpose")
        step = 2 ** (7 - quality)
        return np.array(image.shape, "<u4").tobytes() + (image // step * step).tobytes()

    def decode(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data, np.uint8, offset=12).reshape(np.frombuffer(data, "<u4", 3))


class Failing(Counting):
    """The same codec, on a bad day."""

    def encode(self, image: np.ndarray, quality: int) -> bytes:
        raise ValueError("on purpose")


class Dying(Counting):
    """Takes its process with it."""

    def encode(self, image: np.ndarray, quality: int) -> bytes:
        os._exit(9)


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    path = tmp_path / "images"
    (path / "deep").mkdir(parents=True)
    Image.fromarray(photo[:40, :48]).save(path / "a.png")
    Image.fromarray(photo[50:98, 20:52]).save(path / "deep" / "b.png")
    return path


def _pictures(folder: Path) -> list[Source]:
    failures: list[str] = []
    found = readable(expand([str(folder)], {".png"}), failures.append)
    assert not failures
    return found


def test_measured_things_are_not_measured_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, path = Counting(), tmp_path / "cache.jsonl"
    pictures = _pictures(folder)
    assert [picture.name for picture in pictures] == ["a.png", "deep/b.png"]
    first = run(pictures, [(codec, (1, 2))], cache=Cache(path))
    assert sorted(codec.calls) == [1, 1, 2, 2]
    again = run(pictures, [(codec, (1, 2))], cache=Cache(path))
    assert len(codec.calls) == 4
    assert again.rows == first.rows
    # Times are of this machine, and of as many at once.
    with monkeypatch.context() as patch:
        patch.setattr("vaecodec.bench.run.machine", lambda: "another")
        run(pictures, [(codec, (1,))], cache=Cache(path))
    assert codec.calls[4:] == [1, 1]
    del codec.calls[4:]
    # A quality more, a metric more, another version of the codec, changed samples: only those.
    run(pictures, [(codec, (1, 2, 3))], cache=Cache(path))
    assert codec.calls[4:] == [3, 3]
    both = run(pictures, [(codec, (1,))], ["psnr", "psnr-y"], cache=Cache(path))
    assert codec.calls[6:] == [1, 1]
    assert set(both.rows[0].metrics) == {"psnr", "psnr-y"}
    newer = Counting(version="2")
    run(pictures, [(newer, (1,)), (codec, (1,))], cache=Cache(path))
    assert (newer.calls, codec.calls[8:]) == ([1, 1], [])
    Image.open(pictures[0].path).transpose(Image.Transpose.ROTATE_90).save(folder / "a.png")
    read_samples.cache_clear()
    run(_pictures(folder), [(codec, (1,))], cache=Cache(path))
    assert codec.calls[8:] == [1]


def test_what_cannot_be_measured_anew_is_left_out(folder: Path) -> None:
    cache, failures = Cache(None), list[str]()
    pictures, plan = _pictures(folder), [(Failing(), (1,))]
    assert len(run(pictures, [(Counting(), (1,))], cache=cache).rows) == 2
    assert len(run(pictures, plan, cache=cache).rows) == 2
    found = run(pictures, plan, ["psnr", "psnr-y"], cache=cache, failed=failures.append)
    assert (found.rows, len(failures)) == ([], 2)


def test_pictures_of_one_name(folder: Path, monkeypatch: pytest.MonkeyPatch, photo: np.ndarray) -> None:
    """Each is measured, once."""
    monkeypatch.chdir(folder)
    for name, size in (("a.png", 16), ("deep/a.png", 24)):
        Image.fromarray(photo[:size, :size]).save(name)
    failures: list[str] = []
    for inputs, names in (
        (["deep/a.png", "a.png"], ["a.png", str(folder / "a.png")]),
        (["a.png", "deep/a.png", "./a.png"], ["a.png", "deep/a.png"]),
    ):
        read_samples.cache_clear()
        found = readable(expand(inputs, {".png"}), failures.append)
        assert [picture.name for picture in found] == names and not failures
        assert len(run(found, [(Counting(), (1,))]).images) == 2


def test_a_cache_cut_short_goes_on(folder: Path, tmp_path: Path) -> None:
    codec, path = Counting(), tmp_path / "cache.jsonl"
    first = run(_pictures(folder), [(codec, (1, 2, 3))], cache=Cache(path))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + lines[4][:50])
    codec.calls.clear()
    second = run(_pictures(folder), [(codec, (1, 2, 3))], cache=Cache(path))
    assert codec.calls == [2, 3]
    assert [(r.image, r.quality, r.sha256, r.metrics) for r in second.rows] == [
        (r.image, r.quality, r.sha256, r.metrics) for r in first.rows
    ]
    codec.calls.clear()
    run(_pictures(folder), [(codec, (1, 2, 3))], cache=Cache(path))
    assert codec.calls == []
    with pytest.raises(VaeError, match="cannot be used as a cache"):
        Cache(tmp_path)


def test_what_fails_is_said_and_the_others_go_on(folder: Path) -> None:
    failures: list[str] = []
    (folder / "c.png").write_bytes(b"rubbish")
    found = readable(expand([str(folder)], {".png"}), failures.append)
    assert len(found) == 2
    assert len(failures) == 1
    assert "c.png: not an image" in failures[0]
    plan = [(Counting(name="bad", version="fails"), (1,)), (Counting(), (1,))]
    results = run(found, plan, failed=failures.append)
    assert failures[1:] == [
        f"{n}: bad failed at quality 1 (on purpose)" for n in ("a.png", "deep/b.png")
    ]
    assert [row.codec for row in results.rows] == ["counting", "counting"]


def test_several_processes_find_what_one_finds(folder: Path, tmp_path: Path) -> None:
    plan = [(Vae(device="cpu"), (10, 80)), (JPEG, (30,)), (WEBP, (40,))]
    pictures = _pictures(folder)
    one = run(pictures, plan, ["psnr", "psnr-y"])
    two = run(pictures, plan, ["psnr", "psnr-y"], jobs=2, cache=Cache(tmp_path / "cache"))
    assert [(r.image, r.codec, r.quality) for r in one.rows] == [
        (picture.name, codec.name, q) for picture in pictures for codec, qs in plan for q in qs
    ]
    for a, b in zip(one.rows, two.rows, strict=True):
        assert (a.image, a.codec, a.quality, a.width) == (b.image, b.codec, b.quality, b.width)
        # Networks may compute a little differently in another number of threads.
        assert a.psnr == pytest.approx(b.psnr, abs=0.02)
        assert a.codec.startswith("vae") or a.sha256 == b.sha256
    again = run(pictures, plan, ["psnr", "psnr-y"])
    assert [(r.sha256, r.metrics) for r in again.rows] == [(r.sha256, r.metrics) for r in one.rows]


def test_a_worker_that_dies_is_said(folder: Path) -> None:
    with pytest.raises(VaeError, match="a worker process was ended from outside"):
        run(_pictures(folder), [(Dying(), (1,))], jobs=2)


def test_results_survive_being_stored(tmp_path: Path) -> None:
    row = Row(
        image="a.png",
        codec="jpeg",
        quality=5,
        bytes=1000,
        sha256="00",
        width=40,
        height=50,
        encode_seconds=0.5,
        decode_seconds=0.25,
        metrics={"psnr": None, "psnr-y": 31.5},
    )
    results = Results(
        machine="a machine",
        jobs=2,
        codecs={"jpeg": "Pillow"},
        metrics={"psnr": "v", "psnr-y": "v"},
        rows=[row],
    )
    path = tmp_path / "results.json"
    path.write_bytes(results.to_json())
    assert read_results(path) == results
    assert (row.bpp, row.psnr) == (4.0, math.inf)
    lines = results.to_csv().decode().splitlines()
    assert lines[0].startswith("image,codec,quality,bytes,width,height,bpp,psnr,psnr-y,")
    assert lines[1] == "a.png,jpeg,5,1000,40,50,4.0,,31.5,0.5,0.25,00,Pillow,a machine,2"
    for text, message in (
        ("{", "not results"),
        ("{}", "not results"),
        ('{"version": 0}', "results of another version"),
        (json.dumps({"version": 1, "rows": [{"image": 1}]}), "not results"),
    ):
        path.write_text(text)
        with pytest.raises(VaeError, match=rf"results\.json: {message}"):
            read_results(path)


def test_pictures_at_the_same_size(folder: Path, photo: np.ndarray) -> None:
    found = match(photo, WEBP, 1.5, 64)
    target = 1.5 * photo[..., 0].size / 8
    assert len(WEBP.encode(photo, found.quality)) == found.bytes <= target
    assert len(WEBP.encode(photo, found.quality + 1)) > target
    assert found.psnr == pytest.approx(psnr(photo, WEBP.decode(WEBP.encode(photo, found.quality))))
    smallest = match(photo, WEBP, 0.0001, 64)  # what no quality reaches gets the smallest file
    assert smallest.quality == 1
    codec = Counting()
    cache = Cache(None)
    matches = match_all(_pictures(folder), [(codec, (1,)), (JPEG, (5,))], 3.0, cache=cache)
    assert {name: set(codecs) for name, codecs in matches.items()} == {
        "a.png": {"counting", "jpeg"},
        "deep/b.png": {"counting", "jpeg"},
    }
    done = len(codec.calls)
    match_all(_pictures(folder), [(codec, (1,))], 3.0, cache=cache)
    assert len(codec.calls) == done
    wider = Counting(qualities=(1, 2, 3, 4))
    match_all(_pictures(folder), [(wider, (1,))], 3.0, cache=cache)
    assert wider.calls
    assert side(24, 8) % 16 == 0
    assert side(10_000, 9) == 128


def test_the_help_names_every_codec_and_metric(run: Run) -> None:
    text = "".join(run("bench", "--help")[1].split())
    assert f"Anyofvae,{','.join(OTHERS)}." in text
    assert f"Anyof{','.join(METRICS)}." in text


def test_a_jpeg_that_is_exact_has_its_size() -> None:
    black = np.zeros((16, 16, 3), np.uint8)
    size = jpeg_bytes_at(black, math.inf)
    assert size in {float(len(JPEG.encode(black, quality))) for quality in range(1, 101)}
