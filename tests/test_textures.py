"""No picture is destroyed: drawn textures harm nothing around them, and are no worse than their mean
colour."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import vaecodec
from bitstream import container
from vaecodec.codec import Codec
from vaecodec.model import damping, registry
from vaecodec.quality import TUNES
from vaecodec.train.textures import KINDS, Texture, paste_textures, random_texture

MARGIN = 24
#: Patches of the committed list, (side, top, left), all in one picture of 512 x 768.
PATCHES = ((24, 96, 120), (160, 280, 440))
#: 20 dB.
LEAST_ERROR = 0.01 * 255**2
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def texture(kind: str, **chosen: object) -> Texture:
    given = {"size": 2.0, "angle": 0.0, "low": BLACK, "high": WHITE, "seed": 2, **chosen}
    return Texture(kind=kind, **given)  # type: ignore[arg-type]


TEXTURES = {
    "one-pixel checker": texture("checker"),
    "coloured checker": texture("checker", size=4.0, low=(255, 0, 0), high=(0, 255, 255)),
    "one-pixel stripes": texture("stripes", seed=1),
    "slanted stripes": texture("stripes", size=5.0, angle=0.6),
    "hatch": texture("hatch", size=4.0, angle=np.pi / 4),
    "error diffusion": texture("dither", angle=0.6),
    "noise dither": texture("dither", seed=1),
    "zone plate": texture("zone plate"),
    "black and white noise": texture("noise", seed=1),
    "grey noise": texture("noise"),
    "coloured noise": texture("noise", seed=6),
    "salt and pepper": texture("salt and pepper"),
    "mosaic": texture("mosaic", size=1.0),
    "magenta": texture("mosaic", size=200.0, low=(255, 0, 255), high=(255, 0, 255)),
}


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    """A photograph, uint8 512 x 768 x 3."""
    photo = Image.fromarray(skimage.data.coffee()).resize((768, 512), Image.Resampling.LANCZOS)
    return np.asarray(photo)


@pytest.fixture(scope="module", params=TUNES)
def any_codec(request: pytest.FixtureRequest) -> Codec:
    return Codec(registry.find(None, request.param).name, "cpu")


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.square(a.astype(float) - b).mean())


def there_and_back(codec: Codec, picture: np.ndarray, quality: int) -> np.ndarray:
    return np.asarray(codec.decode(codec.encode(picture, quality, lossless=False)))


def check(
    codec: Codec, photo: np.ndarray, drawn: Texture, patches: tuple, quality: int, plain: np.ndarray
) -> None:
    picture, outside = photo.copy(), np.ones(photo.shape[:2], bool)
    for side, top, left in patches:
        picture[top : top + side, left : left + side] = drawn.draw(side, side)
        rows, columns = (slice(max(0, p - MARGIN), p + side + MARGIN) for p in (top, left))
        outside[rows, columns] = False
    found = there_and_back(codec, picture, quality)
    around, before = error(found[outside], photo[outside]), error(plain[outside], photo[outside])
    assert around <= 10**0.1 * before
    for side, top, left in patches:
        inside = slice(top, top + side), slice(left, left + side)
        flat = error(picture[inside], picture[inside].mean(axis=(0, 1)))
        # Edges of a patch of one colour cost something at low rates, as they do in photographs.
        assert error(found[inside], picture[inside]) <= flat + max(4 * before, LEAST_ERROR)


@pytest.mark.parametrize("quality", [10, 60, 95])
def test_textures_in_a_photograph(any_codec: Codec, large: np.ndarray, quality: int) -> None:
    plain = there_and_back(any_codec, large, quality)
    for name, drawn in TEXTURES.items():
        try:
            check(any_codec, large, drawn, PATCHES, quality, plain)
        except AssertionError as failure:
            raise AssertionError(f"{name}: {failure}") from failure


colours = st.tuples(*[st.sampled_from([0, 64, 128, 192, 255])] * 3)


@settings(max_examples=25, derandomize=True)
@given(
    drawn=st.builds(
        Texture,
        kind=st.sampled_from(sorted(KINDS)),
        size=st.floats(1, 32),
        angle=st.floats(0, np.pi),
        low=colours,
        high=colours,
        seed=st.integers(0, 2**31),
    ),
    patch=st.tuples(st.integers(24, 96), st.integers(0, 96), st.integers(0, 160)),
    quality=st.integers(1, 100),
)
def test_any_texture(photo: np.ndarray, drawn: Texture, patch: tuple, quality: int) -> None:
    codec = vaecodec.Codec(device="cpu")
    check(codec, photo, drawn, (patch,), quality, there_and_back(codec, photo, quality))


def test_natural_pictures_pay_nothing(
    any_codec: Codec, large: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object) -> damping.Analysed:
        raise AssertionError("a photograph was taken for a texture")

    monkeypatch.setattr("vaecodec.encoding.damped", never)
    for photo in (large, skimage.data.astronaut(), skimage.data.chelsea()):
        for quality in (10, 60, 95):
            any_codec.encode(photo, quality)


def test_what_decodes_badly_is_damped(
    codec: Codec, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the networks make of a patch: here the encoder is told that everything is strange, and
    that hardly an error is usual. A cell that is not then as good is drawn to its mean colour."""
    monkeypatch.setattr("vaecodec.encoding.strange", lambda *_: True)
    monkeypatch.setattr(damping, "TOLERANCE", 0.0)
    picture = photo.copy()
    picture[64:128, 64:128] = texture("noise").draw(64, 64)
    flattened = codec.encode(picture, 1, lossless=False)
    monkeypatch.undo()
    plain = there_and_back(codec, picture, 1)
    assert len(flattened) < len(codec.encode(picture, 1, lossless=False))
    assert error(np.asarray(codec.decode(flattened)), picture) < 2 * error(plain, picture)


def test_what_cannot_be_damped_is_stored_without_loss(
    codec: Codec, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaecodec.encoding.strange", lambda *_: True)
    monkeypatch.setattr(damping, "TOLERANCE", -1e9)
    assert container.parse(codec.encode(photo, 50)).header.lossless
    assert not container.parse(codec.encode(photo, 50, lossless=False)).header.lossless


def test_pages_of_few_colours_are_exact(photo: np.ndarray) -> None:
    """Dithered to black and white: no two neighbours need be equal."""
    page = np.asarray(Image.fromarray(photo).convert("1").convert("RGB"))
    for quality in (30, 60, 100):
        assert np.array_equal(np.asarray(vaecodec.decode(vaecodec.encode(page, quality))), page)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_textures_use_the_whole_range_and_are_the_same_each_time(kind: str) -> None:
    drawn = texture(kind, size=8.0, seed=12).draw(64, 80)
    assert drawn.shape == (64, 80, 3)
    assert drawn.dtype == np.uint8
    assert drawn.min() <= 10
    assert drawn.max() >= 245
    assert np.array_equal(drawn, texture(kind, size=8.0, seed=12).draw(64, 80))


def test_training_crops_get_textures_of_every_kind() -> None:
    import torch

    rng = np.random.default_rng(0)
    assert {random_texture(rng).kind for _ in range(200)} == set(KINDS)
    crops = torch.full((8, 128, 128, 3), 90, dtype=torch.uint8)
    covered = paste_textures(crops, rng)
    assert bool((crops == 90).all())
    changed = (covered != 90).any(dim=3).flatten(1).sum(dim=1)
    assert bool((changed >= 8).all())
