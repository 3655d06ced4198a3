"""Latents and embeddings of files, and finding pictures by them."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

import vaecodec
from vaecodec.codec import Codec
from vaecodec.model import registry
from vaecodec.uses.embedding import DIMENSIONS, LAYOUT_CHANNELS, embed, projection_of
from vaecodec.uses.index import Index
from vaecodec.uses.latents import latents
from vaecodec.uses.similar import SAME, duplicates, nearest

if TYPE_CHECKING:
    from conftest import Run


@pytest.fixture(scope="module")
def pictures() -> dict[str, Image.Image]:
    names = ("astronaut", "coffee", "chelsea", "rocket")
    found = {name: Image.fromarray(getattr(skimage.data, name)()) for name in names}
    for image in found.values():
        image.thumbnail((320, 320))
    return found


@pytest.fixture(scope="module")
def folder(
    pictures: dict[str, Image.Image], codec: Codec, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Files of four pictures, and two more of the first."""
    folder = tmp_path_factory.mktemp("album")
    for name, image in pictures.items():
        (folder / f"{name}.vae").write_bytes(codec.encode(image, 50))
    first = pictures["astronaut"]
    (folder / "in").mkdir()
    (folder / "in" / "poor.vae").write_bytes(codec.encode(first, 10))
    smaller = first.resize((first.width * 2 // 3, first.height * 2 // 3), Image.Resampling.LANCZOS)
    (folder / "in" / "smaller.vae").write_bytes(codec.encode(smaller, 60))
    return folder


def test_the_synthesis_transform_reads_latents(codec: Codec, photo: np.ndarray) -> None:
    data = codec.encode(photo[:150, :200], 40)
    latent = latents(data, codec=codec)
    model = codec.loaded()
    assert latent.dtype == np.float32
    assert latent.shape == (10, 13, model.config.latent_channels)
    level = model.levels(1, vaecodec.info(data).level)
    with torch.no_grad():
        picture = model.transforms.synthesis(torch.from_numpy(latent)[None], level)[0, :150, :200]
    samples = ((picture + 0.5).clamp(0, 1) * 255).round().numpy()
    assert np.abs(samples - np.asarray(codec.decode(data))).max() <= 2


def test_latents_of_two_levels_are_alike(codec: Codec, photo: np.ndarray) -> None:
    low, high = (latents(codec.encode(photo, quality), codec=codec) for quality in (30, 90))
    # In the channels that vary most; low quality has little of the others.
    varying = np.argsort(codec.loaded().transforms.whiten.numpy())[:LAYOUT_CHANNELS]
    assert np.corrcoef(low[..., varying].ravel(), high[..., varying].ravel())[0, 1] > 0.8


def test_an_embedding_is_of_the_picture(pictures: dict[str, Image.Image], folder: Path) -> None:
    first = embed(folder / "astronaut.vae")
    assert first.dtype == np.float32
    assert first.shape == (DIMENSIONS,)
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5)
    data = (folder / "astronaut.vae").read_bytes()
    assert np.array_equal(vaecodec.embed(io.BytesIO(data)), first)
    assert float(first @ embed(folder / "in" / "poor.vae")) > SAME
    for other in ("coffee", "chelsea", "rocket"):
        assert float(first @ embed(folder / f"{other}.vae")) < SAME
    exact = vaecodec.encode(pictures["astronaut"], lossless=True)
    assert float(first @ embed(exact)) > SAME


def test_embeddings_of_both_tunes_can_be_compared(
    pictures: dict[str, Image.Image], folder: Path, psnr_codec: Codec
) -> None:
    other = embed(psnr_codec.encode(pictures["astronaut"], 50), codec=psnr_codec)
    similarity = {path.stem: float(embed(path) @ other) for path in folder.glob("*.vae")}
    assert max(similarity, key=lambda name: similarity[name]) == "astronaut"


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 40), (600, 1)])
def test_pictures_of_any_size(codec: Codec, size: tuple[int, int]) -> None:
    vector = embed(codec.encode(np.full((*size, 3), 90, np.uint8), lossless=False), codec=codec)
    assert np.isfinite(vector).all()


def test_what_has_no_latent_or_no_embedding(codec: Codec, photo: np.ndarray, tmp_path: Path) -> None:
    exact = tmp_path / "exact.vae"
    exact.write_bytes(codec.encode(photo[:20, :20], lossless=True))
    with pytest.raises(vaecodec.VaeError, match=r"exact\.vae: .* has no latent"):
        vaecodec.latents(exact)
    model = tmp_path / "mine.safetensors"
    shutil.copy(registry.find(None).path, model)
    own = Codec(model, "cpu")
    with pytest.raises(vaecodec.VaeError, match="the model mine has no embedding"):
        embed(own.encode(photo, 30), codec=own)
    with pytest.raises(vaecodec.NotAVaeFile):
        embed(b"something else")
    for use in (vaecodec.latents, vaecodec.embed):
        with pytest.raises(vaecodec.BadType, match="a Codec was expected"):
            use(exact, codec="small")  # type: ignore[operator]
        with pytest.raises(vaecodec.BadValue, match="a name of a file is empty"):
            use("")  # type: ignore[operator]


def test_every_model_has_an_embedding() -> None:
    for entry in registry.registered():
        projection = projection_of(entry)
        assert projection.matrix.shape == (len(projection.mean), DIMENSIONS)


def test_nearest_and_duplicates() -> None:
    def at(*degrees: float) -> np.ndarray:
        angles = np.radians(degrees)
        return np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)

    vectors = at(0, 100, 20, 200, 40, 103)
    assert [number for number, _ in nearest(vectors, at(22)[0], 3)] == [2, 4, 0]
    assert nearest(vectors, at(20)[0], 1)[0][1] == pytest.approx(1)
    least = float(np.cos(np.radians(25)))
    # 0 and 40 are not similar, but both are like 20.
    assert duplicates(vectors, least) == [[0, 2, 4], [1, 5]]
    assert duplicates(vectors, 1.1) == []
    many = np.repeat(at(*range(0, 360, 60)), 300, axis=0)
    assert [len(group) for group in duplicates(many, least)] == [300] * 6


def test_the_command_lists_what_is_like_a_picture(
    run: Run, folder: Path, pictures: dict[str, Image.Image], tmp_path: Path
) -> None:
    photo = tmp_path / "again.jpg"
    pictures["astronaut"].save(photo, quality=50)
    code, out, error = run("similar", folder, "--to", photo, "-n", 4)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0, error
    assert {Path(path).stem for _, path in lines[:3]} == {"astronaut", "poor", "smaller"}
    assert len(lines) == 4
    assert float(lines[2][0]) > float(lines[3][0])
    code, out, _ = run("similar", folder, "--to", folder / "astronaut.vae", "--at-least", 0.7, "--json")
    names = [json.loads(line)["file"] for line in out.splitlines()]
    assert code == 0
    assert str(folder / "astronaut.vae") not in names
    assert {Path(name).stem for name in names} == {"poor", "smaller"}


def test_the_command_lists_duplicates(run: Run, folder: Path, tmp_path: Path) -> None:
    code, out, _ = run("similar", folder, "--duplicates")
    assert code == 0
    assert [{Path(line).stem for line in out.split()}] == [{"astronaut", "poor", "smaller"}]
    damaged = tmp_path / "damaged.vae"
    damaged.write_bytes((folder / "coffee.vae").read_bytes()[:-9])
    code, out, error = run("similar", damaged, folder / "rocket.vae", "--duplicates", "--json")
    assert code == 1
    assert json.loads(out)["file"] == str(damaged)
    assert "damaged.vae" in json.loads(out)["error"]
    assert "of 1 files no two are similar" in error
    assert "damaged.vae: " in run("similar", damaged, folder / "rocket.vae", "--duplicates")[2]


def test_a_file_counts_once(run: Run, folder: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    first = album / "a.vae"
    shutil.copy(folder / "coffee.vae", first)
    (album / "b.vae").symlink_to(first)
    (album / "c.vae").hardlink_to(first)
    code, out, error = run("similar", album, album / ".." / "album", first, "--duplicates")
    assert (code, out) == (0, "")
    assert "of 1 files no two are similar" in error
    code, out, error = run("similar", album, "--to", first)
    assert (code, out) == (0, "")
    assert "there is no other .vae file" in error
    # But a copy is another file, and the same to the last bit.
    shutil.copy(first, album / "copy.vae")
    code, out, _ = run("similar", album, "--duplicates", "--at-least", 1)
    assert (code, out.split()) == (0, [str(first), str(album / "copy.vae")])
    assert run("similar", album, "--to", first, "--at-least", 1)[1].split()[1] == str(
        album / "copy.vae"
    )


def test_folders_without_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    code, out, error = run("similar", tmp_path, "--duplicates")
    assert (code, out) == (1, "")
    assert "the folders given hold no .vae file" in error


def test_an_index_is_kept(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    album = shutil.copytree(folder, tmp_path / "album")
    index = tmp_path / "kept.index"
    embedded = []

    def counted(source: Path, **options: object) -> np.ndarray:
        embedded.append(source)
        return embed(source, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("vaecodec.uses.similar.embed", counted)
    first = run("similar", album, "--duplicates", "--index", index)
    assert (first[0], len(embedded)) == (0, 6)
    assert run("similar", album, "--duplicates", "--index", index) == first
    assert len(embedded) == 6
    (album / "rocket.vae").unlink()
    shutil.copy(album / "astronaut.vae", album / "coffee.vae")
    code, out, _ = run("similar", album, "--duplicates", "--index", index)
    assert (code, len(out.split())) == (0, 4)
    assert embedded[6:] == [album / "coffee.vae"]
    assert len(Index(index, registry.find(None).id)._known) == 5
    other = Index(index, registry.find(None, "psnr").id)  # what files without loss are embedded with
    assert other.find(album / "coffee.vae") is None
    # What other weights have made means nothing.
    monkeypatch.setattr("vaecodec.uses.index.fingerprint", lambda: "another")
    assert Index(index, registry.find(None).id).find(album / "coffee.vae") is None
    assert run("similar", album, "--duplicates", "--index", index)[0] == 0
    assert len(embedded) == 12


def test_an_index_that_cannot_be_written(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is known before anything is embedded; a folder that is missing is made."""
    dangling = tmp_path / "dangling.index"
    dangling.symlink_to(tmp_path / "new" / "kept.index")
    assert run("similar", folder, "--duplicates", "--index", tmp_path / "new" / "other.index")[0] == 0
    assert run("similar", folder, "--duplicates", "--index", dangling)[0] == 0
    assert (tmp_path / "new" / "kept.index").is_file()
    monkeypatch.setattr("vaecodec.uses.similar.embed", None)
    code, out, error = run("similar", folder, "--duplicates", "--index", "/proc/kept.index")
    assert (code, out) == (1, "")
    assert "/proc/kept.index" in error


def test_what_is_no_index(run: Run, folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.vae"
    shutil.copy(folder / "coffee.vae", picture)
    weights = tmp_path / "model.safetensors"
    shutil.copy(registry.find(None).path, weights)
    for path in (picture, weights, tmp_path):
        before = path.read_bytes() if path.is_file() else None
        code, _, error = run("similar", folder, "--duplicates", "--index", path)
        assert code == 1
        assert path.name in error
        assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("where", [5, 60, -3, None])
def test_a_damaged_index(run: Run, folder: Path, tmp_path: Path, where: int | None) -> None:
    """A byte changed in its length, its header or a vector, or the file cut."""
    index = tmp_path / "index"
    assert run("similar", folder, "--duplicates", "--index", index)[0] == 0
    damaged = bytearray(index.read_bytes())
    if where is None:
        del damaged[-7:]
    else:
        damaged[where] ^= 1
    index.write_bytes(damaged)
    code, out, error = run("similar", folder, "--duplicates", "--index", index)
    assert (code, out) == (1, "")
    assert "index: exists already, and is no index of embeddings, or damaged" in error
    assert index.read_bytes() == damaged


def test_usage(run: Run, folder: Path) -> None:
    for arguments in ([folder], [folder, "--duplicates", "--to", folder / "coffee.vae"]):
        code, _, error = run("similar", *arguments)
        assert code == 2
        assert "give either --to PICTURE or --duplicates" in error
    for arguments, expected, message in (
        ([folder, "--to", ""], 2, "a name of a file is empty"),
        ([folder, "--duplicates", "--index", ""], 2, "a name of a file is empty"),
        ([folder, "--duplicates", "--index", "-"], 1, "-: files are needed here"),
        (["-", "--duplicates"], 1, "-: files are needed here"),
        ([folder, "--duplicates", "--at-least", "nan"], 2, "not nan"),
    ):
        code, out, error = run("similar", *arguments)
        assert (code, out) == (expected, "")
        assert message in error
    code, _, error = run("similar", folder, "--to", folder / "absent.jpg")
    assert code == 1
    assert "absent.jpg" in error
    assert run("similar", folder / "in" / "poor.vae", "--to", folder / "coffee.vae")[0] == 0
