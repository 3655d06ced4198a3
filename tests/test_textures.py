"""No picture is destroyed: drawn textures harm nothing around them, and are no worse than their mean
colour."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import vaecodec
from bitstream import container
from vaecodec.codec import Codec
from vaecodec.geometry import latent_size, windows
from vaecodec.model import damping, registry
from vaecodec.model.analysed import Analysed
from vaecodec.quality import TUNES
from vaecodec.train.textures import KINDS, Texture, draw_overlays, paste, random_texture

MARGIN = 24
#: Patches of the committed list, (side, top, left), all in one picture of 512 x 768.
PATCHES = ((24, 40, 56), (96, 130, 230))
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
    photo = np.asarray(Image.fromarray(large).reduce(2))
    plain = there_and_back(any_codec, photo, quality)
    for name, drawn in TEXTURES.items():
        try:
            check(any_codec, photo, drawn, PATCHES, quality, plain)
        except AssertionError as failure:
            raise AssertionError(f"{name}: {failure}") from failure


@pytest.mark.parametrize("quality", [10, 67])
@pytest.mark.parametrize("contrast", [0.4, 1.0])
def test_stripes_of_colour_off_the_grid(any_codec: Codec, quality: int, contrast: float) -> None:
    """Red and blue columns of two samples, at odd offsets, where no channel leaves its range."""
    photo = np.ascontiguousarray(skimage.data.coffee()[100:356, 200:456])
    low, high = (round(128 + side * 127 * contrast) for side in (-1, 1))
    odd = (np.arange(120) // 2 % 2 == 1)[None, :, None]
    stripes = np.where(odd, (high, low, low), (low, low, high)).repeat(120, axis=0)
    spread = error(stripes, stripes.mean(axis=(0, 1)))
    for offset in (1, 3):
        picture = photo.copy()
        inside = slice(64, 184), slice(64 + offset, 184 + offset)
        picture[inside] = stripes
        found = there_and_back(any_codec, picture, quality)
        assert error(found[inside], picture[inside]) <= 1.1 * spread


@pytest.mark.parametrize("quality", [75, 76])
def test_a_square_of_one_colour_costs_no_more_than_it_must(
    any_codec: Codec, large: np.ndarray, quality: int
) -> None:
    """Where details set in, too."""
    picture = large.copy()
    picture[64:88, 96:120] = (0, 0, 255)
    assert len(any_codec.encode(picture, quality)) < 1.1 * len(any_codec.encode(large, quality))


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
def test_any_texture(
    codec: Codec, photo: np.ndarray, drawn: Texture, patch: tuple, quality: int
) -> None:
    check(codec, photo, drawn, (patch,), quality, there_and_back(codec, photo, quality))


def test_natural_pictures_pay_nothing(
    any_codec: Codec, large: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object) -> Analysed:
        raise AssertionError("a photograph was taken for a texture")

    monkeypatch.setattr("vaecodec.encoding.damped", never)
    for photo in (large, skimage.data.astronaut(), skimage.data.chelsea()):
        for quality in (10, 60, 75, 95):  # 75: the first with details
            any_codec.encode(photo, quality)


def test_what_decodes_badly_is_damped(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the networks make of a patch: here synthesis inverts all that has much contrast."""
    model, level = codec.loaded(), 20
    synthesise, contrasts = model.synthesise, []

    def inverting(latent: Tensor, level: int) -> Tensor:
        samples = synthesise(latent, level)
        contrasts.append(float(samples.std()))
        return samples if contrasts[-1] < 0.8 * contrasts[0] else 255 - samples

    picture = np.ascontiguousarray(texture("noise").draw(128, 128))
    (window,) = windows(*latent_size(*picture.shape[:2]), 0)
    whole = damping.damped(model, picture, level, window)
    assert whole.sound
    assert not whole.damped
    monkeypatch.setattr(model, "synthesise", inverting)
    drawn = damping.damped(model, picture, level, window)
    assert drawn.sound
    assert drawn.damped
    assert drawn.picture.std() < 0.8 * picture.std()


def test_damping_is_not_taken_where_it_does_harm(
    codec: Codec, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no error at all is tolerated, nearly every cell is damped, and what comes of it is worse
    than what was there before."""
    monkeypatch.setattr("vaecodec.encoding.alternating", lambda *_: True)
    monkeypatch.setattr(damping, "TOLERANCE", 0.0)
    checked = codec.encode(photo, 50)
    monkeypatch.undo()
    assert checked == codec.encode(photo, 50)


def test_what_cannot_be_damped_is_stored_without_loss(
    codec: Codec, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaecodec.encoding.alternating", lambda *_: True)
    monkeypatch.setattr(damping, "TOLERANCE", -1e9)
    monkeypatch.setattr(damping, "DESTROYED", -1e9)
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
    crops = torch.full((8, 192, 128, 3), 90, dtype=torch.uint8)
    overlays = draw_overlays(0)
    places = overlays[..., 3].flatten(1).sum(dim=1)
    assert int(places.min()) >= 16 * 16
    assert int(places.max()) > 100 * 100
    covered = paste(overlays, crops, torch.tensor([True] * 6 + [False] * 2))
    assert bool((crops == 90).all())
    changed = (covered != 90).any(dim=3).flatten(1).sum(dim=1)
    assert bool((changed[:6] >= 8).all())
    assert not changed[6:].any()
    small = paste(overlays, crops[:, :64, :64], torch.ones(8, dtype=torch.bool))
    assert small.shape == (8, 64, 64, 3)
