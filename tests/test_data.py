"""Data sets: what they find, what an item is, workers, the index of a tar, and what is refused."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

import vaecodec
from bitstream.errors import BadType, BadValue, VaeError
from vaecodec.codec import Codec
from vaecodec.data import DecodeCollate, VaeDataset, VaeDecoder
from vaecodec.data.samples import MODES, in_mode
from vaecodec.pictures.finishing import as_tensor
from vaecodec.sources import NamedBytes

#: Width and height of the pictures of each class; none are alike, so that sizes tell them apart.
SIZES = {"cat": [(72, 40), (64, 48)], "dog": [(96, 56)]}


@pytest.fixture(scope="module")
def files(photo: np.ndarray, codec: Codec) -> dict[str, bytes]:
    """The content of `.vae` files, by names as "cat/0.vae"."""
    return {
        f"{name}/{number}.vae": codec.encode(photo[:height, :width], 40, lossless=False)
        for name, sizes in SIZES.items()
        for number, (width, height) in enumerate(sizes)
    }


@pytest.fixture
def folder(tmp_path: Path, files: dict[str, bytes]) -> Path:
    root = tmp_path / "photos"
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "dog" / "notes.txt").write_text("no picture")
    (root / "dog" / "._0.vae").write_bytes(b"of a Mac")
    return root


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture
def photos_tar(tmp_path: Path, files: dict[str, bytes]) -> Path:
    members = {"./photos/about.txt": b"text", "photos/cat/._0.vae": b"of a Mac"}
    return pack(tmp_path / "photos.tar", members | {f"./photos/{k}": v for k, v in files.items()})


def shapes(dataset: VaeDataset) -> list[tuple[tuple[int, ...], int]]:
    return [(tuple(dataset[i][0].shape), dataset[i][1]) for i in range(len(dataset))]


WANTED = [((3, 40, 72), 0), ((3, 48, 64), 0), ((3, 56, 96), 1)]


def test_a_folder_has_classes_as_torchvision_s(folder: Path, files: dict[str, bytes]) -> None:
    dataset = VaeDataset(folder)
    assert (dataset.classes, dataset.class_to_idx) == (["cat", "dog"], {"cat": 0, "dog": 1})
    assert dataset.targets == [0, 0, 1]
    assert dataset.names == [str(folder / name) for name in files]
    assert shapes(dataset) == WANTED
    picture, _ = dataset[-1]
    expected = np.asarray(vaecodec.decode(files["dog/0.vae"], device="cpu"))
    assert picture.dtype == torch.uint8 and picture.is_contiguous()
    assert np.array_equal(picture.permute(1, 2, 0), expected)
    with pytest.raises(IndexError):
        dataset[3]


def test_files_deep_in_a_class(folder: Path) -> None:
    (folder / "dog" / "old" / "cat").mkdir(parents=True)
    (folder / "dog" / "0.vae").rename(folder / "dog" / "old" / "cat" / "1.VAE")
    assert VaeDataset(folder).targets == [0, 0, 1]


def test_without_classes(folder: Path) -> None:
    flat = VaeDataset(folder / "cat")
    assert (len(flat), flat.classes, flat.targets) == (2, [], [])
    assert flat[0].shape == (3, 40, 72)
    assert VaeDataset(folder, labels=False)[2].shape == (3, 56, 96)
    listed = VaeDataset(folder / name for name in ("dog/0.vae", "cat/0.vae"))
    assert [tuple(picture.shape) for picture in listed] == [(3, 56, 96), (3, 40, 72)]


def test_a_tar_is_as_the_folder_is(photos_tar: Path, folder: Path) -> None:
    dataset = VaeDataset(photos_tar)
    assert dataset.classes == ["cat", "dog"]
    assert dataset.names == ["./photos/cat/0.vae", "./photos/cat/1.vae", "./photos/dog/0.vae"]
    for (a, label), (b, expected) in zip(dataset, VaeDataset(folder), strict=True):
        assert torch.equal(a, b) and label == expected
    assert not Path(f"{photos_tar}.index").exists()


def test_of_members_of_one_name_the_last_counts(tmp_path: Path, files: dict[str, bytes]) -> None:
    path = tmp_path / "two.tar"
    with tarfile.open(path, "w") as tar:
        for data in files.values():
            entry = tarfile.TarInfo("a.vae")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    dataset = VaeDataset(path)
    assert len(dataset) == 1 and dataset[0].shape == (3, 56, 96)


def test_links_have_the_contents_of_what_they_lead_to(tmp_path: Path, files: dict[str, bytes]) -> None:
    path = tmp_path / "links.tar"
    (name, data), *_ = files.items()
    with tarfile.open(path, "w") as tar:
        for link, kind, target in (
            ("dog/symbolic.vae", tarfile.SYMTYPE, f"../{name}"),
            (name, tarfile.REGTYPE, ""),
            ("dog/hard.vae", tarfile.LNKTYPE, name),
            ("dog/again.vae", tarfile.SYMTYPE, "symbolic.vae"),
            ("puppy", tarfile.SYMTYPE, "dog"),
            ("cat/through.vae", tarfile.SYMTYPE, "../puppy/hard.vae"),
            (name, tarfile.LNKTYPE, name),
        ):
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = kind, target
            entry.size = 0 if target else len(data)
            tar.addfile(entry, None if target else io.BytesIO(data))
    dataset = VaeDataset(path, transform=lambda x: tuple(x.shape))
    assert dataset.names == [
        "dog/symbolic.vae",
        name,
        "dog/hard.vae",
        "dog/again.vae",
        "cat/through.vae",
    ]
    assert {shape for shape, _ in dataset} == {(3, 40, 72)}
    for target in ("nothing.vae", "nothing/round.vae"):
        with tarfile.open(path, "w") as tar:
            entry = tarfile.TarInfo("round.vae")
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
        with pytest.raises(VaeError, match=f"round.vae: a link to {target}, which is no file"):
            VaeDataset(path)


def test_transforms(folder: Path) -> None:
    dataset = VaeDataset(folder, transform=lambda x: x.float().mean(), target_transform=str)
    value, label = dataset[2]
    assert value.shape == () and label == "1"


def test_undecoded(folder: Path, photos_tar: Path, files: dict[str, bytes]) -> None:
    for source, name in (
        (folder, folder / "dog/0.vae"),
        (photos_tar, f"{photos_tar}: ./photos/dog/0.vae"),
    ):
        data, label = VaeDataset(source, decode=False)[2]
        assert (bytes(data), label) == (files["dog/0.vae"], 1)
        again = pickle.loads(pickle.dumps(data))
        assert isinstance(again, NamedBytes) and again == data
        assert again.name == data.name == str(name)


@pytest.mark.parametrize("mode", [*MODES, None])
@pytest.mark.parametrize("of_file", MODES)
def test_modes_are_as_pillow_converts(photo: np.ndarray, of_file: str, mode: str | None) -> None:
    image = Image.fromarray(photo[:24, :40])
    image.putalpha(Image.fromarray(photo[:24, :40, 0]))
    image = image.convert(of_file)
    data = vaecodec.encode(image, lossless=True, device="cpu")
    found = VaeDecoder(mode=mode).decode(data)
    wanted = np.asarray(image.convert(mode) if mode else image).reshape(24, 40, -1)
    assert found.dtype == torch.uint8 and found.is_contiguous()
    assert np.array_equal(found.permute(1, 2, 0), wanted)


def test_the_mode_is_rgb_unless_told(photo: np.ndarray) -> None:
    grey = vaecodec.encode(photo[:24, :40, 0], 40, device="cpu")
    assert VaeDecoder().decode(grey).shape == (3, 24, 40)
    assert VaeDecoder(mode="L").decode(grey).shape == (1, 24, 40)


def corner(crop: Tensor, whole: Tensor) -> tuple[int, int] | None:
    """Where in the whole picture the crop is, within what one picture decoded twice may differ by."""
    (height, width), (rows, columns) = crop.shape[1:], whole.shape[1:]
    for y in range(rows - height + 1):
        for x in range(columns - width + 1):
            part = whole[:, y : y + height, x : x + width].int()
            if (part - crop.int()).abs().max() <= 2:
                return y, x
    return None


def test_crops_are_boxes_of_the_whole_picture(folder: Path) -> None:
    whole, _ = VaeDataset(folder)[2]
    dataset = VaeDataset(folder, crop=(32, 48))
    torch.manual_seed(5)
    crops = [dataset[2][0] for _ in range(8)]
    assert {tuple(crop.shape) for crop in crops} == {(3, 32, 48)}
    corners = [corner(crop, whole) for crop in crops]
    assert None not in corners and len(set(corners)) > 4
    torch.manual_seed(5)
    assert all(torch.equal(crop, dataset[2][0]) for crop in crops)


def test_every_box_comes_up_and_none_outside() -> None:
    from vaecodec.data.decoder import random_box

    torch.manual_seed(1)
    found = {random_box(5, 4, (3, 4)) for _ in range(200)}
    assert found == {(x, y, x + 4, y + 3) for x in (0, 1) for y in (0, 1)}
    assert random_box(5, 4, (4, 5)) == (0, 0, 5, 4)


def test_only_what_a_crop_needs_is_decoded(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = []
    decode = vaecodec.decode

    def noted(*arguments: Any, **options: Any) -> Image.Image:
        boxes.append(options["box"])
        return decode(*arguments, **options)

    monkeypatch.setattr(vaecodec, "decode", noted)
    data = vaecodec.encode(photo[:48, :64], 40, lossless=False, device="cpu")
    VaeDecoder(crop=16).decode(data)
    ((left, upper, right, lower),) = boxes
    assert (right - left, lower - upper) == (16, 16)


def test_a_crop_is_taken_before_it_is_reduced(folder: Path, files: dict[str, bytes]) -> None:
    torch.manual_seed(3)
    small, _ = VaeDataset(folder, crop=(56, 90), reduce=4)[2]
    torch.manual_seed(3)
    crop, _ = VaeDataset(folder, crop=(56, 90))[2]
    assert small.shape == (3, 14, 23)
    wanted = Image.fromarray(crop.permute(1, 2, 0).numpy()).reduce(4)
    assert torch.equal(small, as_tensor(np.array(wanted)))
    whole = vaecodec.decode(files["dog/0.vae"], reduce=8, device="cpu")
    assert torch.equal(VaeDataset(folder, reduce=8)[2][0], as_tensor(np.array(whole)))


def test_pictures_smaller_than_the_crop(folder: Path, photos_tar: Path) -> None:
    for source, name in (
        (folder, str(folder / "cat/0.vae")),
        (photos_tar, f"{photos_tar}: ./photos/cat/0.vae"),
    ):
        dataset = VaeDataset(source, crop=48)
        assert dataset[1][0].shape == (3, 48, 48)
        with pytest.raises(BadValue, match="72 x 40 is smaller than the crop of 48 x 48") as caught:
            dataset[0]
        assert caught.value.filename == name and str(caught.value).startswith(f"{name}: ")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_workers(folder: Path, photos_tar: Path, method: str) -> None:
    """In a process of its own: pytest's has threads, which a fork would leave behind."""
    seeds = (1, 1, 2) if method == "fork" else (1, 1)  # processes that are spawned import PyTorch
    sources = [str(folder), str(photos_tar)] if method == "fork" else [str(photos_tar)]
    program = f"""
import hashlib
import torch
from torch.utils.data import DataLoader
from vaecodec.data import VaeDataset
if __name__ == "__main__":
    for source in {sources!r}:
        dataset = VaeDataset(source, crop=(32, 40), keep_index=True)
        dataset[0]
        for seed in {seeds!r}:
            torch.manual_seed(seed)
            batches = DataLoader(
                dataset, batch_size=3, sampler=[0, 1, 2, 2, 1, 0], num_workers=2,
                multiprocessing_context={method!r}, timeout=300,
            )
            digest = hashlib.sha256()
            for pictures, labels in batches:
                digest.update(pictures.numpy().tobytes())
                print(tuple(pictures.shape), labels.tolist())
            print(digest.hexdigest())
"""
    run = [sys.executable, "-c", program]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        run, capture_output=True, text=True, check=False, timeout=400, env=environment
    )
    lines = done.stdout.splitlines()
    count = len(seeds) * len(sources)
    assert done.returncode == 0 and len(lines) == 3 * count, done.stderr
    assert lines[0::3] == ["(3, 3, 32, 40) [0, 0, 1]"] * count
    assert lines[1::3] == ["(3, 3, 32, 40) [1, 0, 0]"] * count
    digests = lines[2::3]
    assert digests[0] == digests[1]
    if method == "fork":
        assert digests[1] != digests[2]
        assert digests[:3] == digests[3:]  # the same pictures and seeds from the tar


def test_workers_crop_differently(folder: Path) -> None:
    path = str(folder / "dog/0.vae")
    torch.manual_seed(0)
    context = multiprocessing.get_context("fork")
    dataset = VaeDataset([path] * 4, crop=16)
    loader = DataLoader(
        dataset, batch_size=2, num_workers=2, multiprocessing_context=context, timeout=300
    )
    one, other = loader
    assert not torch.equal(one, other)


def test_it_is_pickled(folder: Path, photos_tar: Path) -> None:
    for source in (folder, photos_tar, [folder / "cat/0.vae"]):
        dataset = VaeDataset(source, crop=32, mode="L", reduce=2)
        dataset[0]
        data = pickle.dumps(dataset)
        assert len(data) < 3000
        again = pickle.loads(data)
        assert (again.names, again.classes, again.targets) == (
            dataset.names,
            dataset.classes,
            dataset.targets,
        )
        for each in (dataset, again):
            torch.manual_seed(0)
            item = each[0] if again.targets else (each[0], None)
            assert item[0].shape == (1, 16, 16)


def test_an_index_is_kept_and_used(photos_tar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = shapes(VaeDataset(photos_tar, keep_index=True))
    index = Path(f"{photos_tar}.index")
    content = json.loads(index.read_bytes())
    assert content["size"] == photos_tar.stat().st_size
    assert [name for name, _, _ in content["members"]] == VaeDataset(photos_tar).names
    assert sorted(path.name for path in photos_tar.parent.iterdir()) == [
        "photos.tar",
        "photos.tar.index",
    ]
    before = index.stat()

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the headers are read although there is an index")

    monkeypatch.setattr(tarfile, "open", fail)
    for keep in (True, False):
        assert shapes(VaeDataset(photos_tar, keep_index=keep)) == wanted == WANTED
    assert (index.stat().st_mtime_ns, index.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def _changed(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def apply(data: bytes) -> bytes:
        index = json.loads(data)
        change(index)
        return json.dumps(index).encode()

    return apply


def _set(row: int, column: int, value: object) -> Callable[[bytes], bytes]:
    return _changed(lambda index: index["members"][row].__setitem__(column, value))


#: What may be found in the place of an index.
HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda data: b"",
    "garbage": lambda data: b"\xff{]",
    "cut short": lambda data: data[: len(data) // 2],
    "deep": lambda data: b"[" * 200_000,
    "another form": lambda data: b"[1, 2]",
    "another version": _changed(lambda index: index.update(version=1)),
    "members missing": _changed(lambda index: index.pop("members")),
    "members of another kind": _changed(lambda index: index.update(members={"a": 1})),
    "a member of two": _changed(lambda index: index["members"][0].pop()),
    "beyond the tar": _set(0, 1, 10**9),
    "more than the tar": _set(1, 2, 10**30),
    "before the tar": _set(0, 1, -512),
    "less than nothing": _set(0, 2, -1),
    "not whole": _set(0, 1, 512.0),
    "beyond all numbers": lambda data: data.replace(
        b'"members":[["', b'"members":[["x",1e999,9],["', 1
    ),
    "not a name": _set(0, 0, None),
    "of another size": _changed(lambda index: index.update(size=index["size"] - 512)),
    "of another time": _changed(lambda index: index.update(mtime_ns=index["mtime_ns"] - 1)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_index_that_is_none_is_made_anew(photos_tar: Path, kind: str) -> None:
    VaeDataset(photos_tar, keep_index=True)
    index = Path(f"{photos_tar}.index")
    good = index.read_bytes()
    bad = HOSTILE[kind](good)
    assert bad != good
    index.write_bytes(bad)
    assert shapes(VaeDataset(photos_tar)) == WANTED
    assert index.read_bytes() == bad
    assert shapes(VaeDataset(photos_tar, keep_index=True)) == WANTED
    assert index.read_bytes() == good


def test_an_index_that_points_elsewhere_in_the_tar(photos_tar: Path) -> None:
    VaeDataset(photos_tar, keep_index=True)
    index = Path(f"{photos_tar}.index")
    index.write_bytes(_set(0, 1, 0)(index.read_bytes()))
    with pytest.raises(vaecodec.NotAVaeFile, match=r"cat/0\.vae"):
        VaeDataset(photos_tar)[0]


def test_a_tar_that_changed(photos_tar: Path, files: dict[str, bytes]) -> None:
    dataset = VaeDataset(photos_tar, keep_index=True)
    pack(photos_tar, {"a/1.vae": files["dog/0.vae"]})
    with pytest.raises(VaeError, match="has changed") as caught:
        dataset[1]
    assert caught.value.filename == f"{photos_tar}: ./photos/cat/1.vae"
    assert VaeDataset(photos_tar)[0].shape == (3, 56, 96)
    photos_tar.unlink()
    with pytest.raises(VaeError, match="cannot be read"):
        dataset[1]


def test_an_index_that_cannot_be_written(photos_tar: Path) -> None:
    Path(f"{photos_tar}.index").mkdir()
    assert len(VaeDataset(photos_tar)) == 3
    with pytest.raises(VaeError, match="is a folder"):
        VaeDataset(photos_tar, keep_index=True)


def test_tars_that_are_none_or_damaged(tmp_path: Path, photos_tar: Path) -> None:
    data = bytearray(photos_tar.read_bytes())
    packed, text, cut, broken = (
        tmp_path / f"{name}.tar" for name in ("packed", "text", "cut", "broken")
    )
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(photos_tar, "a.vae")
    text.write_text("no tar" * 500)
    last = VaeDataset(photos_tar)._tar.members[-1]  # type: ignore[union-attr]
    cut.write_bytes(data[: last.offset + 9])
    data[last.offset - tarfile.BLOCKSIZE] ^= 1  # the header's checksum is wrong
    broken.write_bytes(data)
    for path in (packed, text, cut, broken):
        with pytest.raises(VaeError) as caught:
            VaeDataset(path)
        assert caught.value.filename == str(path), path


def test_sparse_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tar"
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "4"}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("a.vae")
        entry.pax_headers = headers
        content = b"1\n0\n4\n".ljust(512, b"\0") + b"1234"
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    with pytest.raises(VaeError, match="sparse") as caught:
        VaeDataset(path)
    assert caught.value.filename == f"{path}: a.vae"


def test_damaged_files_are_named(folder: Path, tmp_path: Path, files: dict[str, bytes]) -> None:
    damaged = files["cat/0.vae"][:-9]
    (folder / "cat/0.vae").write_bytes(damaged)
    path = pack(tmp_path / "bad.tar", {"a.vae": files["cat/1.vae"], "b.vae": damaged})
    for dataset, index, name in (
        (VaeDataset(folder), 0, str(folder / "cat/0.vae")),
        (VaeDataset(folder, crop=8), 0, str(folder / "cat/0.vae")),
        (VaeDataset(path), 1, f"{path}: b.vae"),
    ):
        with pytest.raises(vaecodec.TruncatedFile) as caught:
            dataset[index]
        assert caught.value.filename == name
        assert str(caught.value).startswith(f"{name}: ")
    (folder / "cat/0.vae").unlink()
    dataset = VaeDataset([folder / "cat/0.vae"])
    with pytest.raises(FileNotFoundError) as missing:
        dataset[0]
    assert isinstance(missing.value, VaeError)


def test_an_error_in_a_worker_is_named(folder: Path) -> None:
    (folder / "cat/0.vae").write_bytes(b"x")
    context = multiprocessing.get_context("fork")
    loader = DataLoader(
        VaeDataset(folder), batch_size=1, num_workers=1, multiprocessing_context=context, timeout=300
    )
    with pytest.raises(vaecodec.NotAVaeFile, match=r"cat/0\.vae"):
        list(loader)


def test_max_pixels(folder: Path) -> None:
    for crop in (None, 16):
        with pytest.raises(vaecodec.LimitExceeded, match=r"cat/0\.vae"):
            VaeDataset(folder, max_pixels=72 * 40 - 1, crop=crop)[0]
    assert len(VaeDataset(folder, max_pixels=72 * 40)[0]) == 2


WRONG: dict[str, tuple[type[Exception], dict[str, Any]]] = {
    "crop 0": (BadValue, {"crop": 0}),
    "crop of three": (BadType, {"crop": (8, 8, 8)}),
    "crop of text": (BadType, {"crop": "88"}),
    "crop of floats": (BadType, {"crop": (8.0, 8.0)}),
    "reduce by 3": (BadValue, {"reduce": 3}),
    "mode P": (BadValue, {"mode": "P"}),
    "a mode of numbers": (BadValue, {"mode": 3}),
    "max_pixels 0": (BadValue, {"max_pixels": 0}),
    "labels of text": (BadType, {"labels": "yes"}),
    "bytes that are cropped": (BadValue, {"decode": False, "crop": 8}),
    "bytes that are reduced": (BadValue, {"decode": False, "reduce": 2}),
    "bytes that are transformed": (BadValue, {"decode": False, "transform": len}),
    "no labels to transform": (BadValue, {"labels": False, "target_transform": str}),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(folder: Path, case: str) -> None:
    kind, options = WRONG[case]
    with pytest.raises(kind) as caught:
        VaeDataset(folder, **options)
    assert isinstance(caught.value, VaeError) and str(caught.value)


def test_wrong_sources(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        VaeDataset(tmp_path / "none")
    assert isinstance(missing.value, VaeError)
    with pytest.raises(VaeError, match=r"photos/cat/0\.vae: is no tar"):
        VaeDataset(folder / "cat/0.vae")
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", pack(tmp_path / "empty.tar", {"a.txt": b"a"}), []):
        with pytest.raises(VaeError, match=r"no \.vae files"):
            VaeDataset(source)
    for source in (3, b"photos", [3]):
        with pytest.raises(BadType):
            VaeDataset(source)  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="no labels"):
        VaeDataset([folder / "cat/0.vae"], labels=True)
    with pytest.raises(VaeError, match=r"0\.vae: is in no class"):
        VaeDataset(folder / "cat", labels=True)


def test_a_file_outside_the_classes(folder: Path, tmp_path: Path, files: dict[str, bytes]) -> None:
    (folder / "stray.vae").write_bytes(files["cat/0.vae"])
    path = pack(tmp_path / "stray.tar", {"stray.vae": b"", **files})
    for source in (folder, path):
        with pytest.raises(VaeError, match=r"stray\.vae: is in no class"):
            VaeDataset(source)
        assert VaeDataset(source, labels=False).classes == []


def test_webdataset_decodes_with_it(tmp_path: Path, files: dict[str, bytes]) -> None:
    wds = pytest.importorskip("webdataset", reason="the data extra is not installed")
    shard = tmp_path / "shard.tar"
    with wds.TarWriter(str(shard)) as writer:
        for number, data in enumerate(files.values()):
            writer.write({"__key__": f"{number}", "vae": data, "cls": number})
    decoder = VaeDecoder(crop=(32, 40), reduce=2)
    dataset = wds.WebDataset(str(shard), shardshuffle=False).decode(decoder).to_tuple("vae", "cls")
    torch.manual_seed(4)
    found = list(dataset)
    torch.manual_seed(4)
    for (picture, label), (number, data) in zip(found, enumerate(files.values()), strict=True):
        assert label == number and picture.shape == (3, 16, 20)
        assert torch.equal(picture, decoder.decode(data))
    context = multiprocessing.get_context("fork")
    loader = wds.WebLoader(
        dataset, batch_size=3, num_workers=1, multiprocessing_context=context, timeout=300
    )
    ((pictures, labels),) = loader
    assert pictures.shape == (3, 3, 16, 20) and labels.tolist() == [0, 1, 2]


def test_webdataset_s_handlers(tmp_path: Path, files: dict[str, bytes]) -> None:
    wds = pytest.importorskip("webdataset", reason="the data extra is not installed")
    first, second, _ = files.values()
    shard = pack(tmp_path / "shard.tar", {"a.vae": first, "b.vae": second[:-9], "c.vae": first})
    dataset = wds.WebDataset(str(shard), shardshuffle=False)
    skipping = dataset.decode(VaeDecoder(), handler=wds.ignore_and_continue)
    assert [sample["__key__"] for sample in skipping] == ["a", "c"]
    with pytest.raises(wds.autodecode.DecodingError) as caught:
        list(dataset.decode(VaeDecoder()))
    assert (caught.value.key, caught.value.url) == ("b", str(shard))
    assert isinstance(caught.value.__cause__, vaecodec.TruncatedFile)


def test_the_decoder_leaves_other_files_alone(files: dict[str, bytes]) -> None:
    decoder = VaeDecoder()
    assert decoder(".jpg", b"") is None and decoder(".vae.txt", b"") is None
    data = files["cat/0.vae"]
    for key in (".vae", ".left.VAE"):
        picture = decoder(key, data)
        assert picture is not None and picture.shape == (3, 40, 72)


def test_modes_of_tensors_elsewhere_stay_there() -> None:
    picture = torch.empty(2, 4, 5, dtype=torch.uint8, device="meta")
    for mode, channels in MODES.items():
        found = in_mode(picture, mode)
        assert (tuple(found.shape), found.device.type) == ((channels, 4, 5), "meta")


def middle(picture: Tensor) -> Tensor:
    """40 x 64 of it."""
    top, left = (picture.shape[1] - 40) // 2, (picture.shape[2] - 64) // 2
    return picture[:, top : top + 40, left : left + 64]


def test_a_batch_is_decoded_as_it_is_collated(folder: Path, photos_tar: Path) -> None:
    wanted = torch.stack([middle(picture) for picture, _ in VaeDataset(folder)])
    collate = DecodeCollate(device="cpu", transform=middle)
    for source in (folder, photos_tar):
        dataset = VaeDataset(source, decode=False)
        ((pictures, labels),) = DataLoader(dataset, batch_size=3, collate_fn=collate)
        assert (pictures.dtype, labels.tolist()) == (torch.uint8, [0, 0, 1])
        assert pictures.shape == wanted.shape == (3, 3, 40, 64)
        assert (pictures.int() - wanted.int()).abs().max() <= 2
    (alone,) = DataLoader(
        VaeDataset(folder, decode=False, labels=False), batch_size=3, collate_fn=collate
    )
    assert torch.equal(alone, pictures)
    named = VaeDataset(folder, decode=False, target_transform=str)
    assert list(collate([named[0], named[2]])[1]) == ["0", "1"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_batch_is_collated_in_workers(folder: Path, method: str) -> None:
    """Decoded there, or read there and decoded here."""
    program = f"""
from torch.utils.data import DataLoader
from vaecodec.data import DecodeCollate, VaeDataset
if __name__ == "__main__":
    dataset, collate = VaeDataset({str(folder / "cat")!r}, decode=False), DecodeCollate(device="cpu")
    options = dict(num_workers=1, multiprocessing_context={method!r}, timeout=300)
    for pictures in DataLoader(dataset, collate_fn=collate, **options):
        print(tuple(pictures.shape))
    for files in DataLoader(dataset, collate_fn=list, **options):
        print(tuple(collate(files).shape))
"""
    run = [sys.executable, "-c", program]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        run, capture_output=True, text=True, check=False, timeout=400, env=environment
    )
    assert done.stdout.splitlines() == ["(1, 3, 40, 72)", "(1, 3, 48, 64)"] * 2, done.stderr


def test_modes_of_a_batch(photo: np.ndarray) -> None:
    grey = vaecodec.encode(photo[:24, :40, 0], lossless=True, device="cpu")
    colour = vaecodec.encode(photo[:24, :40], lossless=True, device="cpu")
    assert DecodeCollate(device="cpu")([grey, colour]).shape == (2, 3, 24, 40)  # type: ignore[union-attr]
    assert DecodeCollate(device="cpu", mode="L")([grey, colour]).shape == (2, 1, 24, 40)  # type: ignore[union-attr]
    with pytest.raises(BadValue, match="1 x 24 x 40 and 3 x 24 x 40"):
        DecodeCollate(device="cpu", mode=None)([grey, colour])


def test_what_collate_refuses(folder: Path, files: dict[str, bytes]) -> None:
    dataset = VaeDataset(folder, decode=False)
    collate = pickle.loads(pickle.dumps(DecodeCollate(device="cpu")))
    with pytest.raises(BadValue, match="3 x 40 x 72 and 3 x 48 x 64 cannot be stacked"):
        collate([dataset[0], dataset[1]])
    with pytest.raises(BadType, match="decode=False"):
        collate([VaeDataset(folder)[0]])
    with pytest.raises(BadValue):
        DecodeCollate(device="cpu", mode="P")
    with pytest.raises(vaecodec.LimitExceeded):
        DecodeCollate(device="cpu", max_pixels=100)([dataset[0]])
    (folder / "cat/0.vae").write_bytes(files["cat/0.vae"][:-9])
    with pytest.raises(vaecodec.TruncatedFile) as caught:
        collate([dataset[1], dataset[0]])
    assert caught.value.filename == str(folder / "cat/0.vae")


def test_a_worker_has_no_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collate = DecodeCollate(device="cpu")
    collate._codec.device = torch.device("cuda")
    monkeypatch.setattr("vaecodec.data.collate.get_worker_info", lambda: object())
    with pytest.raises(VaeError, match="num_workers=0"):
        collate([VaeDataset(folder, decode=False)[0]])


@pytest.mark.gpu
def test_a_batch_on_a_gpu(folder: Path) -> None:
    dataset = VaeDataset(folder / "cat", decode=False)
    collate = DecodeCollate(device="cuda", transform=middle)
    (pictures,) = DataLoader(dataset, batch_size=2, collate_fn=collate)
    assert pictures.device.type == "cuda"
    wanted = torch.stack([middle(picture) for picture in VaeDataset(folder / "cat")])
    assert (pictures.cpu().int() - wanted.int()).abs().max() <= 2
    with pytest.raises(VaeError, match="num_workers=0"):
        list(DataLoader(dataset, collate_fn=collate, num_workers=1, timeout=300))


def test_arguments_that_cannot_be_are_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.vae").write_bytes(vaecodec.encode(np.zeros((16, 16, 3), np.uint8)))
    for wrong, kind in (
        ({"device": "tpu"}, vaecodec.BadValue),
        ({"model": "none"}, vaecodec.UnknownModel),
        ({"model": 5}, vaecodec.BadType),
        ({"transform": 5}, vaecodec.BadType),
        ({"decode": False, "mode": "L"}, vaecodec.BadValue),
    ):
        with pytest.raises(kind) as caught:
            VaeDataset(tmp_path, **wrong)  # type: ignore[arg-type]
        assert caught.value.filename is None
    with pytest.raises(vaecodec.BadValue):
        DecodeCollate(device="cpu")([])
    with pytest.raises(vaecodec.BadType):
        DecodeCollate(device="cpu")([(b"",)])
    with pytest.raises(vaecodec.BadType, match="transform must return"):
        DecodeCollate(device="cpu", transform=lambda _: None)([(tmp_path / "a.vae").read_bytes()])  # type: ignore[arg-type, return-value]


def test_a_tar_with_a_name_beyond_all_memory(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2**60
    path = tmp_path / "hostile.tar"
    path.write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(9728))
    with pytest.raises(VaeError, match=r"hostile\.tar: is no tar without compression, or damaged"):
        VaeDataset(path)


def test_a_tar_with_a_negative_size(tmp_path: Path) -> None:
    """Which tarfile would read again and again."""
    entry = tarfile.TarInfo("a.vae")
    header = bytearray(entry.tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = (2**96 - 512).to_bytes(12, "big")  # -512 in base 256
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "hostile.tar"
    path.write_bytes(bytes(header) * 2 + bytes(1024))
    with pytest.raises(VaeError, match="the tar is damaged at byte"):
        VaeDataset(path)
