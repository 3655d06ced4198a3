"""Many machines: a cluster of two workers on this one."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vaecodec
from vaecodec.codec import Codec

pytest.importorskip("ray.data", reason="the ray extra is not installed")
import pyarrow as pa
import ray
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow.fs import FSSpecHandler, PyFileSystem

from vaecodec.cli.main import main
from vaecodec.ray import Decoder, Encoder, find, write
from vaecodec.ray.__main__ import group
from vaecodec.ray.places import Place
from vaecodec.ray.running import Job
from vaecodec.ray.workers import as_table

#: Inputs of `photos`, those that are no pictures last.
GOOD = ("0.jpg", "1.png", "2.jpg", "beach/0.png", "beach/1.jpg", "beach/b c#d%20?.png")
BAD = ("broken.jpg", "beach/broken.png")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")  # and no token is written to the user's folder
        patch.setenv("OMP_NUM_THREADS", "2")  # which an actor of one core does not obey
        ray.init(
            address="local",
            num_cpus=2,
            num_gpus=0,
            include_dashboard=False,
            object_store_memory=100 * 2**20,
            log_to_driver=False,
        )
        yield
        ray.shutdown()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As the actors have: with several, sums may differ in the last bit, and latents with them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def photos(tmp_path: Path, photo: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    (folder / "beach").mkdir(parents=True)
    for i, name in enumerate(GOOD):
        Image.fromarray(photo[8 * i : 8 * i + 48, : 64 + 16 * (i % 2)]).save(folder / name)
    (folder / BAD[0]).write_bytes((folder / GOOD[0]).read_bytes()[:300])
    (folder / BAD[1]).write_bytes(b"no picture")
    return folder


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, list[str]]:
    """Run the command in this process: exit code, output, and of what else is said our own."""
    with pytest.raises(SystemExit) as stop, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["ray", *map(str, arguments)])
        main(group, "python -m vaecodec.ray")
    captured = capsys.readouterr()
    said = [line for line in captured.err.splitlines() if line.startswith("vaecodec: ")]
    return int(stop.value.code or 0), captured.out, sorted(said)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def vae(name: str) -> str:
    return str(Path(name).with_suffix(".vae"))


@pytest.mark.usefixtures("cluster", "one_thread")
def test_compress_and_go_on(
    photos: Path,
    tmp_path: Path,
    codec: Codec,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = tmp_path / "small"
    monkeypatch.chdir(tmp_path)  # the actors are elsewhere
    command = ("compress", "photos", "small", "-q", 40, "--tune", "psnr", "--batch-size", 2)
    code, out, said = call(capsys, *command)
    assert code == 1
    broken = sorted(f"vaecodec: {photos / name}: " for name in BAD)
    assert len(said) == 2
    assert all(line.startswith(start) for line, start in zip(said, broken, strict=True))
    written = files(small)
    assert written == {
        vae(name): codec.encode(photos / name, 40, tune="psnr") for name in GOOD
    }  # the same bytes as of each alone
    size = sum(map(len, written.values()))
    assert out.startswith(f"6 files written: 0.0 megapixels, {size} bytes\n")
    assert out.endswith("2 files failed\n")

    for name in GOOD:  # what is done is not even read
        (photos / name).write_bytes(b"changed")
    for name in BAD:
        (photos / name).unlink()
    code, out, said = call(capsys, *command)
    assert (code, said) == (0, [])
    assert "6 files had an output already" in out
    assert files(small) == written


@pytest.mark.usefixtures("cluster", "one_thread")
def test_decompress_what_can_be_written(
    photos: Path, tmp_path: Path, codec: Codec, capsys: pytest.CaptureFixture[str]
) -> None:
    small, back = tmp_path / "small", tmp_path / "back"
    for name in ("a.vae", "beach/b.vae"):
        (small / name).parent.mkdir(parents=True, exist_ok=True)
        (small / name).write_bytes(codec.encode(photos / GOOD[0], 50))
    (small / "cut.vae").write_bytes((small / "a.vae").read_bytes()[:-5])
    back.mkdir()
    (back / "beach").write_bytes(b"where a folder ought to be")
    code, out, said = call(capsys, "decompress", small, back, "--format", "PNG")
    assert code == 1
    assert "1 files written" in out and "2 files failed" in out
    assert len(said) == 2
    assert f"{back / 'beach'}: cannot be made" in said[0]
    assert said[1].startswith(f"vaecodec: {small / 'cut.vae'}: ")
    assert files(back).keys() == {"a.png", "beach"}
    assert np.array_equal(Image.open(back / "a.png"), codec.decode(small / "a.vae"))


@pytest.mark.usefixtures("cluster", "one_thread")
def test_in_a_pipeline_of_ones_own(photos: Path, tmp_path: Path, codec: Codec) -> None:
    class Threads(Encoder):
        """One that says how many its process has."""

        def __call__(self, batch: Any) -> Any:
            table = super().__call__(batch)
            return table.append_column("threads", pa.array([torch.get_num_threads()] * len(table)))

    found = find(photos, tmp_path / "small")
    assert len(found.paths) == 8 and found.existing == 0 and not found.refused
    assert found.root == str(photos)
    names = ["0.jpg", *BAD]
    paths = [str(photos / name) for name in names]
    inputs = ray.data.read_binary_files(
        paths, include_paths=True, filesystem=found.filesystem, num_cpus=0
    )
    encoded = inputs.map_batches(
        Threads,
        fn_constructor_kwargs={"quality": 30, "root": found.root},
        compute=ray.data.ActorPoolStrategy(size=2),  # all cores
        batch_size=2,
        num_cpus=1,
    )
    rows = {row["path"]: row for row in write(encoded, tmp_path / "small").take_all()}
    assert rows.keys() == set(paths)
    good, *bad = (rows[path] for path in paths)
    data = codec.encode(photos / "0.jpg", 30)
    assert (good["name"], good["error"], good["pixels"], good["size"]) == (
        "0.vae", None, 48 * 64, len(data),
    )  # fmt: skip
    assert files(tmp_path / "small") == {"0.vae": data}
    for row, name in zip(bad, BAD, strict=True):
        assert (row["name"], row["pixels"], row["size"]) == (vae(name), None, None)
        assert row["error"].startswith(f"{photos / name}: ")
    assert all(row["seconds"] > 0 and row["threads"] == 1 for row in rows.values())
    assert "data" not in good and "bytes" not in good


def test_two_pictures_with_one_output(photos: Path, tmp_path: Path) -> None:
    (photos / "0.png").write_bytes(b"")
    (photos / "._1.png").write_bytes(b"")
    (photos / "notes.txt").write_bytes(b"")
    (tmp_path / "small").mkdir()
    found, output = find(photos, tmp_path / "small"), tmp_path / "small" / "0.vae"
    assert found.refused == [
        f"{photos / '0.png'}: its output {output} is already that of {photos / '0.jpg'}"
    ]
    assert sorted(found.paths) == sorted(str(photos / name) for name in (*GOOD, *BAD))
    output.write_bytes(b"")
    again = find(photos, tmp_path / "small")  # 0.png does not pass for done
    assert (again.refused, again.existing) == (found.refused, 1)
    assert len(find(photos, tmp_path / "small", force=True).paths) == 8


def test_batches_of_every_format(photo: np.ndarray, codec: Codec) -> None:
    file = io.BytesIO()
    Image.fromarray(photo[:32, :48]).save(file, "png")
    columns = {
        "bytes": [file.getvalue(), b"", b""],
        "path": ["in/a.png", "in/b.png", "else/c.png"],
        "error": [None, "in/b.png: cannot be read", None],
        "label": [7, 8, 9],
    }
    table = pa.table(columns)
    arrays = {name: np.array(column, dtype=object) for name, column in columns.items()}
    encoder = Encoder(20, root="in", device="cpu")
    for batch in (table, arrays, table.to_pandas()):
        rows = encoder(batch).to_pylist()
        assert [row["label"] for row in rows] == [7, 8, 9]
        assert [row["error"] for row in rows][:2] == [None, "in/b.png: cannot be read"]
        assert rows[2]["error"].startswith("else/c.png: is not in ")
        assert vaecodec.info(rows[0]["data"]).width == 48
        assert [row["name"] for row in rows] == ["a.vae", "b.vae", None]
    whole = Encoder(20, device="cpu")(table)
    assert whole["name"].to_pylist() == ["in/a.vae", "in/b.vae", "else/c.vae"]
    decoded = Decoder("jpg", device="cpu")(
        {"bytes": [rows[0]["data"], b""], "path": ["in/a.vae", "/in/b.vae"]}
    ).to_pylist()
    assert [row["name"] for row in decoded] == ["in/a.jpg", "in/b.jpg"]
    assert Image.open(io.BytesIO(decoded[0]["data"])).format == "JPEG"
    assert decoded[1]["error"].startswith("/in/b.vae: ")
    assert as_table(table) is table


def test_what_was_half_done_is_done_again(photos: Path, tmp_path: Path) -> None:
    """As Ray does where an actor was lost: what that one wrote is no error."""
    job = Job(Encoder, {"quality": 20, "device": "cpu"}, photos, tmp_path / "small")
    batch = pa.table({"path": [str(photos / name) for name in ("0.jpg", "nonesuch.jpg")]})
    for _ in range(2):
        first, second = job(batch).to_pylist()
        assert first["error"] is None
        assert second["error"].startswith(f"{photos / 'nonesuch.jpg'}: cannot be read")
        assert files(tmp_path / "small").keys() == {"0.vae"}


def test_wrong_arguments(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(vaecodec.BadValue, match="quality"):
        Encoder(101, device="cpu")
    with pytest.raises(vaecodec.VaeError, match="no image format"):
        Decoder("nonesuch")
    for source, folder, wrong in (
        (tmp_path / "nonesuch", tmp_path / "small", "nonesuch: cannot be listed"),
        (photos, photos / GOOD[0], "cannot be listed"),
        (photos, "ftp://somewhere/small", "is no folder that can be reached"),
        ("", tmp_path / "small", "name of a folder is empty"),
    ):
        code, _, said = call(capsys, "compress", source, folder)
        assert code in (1, 2) and len(said) == 1 and wrong in said[0]
    (tmp_path / "empty").mkdir()
    code, _, said = call(capsys, "compress", tmp_path / "empty", tmp_path / "small")
    assert (code, len(said)) == (1, 1) and "holds no file to work on" in said[0]
    assert call(capsys, "compress", photos, tmp_path / "s", "--model", "none")[0] == 2
    assert call(capsys, "decompress", photos, tmp_path / "s", "--format", "none")[0] == 2


def test_links_that_lead_in_a_circle(photos: Path) -> None:
    """What they lead to is found once, as by the command line."""
    (photos / "beach" / "up").symlink_to("..")
    (photos / "dangling.jpg").symlink_to("nothing")
    expected = {str(photos / name) for name in (*GOOD, *BAD)}
    assert set(Place.of(photos).files(outputs=True)) == expected
    assert set(Place.of(photos).files()) == expected | {str(photos / "dangling.jpg")}


def test_a_place_that_is_no_folder_of_this_machine() -> None:
    """fsspec's, in memory, for an object store."""
    place = Place(PyFileSystem(FSSpecHandler(MemoryFileSystem())), "/bucket/small")
    assert list(place.files(outputs=True)) == []
    place.write("a/b.vae", b"some", force=False)
    assert place.read("/bucket/small/a/b.vae") == b"some"
    assert list(place.files()) == ["/bucket/small/a/b.vae"]
    assert str(place.inside("/bucket/small/a/b.vae")) == "a/b.vae"
    with pytest.raises(vaecodec.VaeError, match=r"b\.vae: exists already"):
        place.write("a/b.vae", b"other", force=False)
    place.write("a/b.vae", b"other", force=True)
    assert place.read("/bucket/small/a/b.vae") == b"other"
    with pytest.raises(vaecodec.VaeError, match=r"c\.vae: cannot be read"):
        place.read("/bucket/small/c.vae")
    with pytest.raises(vaecodec.VaeError, match="is not in"):
        place.inside("/bucket/smaller/a.vae")


def test_nothing_is_written_outside_the_folder(tmp_path: Path) -> None:
    place = Place.of(tmp_path / "inside")
    for name in ("../a.vae", "a/../../b.vae", str(tmp_path / "c.vae")):
        with pytest.raises(vaecodec.VaeError, match="would be written outside"):
            place.write(name, b"", force=True)
    assert not any(tmp_path.iterdir())


def test_a_name_that_is_not_utf8(photos: Path, tmp_path: Path) -> None:
    try:
        (photos / "\udcff.jpg").write_bytes(b"")
    except OSError:
        pytest.skip("this file system has no such names")
    found = find(photos, tmp_path / "small")
    assert found.refused == [f"{photos}/\\xff.jpg: the file's name is not UTF-8"]
    assert len(found.paths) == 8
