"""Entropy coding in processes: the same files and symbols, whatever happens to a process."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import skimage.data
import torch

import vaecodec
from bitstream import container
from vaecodec import entropy_processes
from vaecodec.cli import convert
from vaecodec.cli.convert import Converted, Pair, Work
from vaecodec.codec import Codec, kept_codec
from vaecodec.model import registry
from vaecodec.model.symbols import Blocks, Stream
from vaecodec.parallel import MAX_PROCESSES, Ended

if TYPE_CHECKING:
    from conftest import Run


@pytest.fixture(scope="module")
def beside() -> Codec:
    return Codec(device="cpu", entropy_processes=2)


def free_slots(codec: Codec) -> int:
    """Once what the processes have begun is done."""
    assert codec._processes is not None
    pool = codec._processes.pool()
    assert pool is not None
    for _ in range(200):
        if pool._free.qsize() == len(pool.slots):
            break
        time.sleep(0.05)
    return pool._free.qsize()


@pytest.fixture(scope="module")
def wide() -> np.ndarray:
    """Two groups."""
    photo = skimage.data.coffee()
    return np.concatenate((photo, photo[:, ::-1]), axis=1)[:160, :1100]


def test_the_same_files_and_pictures(codec: Codec, beside: Codec, wide: np.ndarray) -> None:
    pictures = [wide, wide[:100, :200], wide[::-1].copy(), wide[:1, :1]]
    files = beside.encode_batch(pictures, 60)
    assert files == codec.encode_batch(pictures, 60)
    for one, other in zip(beside.decode_batch(files), codec.decode_batch(files), strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(other))
    assert np.array_equal(beside.decode_symbols(files[0]), codec.decode_symbols(files[0]))


class _Large:
    """Draws symbols of which few are too large for 16 bits, and keeps them."""

    def __init__(self, skip: int) -> None:
        self.blocks: Blocks = []
        self._skip = skip

    def decode(self, indices: np.ndarray) -> np.ndarray:
        symbols = np.zeros(len(indices), dtype=np.int32)
        coded = np.flatnonzero(indices >= self._skip)
        symbols[coded[::7]] = -3
        symbols[coded[:1]] = 2**17
        self.blocks.append((symbols, indices))
        return symbols


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (65, 64)])
def test_what_cannot_be_shared_is_sent(codec: Codec, beside: Codec, rows: int, columns: int) -> None:
    """Symbols that are too large, and more of them than a group has."""
    coder, processes = codec.loaded().symbols, beside.loaded().coding
    source = _Large(coder.tables.skip)
    expected = coder.read(source, 40, rows, columns)
    (data,) = processes.encode_each([source.blocks])
    assert data == coder.encode(source.blocks)
    (found,) = processes.decode_each([Stream(data=data, level=40, rows=rows, columns=columns)])
    assert torch.equal(found.latent, expected.latent) and torch.equal(found.hyper, expected.hyper)
    assert int(found.latent.max()) == 2**17


def test_damage_is_of_one_file(codec: Codec, beside: Codec, wide: np.ndarray) -> None:
    files = codec.encode_batch([wide, wide[:100, :200]], 60)
    parsed = container.parse(files[0])
    damaged = container.pack(parsed.header, [bytes(64) + parsed.streams[0], parsed.streams[1]])
    found = beside.decode_batch([files[1], damaged, files[0], damaged, damaged], on_error="return")
    assert isinstance(found[1], vaecodec.CorruptFile)
    assert str(found[1]) == "group 0: a stream holds more data than its group needs"
    assert np.array_equal(np.asarray(found[2]), np.asarray(codec.decode(files[0])))
    assert free_slots(beside) == 4  # errors that are kept hold none
    image = beside.decode(damaged, recover=True)
    assert image.info["lost"] == [(0, 0, 1024, 160)]


def test_callers_do_not_wait_for_one_another(codec: Codec, beside: Codec, wide: np.ndarray) -> None:
    """More of them than there is room for, each with more groups than one may have in hand."""
    model, data = codec.loaded(), codec.encode(wide, 20)
    header, streams = container.parse(data).header, container.parse(data).streams
    groups = [Stream(data=streams[0], level=header.level, rows=10, columns=64)] * 5
    expected = model.symbols.decode(groups[0]).latent
    coding = beside.loaded().coding

    done: list[bool] = []

    def check() -> None:
        for _ in range(2):
            found = [symbols.latent for symbols in coding.decode_each(groups)]
            done.append(len(found) == 5 and all(torch.equal(each, expected) for each in found))

    threads = [threading.Thread(target=check, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert done == [True] * 12


def test_what_nobody_takes_makes_room(beside: Codec, codec: Codec, wide: np.ndarray) -> None:
    data = codec.encode(wide, 20)
    header, streams = container.parse(data).header, container.parse(data).streams
    group = Stream(data=streams[0], level=header.level, rows=10, columns=64)
    coding = beside.loaded().coding
    for _ in range(8):
        abandoned = coding.decode_each([group] * 3)
        next(abandoned)
        abandoned.close()
    assert free_slots(beside) == 4

    def failing() -> Iterator[Stream]:
        yield group
        raise ZeroDivisionError

    for _ in range(8):
        with pytest.raises(ZeroDivisionError):
            list(coding.decode_each(failing()))
    assert free_slots(beside) == 4
    assert np.asarray(beside.decode(data)).shape == wide.shape


def test_a_process_that_is_ended(codec: Codec, wide: np.ndarray, tmp_path: Path) -> None:
    own = Codec(device="cpu", entropy_processes=1)
    data = own.encode(wide[:64, :64], 60)
    assert own._processes is not None
    pool = own._processes.pool()
    assert pool is not None
    (child,) = pool._executor._processes.values()
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    (tmp_path / "a.vae").write_bytes(data)
    with pytest.raises(Ended, match=r"^an entropy coding process was ended from outside"):
        for _ in range(100):  # it is not a file's error
            own.decode_batch([tmp_path / "a.vae"] * 3, on_error="return")
    assert np.array_equal(np.asarray(own.decode(data)), np.asarray(codec.decode(data)))


def _report(codec: Codec, data: bytes, report: Connection) -> None:
    assert codec._processes is not None
    picture = np.asarray(codec.decode(data))
    report.send((codec._processes.pool() is None, picture))


@pytest.mark.parametrize("daemon", [False, True])
def test_a_forked_process(codec: Codec, beside: Codec, wide: np.ndarray, daemon: bool) -> None:
    """Starts its own, but for daemons, such as workers that read data sets, which may not."""
    data = codec.encode(wide[:64, :64], 60)
    beside.decode(data)
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe()
    child = fork.Process(target=_report, args=(beside, data, sender), daemon=daemon)
    child.start()
    assert receiver.poll(120)
    alone, picture = receiver.recv()
    child.join()
    assert alone == daemon
    assert np.array_equal(picture, np.asarray(codec.decode(data)))


def test_a_pickled_codec_has_none(beside: Codec) -> None:
    assert pickle.loads(pickle.dumps(beside))._processes is None


@pytest.mark.parametrize("count", [-1, 62, 1.5, True, "2"])
def test_counts_that_are_none(count: object) -> None:
    with pytest.raises(vaecodec.VaeError, match="entropy_processes must be a whole number"):
        Codec(device="cpu", entropy_processes=count)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "cores", "files", "options", "expected"),
    [
        ("cuda", 5, 64, (), 5),
        ("cuda", 96, 64, (), MAX_PROCESSES),
        ("cuda", 5, 63, (), 0),
        ("cuda", 5, 64, ("--jobs", "6"), 5),
        ("cuda", 5, 64, ("--jobs", "1"), 0),
        ("cpu", 5, 64, (), 0),
    ],
)
def test_when_the_command_line_has_them(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    device: str,
    cores: int,
    files: int,
    options: tuple[str, ...],
    expected: int,
) -> None:
    """With a GPU, for many files that are left to do, in threads."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("out").mkdir()
    for number in range(files + 3):
        Path(f"in/{number:02}.png").touch()
    for number in range(3):
        Path(f"out/{number:02}.vae").touch()
    given: set[int] = set()

    def several(work: Work, pairs: list[Pair]) -> list[Converted]:
        given.add(work.entropy_processes)
        return [Converted(data=b"", pixels=1) for _ in pairs]

    monkeypatch.setattr(vaecodec.codec, "pick_device", lambda _: torch.device(device))
    monkeypatch.setattr(convert, "usable_cores", lambda: cores)
    monkeypatch.setattr("vaecodec.cli.compress._Compress.several", several)
    assert run("compress", "in", "-o", "out", "--resume", *options)[0] == 0
    assert given == {expected}


def test_no_room_for_them(monkeypatch: pytest.MonkeyPatch, codec: Codec, wide: np.ndarray) -> None:
    """What cannot be shared is done here; what ends before it begins is said."""
    own = Codec(device="cpu", entropy_processes=1)
    with monkeypatch.context() as patch:
        patch.setattr(entropy_processes, "RawArray", _no_room)
        data = own.encode(wide[:64, :64], 60)
    assert data == codec.encode(wide[:64, :64], 60)
    other = Codec(device="cpu", entropy_processes=1)
    monkeypatch.setattr(entropy_processes._Pool, "submit", _no_room)
    with pytest.raises(Ended, match=r"no entropy coding process can be started \(No space left"):
        other.decode_batch([data], on_error="return")


def test_no_thread_waits_for_processes_that_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entropy_processes._Pool, "submit", _no_room)
    pool = entropy_processes._Pool(1)
    told: list[Ended] = []

    def code() -> None:
        try:
            list(pool.each([b""], lambda item, _: pool.submit(len, item), lambda size, _: size))
        except Ended as error:
            told.append(error)

    threads = [threading.Thread(target=code, daemon=True) for _ in range(6)]  # and two slots
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(told) == 6


def _no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_threads_share_one_codec() -> None:
    """However soon they ask for it."""
    barrier, found = threading.Barrier(6), []

    def ask() -> None:
        barrier.wait()
        found.append(kept_codec(registry.find(None, "psnr").name, "cpu", 1))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(each) for each in found}) == 1
