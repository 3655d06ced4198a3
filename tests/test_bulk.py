"""Many pictures at once: results, errors and memory do not depend on what else there is."""

from __future__ import annotations

import gc
import io
import os
import tarfile
import threading
import weakref
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

import vaecodec
from bitstream import container
from vaecodec import Codec, bulk, parallel, sources
from vaecodec.pictures import reading


@pytest.fixture(params=["pictures alone", "in batches"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Codec:
    """As on the CPU, and as on a GPU."""
    if request.param == "in batches":
        monkeypatch.setattr(bulk, "window_of", lambda *_: 3)
    monkeypatch.setattr(bulk, "usable_cores", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    return Codec()


@pytest.fixture
def pictures(photo: np.ndarray) -> list[np.ndarray]:
    """Of several sizes and colours."""
    transparent = np.dstack((photo, photo[:, :, :1]))[:40, :56]
    return [photo[:64, :64], photo[:64, 64:128], photo[:30, :20], photo[64:128, :64], transparent,
            photo[:33, :47, 0], np.zeros((24, 24, 3), np.uint8)]  # fmt: skip


def test_any_mix(codec: Codec, pictures: list[np.ndarray]) -> None:
    files = codec.encode_batch(pictures, 40)
    alone = [vaecodec.decode(vaecodec.encode(picture, 40)) for picture in pictures]
    images = codec.decode_batch(files)
    assert [image.mode for image in images] == ["RGB", "RGB", "RGB", "RGB", "RGBA", "L", "RGB"]
    for image, single in zip(images, alone, strict=True):
        # A batch may round single latents differently: the transforms are in floating point.
        difference = np.abs(np.asarray(image, np.float32) - np.asarray(single, np.float32))
        assert image.size == single.size and difference.mean() < 0.5
    for file, image in zip(files, images, strict=True):
        assert np.abs(np.asarray(image, int) - np.asarray(vaecodec.decode(file), int)).max() <= 1


def test_pictures_of_as_many_positions_go_together(
    photo: np.ndarray, together: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever their sizes in pixels, on a GPU; with the results that each has alone."""
    monkeypatch.setattr(bulk, "window_of", lambda *_: 8)
    codec = Codec(device="cpu")
    sizes = [(64, 80), (49, 66), (64, 65), (63, 80), (64, 81)]
    pictures = [np.ascontiguousarray(photo[:height, :width]) for height, width in sizes]
    pictures.append(np.dstack((pictures[1], pictures[1][:, :, 0])))
    files = codec.encode_batch(pictures, 50, lossless=False)
    assert sorted(together) == [1, 5]
    together.clear()
    images = codec.decode_batch(files)
    assert sorted(together) == [1, 1, 4]  # transparency is another colour
    tensors = codec.decode_batch(files, as_tensor=True)
    for picture, file, image, tensor in zip(pictures, files, images, tensors, strict=True):
        assert image.size == picture.shape[1::-1]
        alone = np.asarray(codec.decode(file), int)
        assert np.abs(np.asarray(image, int) - alone).max() <= 1
        assert np.abs(tensor.permute(1, 2, 0).numpy().astype(int) - alone).max() <= 1
        single = np.asarray(codec.decode(codec.encode(picture, 50, lossless=False)), int)
        assert np.abs(alone - single).mean() < 0.5


def test_colours_and_greys_of_a_batch_keep_nothing_else_alive(
    photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "window_of", lambda *_: 8)
    codec = Codec(device="cpu")
    for picture in (photo[:64, :64], photo[:64, :64, 0]):
        files = codec.encode_batch([picture] * 8, 40, lossless=False)
        for tensor in codec.decode_batch(files, as_tensor=True):
            assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_threads_start_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch within a thread of a pool is worked on in that thread."""
    monkeypatch.setattr(bulk, "usable_cores", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)  # else one job is all there is anyway

    def here(items: object) -> list[str]:
        return [threading.current_thread().name for _ in items]  # type: ignore[attr-defined]

    same = bulk.Steps[int, int, str](
        take=int, pixels=int, read=int, shape=lambda number: (1, 1, number), work=here
    )

    def batch(_: int) -> bool:
        found = bulk.each(range(40), same, torch.device("cpu"), "raise")
        return set(found) == {threading.current_thread().name}

    assert [all_here for _, all_here in parallel.in_threads([0, 1], batch, 2)] == [True, True]
    assert not parallel.is_worker()


def test_threads_share_the_usable_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch may have more threads: it does not see a container's quota."""
    before = torch.get_num_threads()
    monkeypatch.setattr(parallel, "usable_cores", lambda: 2)
    torch.set_num_threads(8)
    try:
        found = parallel.in_threads(range(4), lambda _: torch.get_num_threads(), 2)
        assert [threads for _, threads in found] == [1] * 4
        assert torch.get_num_threads() == 8
    finally:
        torch.set_num_threads(before)


def test_errors_in_place(codec: Codec, pictures: list[np.ndarray], tmp_path: Path) -> None:
    """Each names its file, and those beside it succeed."""
    missing = tmp_path / "missing.png"
    mixed = [*pictures[:2], missing, np.zeros((0, 3, 3), np.uint8), *pictures[2:]]
    found = codec.encode_batch(mixed, 40, on_error="return")
    assert isinstance(found[2], vaecodec.NoSuchFile) and found[2].filename == str(missing)
    assert isinstance(found[3], vaecodec.VaeError)
    assert [type(file) for file in found].count(bytes) == len(pictures)
    with pytest.raises(vaecodec.NoSuchFile):
        codec.encode_batch(mixed, 40)

    damaged = tmp_path / "damaged.vae"
    data = bytearray(found[1])
    data[-9] ^= 1
    damaged.write_bytes(data)
    # Equal in header with its neighbours: found out where they are decoded together.
    sources = [found[0], damaged, found[1], io.BytesIO(b"nothing"), found[4]]
    decoded = codec.decode_batch(sources, on_error="return")
    assert isinstance(decoded[1], vaecodec.CorruptFile) and decoded[1].filename == str(damaged)
    assert isinstance(decoded[3], vaecodec.NotAVaeFile)
    assert [image.size for image in (decoded[0], decoded[2], decoded[4])] == [
        (64, 64),
        (64, 64),
        (20, 30),
    ]
    with pytest.raises(vaecodec.CorruptFile, match=r"damaged\.vae"):
        codec.decode_batch(sources)


def test_a_batch_that_fails_as_a_whole(
    codec: Codec, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of files with whole checksums one may still hold what cannot be decoded; and memory that does
    for one may not do for several."""
    files = codec.encode_batch(pictures[:2], 40)
    bad = codec.encode(pictures[0], 40, tune="psnr")
    decode = codec._images

    def images(chosen: list, *rest: object) -> list:
        if len(chosen) > 1:
            raise MemoryError
        if chosen[0].header.model_id == vaecodec.codec.container.parse(bad).header.model_id:
            raise vaecodec.CorruptFile("as if")
        return decode(chosen, *rest)

    monkeypatch.setattr(codec, "_images", images)
    first, second, third = codec.decode_batch([files[0], bad, files[1]], on_error="return")
    assert first.size == third.size == (64, 64)
    assert isinstance(second, vaecodec.CorruptFile)


@pytest.mark.parametrize(
    ("pixels", "most", "expected"),
    [
        ([1, 1, 1, 1, 1], 2, [2, 2, 1]),
        ([1, 1, 1], 1, [1, 1, 1]),
        ([bulk.WINDOW_PIXELS - 1, 1, 1, 0], 9, [2, 2]),
        ([10 * bulk.WINDOW_PIXELS, 1, 10 * bulk.WINDOW_PIXELS], 9, [1, 1, 1]),
        ([], 3, []),
    ],
)
def test_windows(pixels: list[int], most: int, expected: list[int]) -> None:
    """So many items, or so many pixels."""
    found = list(bulk.windows(pixels, lambda size: size, most))
    assert [len(window) for window in found] == expected
    assert list(chain(*found)) == pixels


@pytest.mark.parametrize("most", [1, 2])
def test_a_window_is_not_held_back(most: int) -> None:
    """By an item that is not its own; and what came before an error is not lost."""
    taken: list[int] = []

    def failing() -> Iterator[int]:
        for item in (1, 2, 3):
            taken.append(item)
            yield item
        raise ZeroDivisionError

    windows = bulk.windows(failing(), lambda size: size, most)
    assert next(windows) == taken == [1, 2][:most]
    rest = [next(windows)] if most == 2 else [next(windows), next(windows)]
    assert list(chain(*rest)) == [2, 3][most - 1 :]
    with pytest.raises(ZeroDivisionError):
        next(windows)


def test_items_of_a_window_on_a_gpu() -> None:
    """Every thread has some, and batches are not too small."""
    cuda = torch.device("cuda")
    for count, expected in ((None, 32), (1000, 32), (100, 17), (49, 9), (48, 8), (9, 8), (1, 8)):
        assert bulk.window_of(cuda, count, 6) == expected
    assert bulk.window_of(torch.device("cpu"), 1000, 6) == 1


def test_pixels_announced(photo: np.ndarray, tmp_path: Path) -> None:
    """By the first bytes of files, and by what was taken; nothing by what is broken or not there."""
    file, picture = tmp_path / "a.vae", tmp_path / "a.png"
    file.write_bytes(vaecodec.encode(photo[:40, :250], 40))
    Image.fromarray(photo[:40, :250]).save(picture)
    taken = reading.taken(photo[:40, :200])
    assert sources.announced_pixels(file) == sources.announced_pixels(file.read_bytes()) == 10000
    assert reading.announced_pixels(picture) == reading.announced_pixels(str(picture)) == 10000
    assert reading.announced_pixels(picture.read_bytes()) == 10000
    assert reading.announced_pixels(taken) == 8000
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # what is read of it is gone: it is not even opened, which would wait
    for found in (pipe, tmp_path, "none", "\0", b"", b"nothing", file.read_bytes()[:9]):
        assert sources.announced_pixels(found) == 0
        assert reading.announced_pixels(found) == 0
    wide = container.Header(
        width=2**31 - 1, height=2**31 - 1, colour=1, depth=8, model_id=bytes(4), level=0
    )
    assert container.announced_pixels(container.pack(wide, [b""])[:32]) == (2**31 - 1) ** 2


def test_errors_that_are_kept_hold_nothing() -> None:
    """Such as the memory that there was too little of."""
    held: list[weakref.ref[np.ndarray]] = []

    def steps() -> Iterator[None]:
        kept = np.zeros(10)
        held.append(weakref.ref(kept))
        yield

    def work(_: int) -> None:
        activations, going = np.zeros(10), steps()
        held.append(weakref.ref(activations))
        next(going)
        try:
            raise RuntimeError
        except RuntimeError as error:
            raise MemoryError from error

    error = parallel.settled(work, 0)
    assert isinstance(error, MemoryError) and error.__traceback__ is not None
    assert [reference() for reference in held] == [None, None]


@pytest.mark.gpu
def test_threads_on_a_gpu(pictures: list[np.ndarray]) -> None:
    """Several windows of items, in the caller's stream."""
    cuda = Codec(device="cuda")
    files = cuda.encode_batch(pictures * 10, 40)
    with torch.cuda.stream(torch.cuda.Stream()):
        tensors = cuda.decode_batch(files, as_tensor=True)
        sums = [int(tensor.sum(dtype=torch.int64)) for tensor in tensors]
    expected = [np.asarray(image).sum(dtype=np.int64) for image in cuda.decode_batch(files)]
    assert sums == expected


def test_tensors(codec: Codec, pictures: list[np.ndarray]) -> None:
    files = codec.encode_batch(pictures, 40)
    files.append(vaecodec.encode(pictures[4], lossless=True))
    tensors = codec.decode_batch(files, as_tensor=True)
    assert [tuple(tensor.shape) for tensor in tensors] == [
        (3, 64, 64), (3, 64, 64), (3, 30, 20), (3, 64, 64), (4, 40, 56), (1, 33, 47), (3, 24, 24),
        (4, 40, 56),
    ]  # fmt: skip
    for tensor, image in zip(tensors, codec.decode_batch(files), strict=True):
        array = np.asarray(image)
        assert tensor.dtype == torch.uint8 and tensor.device == codec.device and tensor.is_contiguous()
        assert np.array_equal(
            tensor.numpy(), array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        )


def test_without_end(codec: Codec, photo: np.ndarray) -> None:
    """Items are taken as they are needed, and let go."""
    taken: list[weakref.ref[np.ndarray]] = []

    def endless() -> Iterator[np.ndarray]:
        while True:
            picture = photo[:16, : 16 + len(taken) % 2].copy()
            taken.append(weakref.ref(picture))
            yield picture

    files = codec.encode_many(endless(), 30)
    assert not taken
    images = codec.decode_many(files)
    sizes = [next(images).size for _ in range(8)]
    assert sizes == [(16, 16), (17, 16)] * 4
    ahead = 2 * 2 * 3 * 2  # jobs, items for each, pictures in each, and so for either way
    assert len(taken) <= 8 + ahead
    for _ in range(20):
        next(images)
    gc.collect()
    assert sum(reference() is not None for reference in taken) <= ahead
    images.close()
    files.close()


def test_what_is_given_is_checked_at_once(codec: Codec) -> None:
    with pytest.raises(vaecodec.BadValue, match="on_error must be"):
        codec.encode_many([], on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(vaecodec.BadValue, match="on_error must be"):
        codec.decode_batch([], on_error=None)  # type: ignore[arg-type]
    with pytest.raises(vaecodec.BadType, match="as_tensor must be"):
        codec.decode_many([], as_tensor=1)  # type: ignore[arg-type]
    with pytest.raises(vaecodec.BadType, match="a batch is a sequence of files"):
        codec.decode_many("photo.vae")
    with pytest.raises(vaecodec.BadValue):
        codec.encode_many([], 1000)


def test_an_error_of_the_caller_is_the_callers(codec: Codec, photo: np.ndarray) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield photo[:16, :16]
        raise ZeroDivisionError

    files = codec.encode_many(failing(), 30, on_error="return")
    assert vaecodec.decode(next(files)).size == (16, 16)  # what came before it is not lost
    with pytest.raises(ZeroDivisionError):
        next(files)


def test_threads_of_the_caller_are_left_alone(photo: np.ndarray) -> None:
    """Their number is a setting of each thread, and of all that are yet to come."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen: list[int] = []
        results = list(
            parallel.in_threads(range(4), lambda _: torch.get_num_threads(), 2, in_order=True)
        )
        assert results == [(0, 1), (1, 1), (2, 1), (3, 1)]
        assert torch.get_num_threads() == 2
        later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert seen == [2]
    finally:
        torch.set_num_threads(before)


def test_order(photo: np.ndarray) -> None:
    """As they come, or as they end."""
    gate = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            gate.wait()
        elif number == 2:
            gate.set()
        return number

    assert [item for item, _ in parallel.in_threads(range(4), work, 2, in_order=True)] == [0, 1, 2, 3]
    gate.clear()

    def wait_for_gate(number: int) -> None:
        if number == 0:
            gate.wait()

    assert next(parallel.in_threads(range(4), wait_for_gate, 2))[0] != 0
    gate.set()


def test_images_that_are_open(codec: Codec, photo: np.ndarray) -> None:
    """Pillow's images are read where they are encoded."""
    file = io.BytesIO()
    Image.fromarray(photo[:32, :32]).save(file, "PNG")
    found = codec.encode_batch([Image.open(io.BytesIO(file.getvalue())) for _ in range(3)], 30)
    assert found[0] == found[1] == found[2]


def test_sources_that_share_something(codec: Codec, tmp_path: Path) -> None:
    """A buffer filled again, frames of one file, members of one tar: each is read in its turn."""
    expected = [np.full((16, 16, 3), 10 * i, np.uint8) for i in range(20)]

    def exactly(pictures: Iterator[Any]) -> None:
        files = codec.encode_many(pictures, lossless=True)
        found = [np.asarray(image)[0, 0, 0] for image in codec.decode_many(files)]
        assert found == [picture[0, 0, 0] for picture in expected]

    buffer = np.zeros((16, 16, 3), np.uint8)

    def filled() -> Iterator[np.ndarray]:
        for picture in expected:
            buffer[:] = picture
            yield buffer

    exactly(filled())
    exactly(torch.from_numpy(each).permute(2, 0, 1) for each in filled())
    first, *rest = (Image.fromarray(picture) for picture in expected)
    first.save(tmp_path / "frames.tiff", save_all=True, append_images=rest)
    with Image.open(tmp_path / "frames.tiff") as frames:
        exactly(ImageSequence.Iterator(frames))
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for i, picture in enumerate(expected):
            Image.fromarray(picture).save(tmp_path / "a.bmp")
            tar.add(tmp_path / "a.bmp", f"{i}.bmp")
    with tarfile.open(tmp_path / "a.tar") as tar:
        exactly(tar.extractfile(member) for member in tar)
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        for i, picture in enumerate(expected):
            (tmp_path / "a.vae").write_bytes(vaecodec.encode(picture, lossless=True))
            tar.add(tmp_path / "a.vae", f"{i}.vae")
    with tarfile.open(tmp_path / "b.tar") as tar:
        images = codec.decode_many(tar.extractfile(member) for member in tar)
        assert [np.asarray(each)[0, 0, 0] for each in images] == [each[0, 0, 0] for each in expected]
