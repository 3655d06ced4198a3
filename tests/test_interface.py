"""The Python interface: what it takes and refuses, threads, processes, torch's settings."""

from __future__ import annotations

import copy
import gzip
import io
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vaecodec
from vaecodec import codec as codecs
from vaecodec.codec import Codec
from vaecodec.pictures import lossless


@pytest.fixture(scope="module")
def data(photo: np.ndarray) -> bytes:
    return vaecodec.encode(photo, 30)


@pytest.fixture
def vae_file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "photo.vae"
    path.write_bytes(data)
    return path


def test_every_kind_of_picture_is_encoded_alike(
    photo: np.ndarray, photo_file: Path, data: bytes
) -> None:
    content = photo_file.read_bytes()
    after_something = io.BytesIO(b"something" + content)
    after_something.seek(9)
    frozen = photo.copy()
    frozen.flags.writeable = False
    apart = np.zeros((192, 512, 3), np.uint8)
    apart[:, ::2] = photo
    tensor = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    sources: dict[str, object] = {
        "path": photo_file,
        "name": str(photo_file),
        "bytes": content,
        "bytearray": bytearray(content),
        "memoryview": memoryview(content),
        "file": after_something,
        "image": Image.open(photo_file),
        "read-only": frozen,
        "strided": apart[:, ::2],
        "backwards": photo[::-1].copy()[::-1],
        "by columns": np.asfortranarray(photo),
        "tensor": tensor,
        "tensor of floats": (tensor.double() / 255).requires_grad_(),
    }
    for kind, source in sources.items():
        assert vaecodec.encode(source, 30) == data, kind  # type: ignore[arg-type]
    with photo_file.open("rb") as file:
        assert vaecodec.encode(file, 30) == data
    batch = torch.stack([tensor, tensor])
    assert vaecodec.Codec().encode_batch(batch, 30) == vaecodec.Codec().encode_batch([photo, photo], 30)
    grey = torch.from_numpy(photo[:, :, 1].copy())[None]
    assert vaecodec.encode(grey, 30) == vaecodec.encode(photo[:, :, 1], 30)


def test_every_kind_of_source_is_decoded_alike(vae_file: Path, data: bytes) -> None:
    expected = np.asarray(vaecodec.decode(data))
    file = io.BytesIO(b"12345" + data)
    file.seek(5)
    for source in (vae_file, str(vae_file), bytearray(data), memoryview(data), file):
        assert np.array_equal(np.asarray(vaecodec.decode(source)), expected)
    with vae_file.open("rb") as opened:
        assert np.array_equal(np.asarray(vaecodec.decode(opened)), expected)
    both = vaecodec.Codec().decode_batch(source for source in (vae_file, data))
    assert all(image.size == (256, 192) for image in both)


def test_info_and_models(vae_file: Path, data: bytes) -> None:
    about = vaecodec.info(vae_file)
    assert about == vaecodec.info(data) == vaecodec.info(io.BytesIO(data))
    assert (about.width, about.height, about.colour) == (256, 192, "RGB")
    assert about.bits_per_pixel == pytest.approx(8 * len(data) / (256 * 192))
    names = {model.name: model for model in vaecodec.models()}
    assert names[about.model or ""].id == about.model_id
    assert {model.tune for model in names.values() if model.default} == {"visual", "psnr"}
    with pytest.raises(AttributeError):
        about.width = 3  # type: ignore[misc]
    assert {"info", "models", "Codec"} <= set(dir(vaecodec))


SMALL = vaecodec.encode(np.zeros((32, 32, 3), np.uint8), lossless=True)
RELEASED = memoryview(SMALL)
RELEASED.release()
WRONG: dict[str, tuple[type[Exception], Callable[[], object]]] = {
    "decode nothing": (TypeError, lambda: vaecodec.decode(None)),  # type: ignore[arg-type]
    "decode a number": (TypeError, lambda: vaecodec.decode(3)),  # type: ignore[arg-type]
    "decode text": (TypeError, lambda: vaecodec.decode(io.StringIO("x"))),  # type: ignore[arg-type]
    "a name with a null": (vaecodec.VaeError, lambda: vaecodec.decode("a\0b")),
    "a box of 3": (TypeError, lambda: vaecodec.decode(SMALL, box=(0, 0, 9))),  # type: ignore[arg-type]
    "a box of floats": (TypeError, lambda: vaecodec.decode(SMALL, box=(0, 0, 9.0, 9.0))),  # type: ignore[arg-type]
    "a box of text": (TypeError, lambda: vaecodec.decode(SMALL, box="0000")),  # type: ignore[arg-type]
    "an empty box": (ValueError, lambda: vaecodec.decode(SMALL, box=(3, 3, 3, 9))),
    "reduce by 3": (ValueError, lambda: vaecodec.decode(SMALL, reduce=3)),
    "reduce by 2.0": (ValueError, lambda: vaecodec.decode(SMALL, reduce=2.0)),  # type: ignore[arg-type]
    "a limit of text": (TypeError, lambda: vaecodec.decode(SMALL, max_pixels="x")),  # type: ignore[arg-type]
    "a limit of 0": (ValueError, lambda: vaecodec.decode(SMALL, max_pixels=0)),
    "encode nothing": (TypeError, lambda: vaecodec.encode(None)),  # type: ignore[arg-type]
    "encode a list": (TypeError, lambda: vaecodec.encode([[0]])),  # type: ignore[arg-type]
    "encode text": (vaecodec.VaeError, lambda: vaecodec.encode(b"text")),
    "quality of text": (TypeError, lambda: vaecodec.encode(SMALL, "high")),  # type: ignore[arg-type]
    "quality 0": (ValueError, lambda: vaecodec.encode(SMALL, 0)),
    "no such tune": (ValueError, lambda: vaecodec.encode(SMALL, tune="ssim")),
    "no such device": (ValueError, lambda: vaecodec.encode(SMALL, device="tpu")),
    "a device of numbers": (TypeError, lambda: Codec(device=3)),  # type: ignore[arg-type]
    "a model of numbers": (TypeError, lambda: Codec(3)),  # type: ignore[arg-type]
    "a batch of one": (TypeError, lambda: Codec().encode_batch(Image.new("RGB", (9, 9)))),
    "a batch of one array": (TypeError, lambda: Codec().encode_batch(np.zeros((9, 9, 3), np.uint8))),
    "a batch of one file": (TypeError, lambda: Codec().decode_batch(SMALL)),  # type: ignore[arg-type]
    "a flat tensor": (vaecodec.VaeError, lambda: vaecodec.encode(torch.zeros(9, 9))),
    "a tensor of whole numbers": (
        vaecodec.VaeError,
        lambda: vaecodec.encode(torch.zeros(3, 9, 9, dtype=torch.int64)),
    ),
    "a tensor beyond 1": (vaecodec.VaeError, lambda: vaecodec.encode(torch.full((3, 9, 9), 1.5))),
    "a nested tensor": (
        vaecodec.VaeError,
        lambda: vaecodec.encode(torch.nested.nested_tensor([torch.zeros(9, 9)] * 3)),
    ),
    "a sparse tensor": (vaecodec.VaeError, lambda: vaecodec.encode(torch.zeros(3, 9, 9).to_sparse())),
    "a tensor without values": (
        vaecodec.VaeError,
        lambda: vaecodec.encode(torch.zeros(3, 9, 9, device="meta")),
    ),
    "a tensor whose channels are last": (
        vaecodec.VaeError,
        lambda: vaecodec.encode(torch.zeros(9, 9, 3)),
    ),
    "a matrix of floats": (vaecodec.VaeError, lambda: vaecodec.encode(np.matrix([[1.0]]))),
    "dates": (TypeError, lambda: vaecodec.decode(np.zeros(3, "M8[s]"))),  # type: ignore[arg-type]
    "released memory": (TypeError, lambda: vaecodec.decode(RELEASED)),
    "reduce by an array": (ValueError, lambda: vaecodec.decode(SMALL, reduce=np.ones(2))),  # type: ignore[arg-type]
    "reduce by a complex number": (ValueError, lambda: vaecodec.decode(SMALL, reduce=2 + 0j)),  # type: ignore[arg-type]
    "recover as an array": (TypeError, lambda: vaecodec.decode(SMALL, recover=np.ones(2))),  # type: ignore[arg-type]
    "lossless as text": (TypeError, lambda: vaecodec.encode(SMALL, lossless="no")),  # type: ignore[arg-type]
    "strip as text": (TypeError, lambda: vaecodec.encode(SMALL, strip="no")),  # type: ignore[arg-type]
    "a tune of numbers": (TypeError, lambda: vaecodec.encode(SMALL, tune=np.ones(2))),  # type: ignore[arg-type]
    "a model's name with a null": (vaecodec.VaeError, lambda: Codec("a\0b.safetensors")),
    "a target beyond all numbers": (ValueError, lambda: vaecodec.encode(SMALL, target_bpp=10**400)),
    "a file cut short": (
        vaecodec.VaeError,
        lambda: vaecodec.decode(gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(SMALL)[:-9]))),
    ),
    "a box of very many digits": (
        ValueError,
        lambda: vaecodec.decode(SMALL, box=(0, 0, 10**5000, 1)),
    ),
    "a quality of very many digits": (ValueError, lambda: vaecodec.encode(SMALL, 10**5000)),
    "a target of very many digits": (ValueError, lambda: vaecodec.encode(SMALL, target_size=10**5000)),
    "reduce by very many digits": (ValueError, lambda: vaecodec.decode(SMALL, reduce=10**5000)),
    "noise beyond all numbers": (ValueError, lambda: vaecodec.encode(SMALL, denoise=10**400)),
    "JPEG quality beyond all numbers": (ValueError, lambda: vaecodec.encode(SMALL, deblock=10**400)),
    "on_error as an array": (
        ValueError,
        lambda: Codec().encode_batch([], on_error=np.zeros(3)),  # type: ignore[arg-type]
    ),
    "an array of floats": (vaecodec.VaeError, lambda: vaecodec.encode(np.zeros((9, 9, 3)))),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_a_vae_error_and_python_s_own(case: str) -> None:
    kind, call = WRONG[case]
    with pytest.raises(vaecodec.VaeError) as caught:
        call()
    assert isinstance(caught.value, kind)
    assert str(caught.value)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int64])
def test_numbers_may_be_numpy_s(photo: np.ndarray, kind: Callable[[int], int]) -> None:
    """Whose arithmetic would overflow."""
    for quality in (1, 60, 100):
        expected = vaecodec.encode(photo, quality, effort=1)
        assert vaecodec.encode(photo, kind(quality), effort=kind(1)) == expected
    part = vaecodec.decode(expected, box=(0, 0, kind(100), kind(90)), reduce=kind(2))
    assert part.size == (50, 45)


def test_tensors_that_are_views_of_negatives(photo: np.ndarray) -> None:
    tensor = torch.from_numpy(photo.copy()).permute(2, 0, 1)[:, :16, :16].double() / 255
    imaginary = torch.complex(torch.zeros_like(tensor), -tensor).conj().imag
    assert imaginary.is_neg()
    assert vaecodec.encode(imaginary) == vaecodec.encode(tensor)


def test_images_whose_file_is_closed(photo_file: Path) -> None:
    with Image.open(photo_file) as image:
        pass
    with pytest.raises(vaecodec.BadImage, match="closed"):
        vaecodec.encode(image)


def test_errors_carry_the_name_of_the_file(
    tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, absent = tmp_path / "cut.vae", tmp_path / "absent.vae"
    cut.write_bytes(data[:-9])
    for path, kind in ((cut, vaecodec.TruncatedFile), (absent, vaecodec.VaeError)):
        for call in (vaecodec.decode, vaecodec.info, vaecodec.encode):
            with pytest.raises(vaecodec.VaeError) as caught:
                call(path)
            assert caught.value.filename == str(path)
            assert str(caught.value).count(str(path)) == 1
        with pytest.raises(kind):
            vaecodec.decode(path)
    with cut.open("rb") as file, pytest.raises(vaecodec.TruncatedFile) as caught:
        vaecodec.decode(file)
    assert caught.value.filename == str(cut)
    with pytest.raises(vaecodec.VaeError, match="cannot be read") as caught:
        vaecodec.decode(file)  # that is closed
    assert caught.value.filename == str(cut)
    photo = tmp_path / "photo.png"
    Image.new("RGB", (64, 64)).save(photo)
    with pytest.raises(vaecodec.VaeError, match="cannot be as small as 10 bytes") as caught:
        vaecodec.encode(photo, target_size=10)
    assert caught.value.filename == str(photo)
    monkeypatch.setattr(lossless, "MAX_PIXELS", 64)
    with photo.open("rb") as file:
        failed = Codec().encode_batch([photo, file], lossless=True, on_error="return")
    assert [error.filename for error in failed] == [str(photo)] * 2
    with pytest.raises(vaecodec.VaeError) as caught:
        Codec(tmp_path / "absent.safetensors")
    assert caught.value.filename == str(tmp_path / "absent.safetensors")


def test_the_latent_is_read_from_every_kind_of_source(vae_file: Path, data: bytes) -> None:
    codec = Codec(device="cpu")
    assert np.array_equal(codec.decode_symbols(vae_file), codec.decode_symbols(data))
    with pytest.raises(TypeError) as caught:
        codec.decode_symbols(3)  # type: ignore[arg-type]
    assert isinstance(caught.value, vaecodec.VaeError)


def test_memory_that_torch_does_not_get_is_a_memory_error(
    codec: Codec, data: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It names the file."""
    (tmp_path / "a.vae").write_bytes(data)
    texts = (
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED",
    )
    for text in texts:

        def fail(*_: object, text: str = text, **__: object) -> None:
            raise RuntimeError(text)

        monkeypatch.setattr("vaecodec.decoding.decode", fail)
        with pytest.raises(MemoryError, match=f"^{re.escape(text)}"):
            codec.decode(data)
        (error,) = codec.decode_batch([tmp_path / "a.vae"], on_error="return")
        assert isinstance(error, MemoryError)
        assert str(error).startswith(f"{tmp_path / 'a.vae'}: {text}")


def test_one_codec_in_several_threads(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[object] = []
    load = codecs.load_model
    monkeypatch.setattr(codecs, "load_model", lambda *given: (loads.append(given), load(*given))[1])
    codec = Codec(device="cpu")  # that loads its weights in whichever thread is first
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(lambda _: codec.encode(photo, 40, lossless=False), range(8)))
        images = list(pool.map(codec.decode, files))
    assert len(loads) == 1
    assert all(image.size == (256, 192) for image in images)
    first = np.asarray(images[0]).astype(int)
    assert all(np.abs(np.asarray(image) - first).max() <= 2 for image in images)


def _size(codec: Codec, data: bytes) -> tuple[int, int]:
    return codec.decode(data).size


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_used_codec_in_other_processes(data: bytes, method: str) -> None:
    """In a process of its own: pytest's has threads, which a fork would leave behind."""
    program = f"""
import multiprocessing, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
if __name__ == "__main__":
    import torch
    torch.set_num_threads(2)
    from vaecodec.codec import Codec
    from test_interface import _size
    codec, data = Codec(device="cpu"), bytes.fromhex({data.hex()!r})
    codec.decode(data)
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        print(pool.starmap_async(_size, [(codec, data)] * 3).get(timeout=300))
"""
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=400)
    assert done.stdout.strip() == str([(256, 192)] * 3), done.stderr


def test_in_a_data_loader_s_workers(vae_file: Path) -> None:
    class Files(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> np.ndarray:
            return np.asarray(vaecodec.decode(vae_file, box=(0, 0, 64, 64)))

    vaecodec.decode(vae_file)
    context = multiprocessing.get_context("fork")
    loader = torch.utils.data.DataLoader(
        Files(), batch_size=2, num_workers=2, multiprocessing_context=context, timeout=300
    )
    assert [tuple(batch.shape) for batch in loader] == [(2, 64, 64, 3)] * 2


SETTINGS = {
    "default dtype": "torch.set_default_dtype(torch.float64)\nWORK",
    "default dtype after use": "WORK\ntorch.set_default_dtype(torch.float64)\nWORK",
    "autocast": "with torch.autocast('cpu', dtype=torch.bfloat16):\n    WORK",
    "inference mode": "with torch.inference_mode():\n    WORK\nWORK",
    "gradients": "with torch.enable_grad():\n    WORK",
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_caller_s_torch_settings_stay_outside(setting: str, photo_file: Path) -> None:
    work = "print(vaecodec.decode(vaecodec.encode('photo.png', 40, effort=1, lossless=False)).size)"
    program = "import torch, vaecodec\n" + SETTINGS[setting].replace("WORK", work)
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, cwd=photo_file.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split("\n")) == {"(256, 192)", ""}


def test_a_codec_is_pickled_without_its_weights(data: bytes) -> None:
    codec = Codec(device="cpu")
    codec.decode(data)
    assert len(pickle.dumps(codec)) < 1000
    assert copy.deepcopy(codec).decode(data).size == (256, 192)


def test_weights_that_changed_since_they_were_named(tmp_path: Path) -> None:
    from vaecodec.model import registry

    path = tmp_path / "model.safetensors"
    path.write_bytes(registry.find(None).path.read_bytes())
    codec = Codec(str(path), "cpu")
    with path.open("r+b") as file:
        file.seek(-1, io.SEEK_END)
        file.write(b"\1")
    with pytest.raises(vaecodec.VaeError, match="not those of the model's card"):
        codec.encode(np.zeros((16, 16, 3), np.uint8), lossless=False)


def test_a_file_that_is_not_there_is_an_error_of_pythons_kind(tmp_path: Path) -> None:
    for function in (vaecodec.encode, vaecodec.decode, vaecodec.info):
        with pytest.raises(FileNotFoundError) as raised:
            function(tmp_path / "none")
        assert isinstance(raised.value, vaecodec.VaeError)
        assert raised.value.filename == str(tmp_path / "none")


def test_files_of_text(tmp_path: Path) -> None:
    (tmp_path / "a.vae").write_bytes(SMALL)
    for function in (vaecodec.encode, vaecodec.decode, vaecodec.info):
        with (tmp_path / "a.vae").open() as file, pytest.raises(vaecodec.BadType, match="for reading"):
            function(file)


def test_paths_of_bytes_and_arrays_of_other_classes(tmp_path: Path) -> None:
    (tmp_path / "a.vae").write_bytes(SMALL)
    with os.scandir(os.fsencode(tmp_path)) as entries:
        (entry,) = entries
        assert vaecodec.decode(entry).size == (32, 32)  # type: ignore[arg-type]
    flat = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for other in (np.matrix(flat), np.ma.masked_array(flat)):
        assert vaecodec.encode(other) == vaecodec.encode(flat)


def test_targets_that_all_files_meet() -> None:
    for target in ({"target_bpp": 1e308}, {"target_bpp": np.int8(100)}, {"target_size": 10**300}):
        data = vaecodec.encode(np.zeros((32, 32, 3), np.uint8), **target)  # type: ignore[arg-type]
        assert vaecodec.decode(data).size == (32, 32)


def test_loading_weights_leaves_random_numbers_alone(data: bytes) -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    vaecodec.Codec().decode(data)
    assert torch.equal(torch.rand(3), expected)


def test_ray_without_its_extra_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError('none here')")
    command = [sys.executable, "-m", "vaecodec.ray", "compress", "a", "b"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "vaecodec.ray needs the extra: pip install 'vaecodec[ray]' (none here)" in done.stderr
