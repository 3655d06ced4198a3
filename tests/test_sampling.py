"""Pictures drawn from the model."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import vaecodec
from bitstream import container, entropy
from vaecodec.codec import Codec
from vaecodec.uses.sampling import sample

if TYPE_CHECKING:
    from conftest import Run


def test_samples_are_files_like_any_other(codec: Codec) -> None:
    first, second = sample((100, 70), level=30, seed=3, count=2, codec=codec)
    assert first != second
    image = codec.decode(first)
    assert image.size == (100, 70)
    assert image.mode == "RGB"
    about = vaecodec.info(first)
    assert (about.level, about.model) == (30, codec.entry.name)
    assert np.asarray(image).std() > 1


def test_a_seed_stands_for_its_pictures(codec: Codec) -> None:
    few = list(sample((64, 64), seed=5, count=2, codec=codec))
    more = list(sample((64, 64), seed=5, count=3, codec=codec))
    assert more[:2] == few
    assert next(sample((64, 64), seed=6, codec=codec)) != few[0]
    assert next(sample((64, 64), seed=5 + 2**32, codec=codec)) not in more


def test_symbols_come_as_often_as_the_model_expects(codec: Codec) -> None:
    """Which is what reading random words comes to."""
    tables = codec.loaded().symbols.tables
    index = int(np.argmax(tables.supports > 3))
    words = np.random.default_rng(0).integers(1, 2**32, 20000, dtype=np.uint32)
    drawn = entropy.Decoder(tables, words.astype("<u4").tobytes()).decode(np.full(9000, index))
    support = int(tables.supports[index])
    start = 2 * int((tables.supports[:index] + 1).sum())
    expected = tables.frequencies[start : start + 2 * support + 1] / 2**entropy.TOTAL_BITS
    found = np.bincount(drawn[np.abs(drawn) <= support] + support, minlength=2 * support + 1) / 9000
    assert np.abs(found - expected).max() < 0.02


def test_variations_keep_the_hyper_latent(codec: Codec, photo: np.ndarray) -> None:
    data = codec.encode(photo, 30)
    one, other = sample(like=data, seed=1, count=2, codec=codec)
    assert one != other
    old, new = vaecodec.info(data), vaecodec.info(one)
    assert (new.width, new.height, new.level, new.model) == (
        old.width,
        old.height,
        old.level,
        old.model,
    )

    coder = codec.loaded().symbols

    class Firsts:
        """Keeps the first block, the hyper-latent."""

        def __init__(self, file: bytes) -> None:
            self._source = entropy.Decoder(coder.tables, container.parse(file).streams[0])
            self.first: np.ndarray | None = None

        def decode(self, indices: np.ndarray) -> np.ndarray:
            symbols = self._source.decode(indices)
            self.first = symbols if self.first is None else self.first
            return symbols

    rows, columns = -(-photo.shape[0] // 16), -(-photo.shape[1] // 16)
    readers = [Firsts(data), Firsts(one), Firsts(other)]
    for reader in readers:
        coder.read(reader, old.level, rows, columns)
    for reader in readers[1:]:
        assert np.array_equal(reader.first, readers[0].first)
    # There is about as much of everything where there was: the sizes are alike.
    assert 0.5 < len(one) / len(data) < 2


def test_grey_and_transparent_pictures(codec: Codec, photo: np.ndarray) -> None:
    grey = codec.encode(photo[:64, :64, 0], 30)
    assert codec.decode(next(sample(like=io.BytesIO(grey), codec=codec))).mode == "L"
    plane = np.full((64, 64, 1), 255, np.uint8)
    plane[:9] = 0
    transparent = codec.encode(np.concatenate((photo[:64, :64], plane), axis=2), 30, lossless=False)
    assert codec.decode(next(sample(like=transparent, codec=codec))).mode == "RGB"


def test_of_several_groups_each_has_its_own(codec: Codec) -> None:
    data = next(sample((1100, 20), level=5, codec=codec))
    assert len(container.parse(data).streams) == 2
    assert codec.decode(data).size == (1100, 20)


def test_bad_arguments(codec: Codec, photo: np.ndarray, tmp_path: Path) -> None:
    for size in ((0, 5), (2**15, 2**15)):
        with pytest.raises(vaecodec.BadValue, match="is not within 1"):
            sample(size, codec=codec)
    assert codec.decode(next(sample(np.array((20, 10)), codec=codec))).size == (20, 10)  # type: ignore[arg-type]
    for size in (5, (5,), (5.0, 5), "55", (True, True)):
        with pytest.raises(vaecodec.BadType, match="two whole numbers"):
            sample(size, codec=codec)  # type: ignore[arg-type]
    for wrong in ({"level": 64}, {"seed": -1}, {"count": 0}):
        with pytest.raises(vaecodec.BadValue, match="must be a whole number"):
            sample(**wrong, codec=codec)
    with pytest.raises(vaecodec.BadValue, match="those of the file"):
        sample(like=codec.encode(photo, 30), level=3, codec=codec)
    foreign = tmp_path / "foreign.vae"
    parsed = container.parse(codec.encode(photo, 30))
    header = replace(parsed.header, model_id=b"\1\2\3\4")
    foreign.write_bytes(container.pack(header, parsed.streams))
    with pytest.raises(vaecodec.UnknownModel, match=r"foreign\.vae: .*01020304"):
        sample(like=foreign, codec=codec)
    broken = tmp_path / "broken.vae"
    broken.write_bytes(container.pack(parsed.header, [parsed.streams[0] + b"x"]))
    with pytest.raises(vaecodec.CorruptFile, match=r"broken\.vae: .* not a whole number of words"):
        sample(like=broken, codec=codec)
    exact = tmp_path / "exact.vae"
    exact.write_bytes(codec.encode(photo[:20, :20], lossless=True))
    with pytest.raises(vaecodec.VaeError, match=r"exact\.vae: .* has no latent"):
        sample(like=exact, codec=codec)


def test_the_command(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "new" / "drawn.png"
    assert run("sample", "--size", "80x48", "--seed", 7, "-n", 2, "-o", out)[0] == 0
    pictures = [Image.open(out.with_stem(f"drawn-{number}")) for number in (1, 2)]
    assert [picture.size for picture in pictures] == [(80, 48)] * 2
    file = tmp_path / "drawn.vae"
    assert run("sample", "--size", "80x48", "--seed", 7, "-o", file)[0] == 0
    assert np.array_equal(np.asarray(vaecodec.decode(file)), np.asarray(pictures[0]))
    assert run("sample", "--size", "80x48", "--seed", 7, "-o", tmp_path)[0] == 0
    assert Image.open(tmp_path / "sample-7.png").size == (80, 48)
    code, _, error = run("sample", "--level", 99, "--seed", 7, "-o", tmp_path)
    assert (code, "from 0 to 63" in error) == (2, True)  # before it is said that the file exists
    assert run("sample", "--like", file, "-o", tmp_path / "like.jpg")[0] == 0
    assert Image.open(tmp_path / "like.jpg").size == (80, 48)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--size", "80"], 2, "no width and height"),
        (["--level", "64"], 2, "from 0 to 63"),
        (["-o", "x.unknown"], 1, "x.unknown: Pillow writes no image format"),
        (["-o", ""], 2, "a name of a file is empty"),
        (["--like", ""], 2, "a name of a file is empty"),
        (["--size", "9" * 5000 + "x5"], 2, "no width and height"),
        (["-n", "99999999999"], 2, "is not in the range"),
        (["-o", "-", "-n", "2"], 2, "do not fit into standard output"),
        (["--like", "absent.vae"], 1, "absent.vae"),
    ],
)
def test_usage(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    found, _, error = run("sample", *arguments)
    assert found == code
    assert message in error
    assert not list(tmp_path.iterdir())
