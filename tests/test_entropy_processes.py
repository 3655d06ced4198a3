"""Entropy coding in processes: the same files and symbols, whatever happens to a process."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import numpy as np
import pytest
import skimage.data
import torch

import vaecodec
from bitstream import container
from vaecodec.cli import convert
from vaecodec.cli.convert import Manner
from vaecodec.codec import Codec
from vaecodec.model.symbols import Blocks, Stream
from vaecodec.parallel import Ended


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

    def work(_: int) -> list[torch.Tensor]:
        return [symbols.latent for symbols in coding.decode_each(groups)]

    with ThreadPoolExecutor(6) as threads:
        for found in threads.map(work, range(12)):
            assert len(found) == 5 and all(torch.equal(each, expected) for each in found)


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


def test_a_process_that_is_ended(codec: Codec, wide: np.ndarray) -> None:
    own = Codec(device="cpu", entropy_processes=1)
    data = own.encode(wide[:64, :64], 60)
    assert own._processes is not None
    pool = own._processes.pool()
    assert pool is not None
    (child,) = pool._executor._processes.values()
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    with pytest.raises(Ended, match="an entropy coding process was ended from outside"):
        for _ in range(100):
            own.decode_batch([data] * 3, on_error="return")  # it is not a file's error
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


def test_when_the_command_line_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a GPU, many files, and threads."""
    manner = Manner(
        force=False,
        resume=False,
        quiet=False,
        as_json=False,
        report=None,
        keep_times=False,
        jobs=None,
    )
    assert convert.entropy_processes("cpu", 1000, manner) == 0
    monkeypatch.setattr(vaecodec.codec, "pick_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(convert, "usable_cores", lambda: 5)
    assert convert.entropy_processes("auto", 64, manner) == 5
    assert convert.entropy_processes("auto", 63, manner) == 0
    assert convert.entropy_processes("auto", 64, dataclasses.replace(manner, jobs=6)) == 5
    assert convert.entropy_processes("auto", 64, dataclasses.replace(manner, jobs=7)) == 0
