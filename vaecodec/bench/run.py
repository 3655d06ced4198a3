"""Run every image through every codec at every quality, as real files, in one or more processes."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from bitstream.errors import VaeError
from vaecodec import parallel
from vaecodec.bench import cache as caching
from vaecodec.bench import metrics as measuring
from vaecodec.bench.cache import Cache
from vaecodec.bench.codecs import BenchCodec
from vaecodec.bench.codecs.pillow import JPEG
from vaecodec.bench.results import Results, Row
from vaecodec.files import Input
from vaecodec.pictures.reading import open_image

Plan = Sequence[tuple[BenchCodec, Sequence[int]]]
Failed = Callable[[str], None]
Progress = Callable[[int, str], None]


@lru_cache(maxsize=1)
def read_samples(path: Path) -> np.ndarray:
    """Read a picture as uint8 H x W x 3. Raises BadImage."""
    return np.asarray(open_image(path).convert("RGB"))


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn errors that a codec's library may raise into a VaeError that begins with `what`."""
    try:
        yield
    except (VaeError, OSError, ValueError, RuntimeError, MemoryError) as error:
        raise VaeError(f"{what} ({error})") from error


def measure(
    name: str, image: np.ndarray, codec: BenchCodec, quality: int, metrics: Sequence[str] = ("psnr",)
) -> Row:
    """Encode `image` (uint8 H x W x 3) to the bytes of a real file, decode them, and compare.

    Raises VaeError naming the image, the codec and the cause.
    """
    with guarded(f"{name}: {codec.name} failed at quality {quality}"):
        start = time.perf_counter()
        data = codec.encode(image, quality)
        middle = time.perf_counter()
        decoded = codec.decode(data)
        end = time.perf_counter()
    if decoded.shape != image.shape:
        raise VaeError(f"{name}: {codec.name} returned a picture of another size")
    values = {metric: measuring.METRICS[metric].measure(image, decoded) for metric in metrics}
    return Row(
        image=name,
        codec=codec.name,
        quality=quality,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        width=image.shape[1],
        height=image.shape[0],
        encode_seconds=middle - start,
        decode_seconds=end - middle,
        metrics={k: v if v is not None and math.isfinite(v) else None for k, v in values.items()},
    )


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture to measure: its file, the name it goes by, and its samples' id in the cache."""

    path: Path
    name: str
    id: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """A call with `codec` for a worker; its result is stored under `key`."""

    key: str
    text: str
    codec: BenchCodec
    call: Callable[[], dict[str, Any]]


def _warm_up(codecs: Sequence[BenchCodec]) -> None:
    """Let every codec load what it needs, so that no measured time includes it."""
    for codec in codecs:
        # What fails here fails again when it is measured, and is reported then.
        with suppress(VaeError), guarded(codec.name):
            codec.decode(codec.encode(np.zeros((64, 64, 3), np.uint8), codec.qualities[0]))


def _call(task: Task) -> dict[str, Any]:
    return task.call()


def each(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, dict[str, Any] | VaeError]]:
    """Do tasks, `jobs` at once; yield each with its result or VaeError, in the order they finish."""
    codecs = list({task.codec.name: task.codec for task in tasks}.values())
    try:
        for task, result in parallel.in_processes(tasks, _call, jobs, partial(_warm_up, codecs)):
            yield task, VaeError("not enough memory") if isinstance(result, MemoryError) else result
    except parallel.Ended as error:
        kept = "with --out, what was measured is kept: run the command again"
        raise VaeError(f"{error}; {kept}") from error


def _measured(
    path: Path, name: str, codec: BenchCodec, quality: int, versions: dict[str, str]
) -> dict[str, Any]:
    row = measure(name, read_samples(path), codec, quality, tuple(versions))
    return {"versions": versions, "row": asdict(row)}


def _stored(cache: Cache, key: str, versions: dict[str, str]) -> dict[str, Any] | None:
    """The cached record, if it has all metrics in these versions."""
    stored = cache.get(key)
    if stored is None or any(stored["versions"].get(m) != version for m, version in versions.items()):
        return None
    return stored


def readable(found: Sequence[Input], failed: Failed) -> list[Source]:
    """Return those of `found` that are readable images, each once; errors of the others go to `failed`.
    If two have the same name, the second goes by its whole path."""
    pictures: dict[str, Source] = {}
    seen: set[str] = set()
    for each_input in found:
        path, real = each_input.path, os.path.realpath(each_input.path)
        if real in seen:
            continue
        seen.add(real)
        try:
            names = (path.relative_to(each_input.root), path, path.absolute())
            name = next(n for n in map(PurePath.as_posix, names) if n not in pictures)
            identity = caching.picture_id(read_samples(path))
            pictures[name] = Source(path=path, name=name, id=identity)
        except VaeError as error:
            failed(str(error))
    return list(pictures.values())


def finish(tasks: Sequence[Task], cache: Cache, jobs: int, failed: Failed, progress: Progress) -> None:
    """Do tasks and cache their results; a task that fails is reported, and the others go on."""
    for number, (task, value) in enumerate(each(tasks, jobs)):
        progress(number, task.text)
        if isinstance(value, VaeError):
            failed(str(value))
        else:
            cache.put(task.key, value)


def run(
    pictures: Sequence[Source],
    plan: Plan,
    metrics: Sequence[str] = ("psnr",),
    *,
    cache: Cache | None = None,
    jobs: int = 1,
    failed: Failed = lambda _: None,
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> Results:
    """Measure `pictures` (from `readable`) with all of `plan`; failures are reported and left out.

    `progress(done, total, text)`. With several `jobs` at once, each takes longer than alone.
    """
    cache = cache or Cache(None)
    versions = {name: measuring.METRICS[name].version for name in metrics}
    conditions = f"on {machine()}, {jobs} at once"  # of which the times are
    keys: dict[tuple[str, str, int], str] = {}
    tasks = []
    for picture in pictures:
        name = picture.name
        for codec, qualities in plan:
            for quality in qualities:
                key = caching.key(picture.id, codec, f"quality {quality} {conditions}")
                keys[name, codec.name, quality] = key
                if _stored(cache, key, versions) is None:
                    call = partial(_measured, picture.path, name, codec, quality, versions)
                    tasks.append(
                        Task(key=key, text=f"{name}, {codec.name} at {quality}", codec=codec, call=call)
                    )
    total = len(keys)
    finish(tasks, cache, jobs, failed, lambda n, text: progress(total - len(tasks) + n, total, text))
    rows = []
    for (name, codec_name, _), key in keys.items():
        if (stored := _stored(cache, key, versions)) is not None:
            values = {metric: stored["row"]["metrics"].get(metric) for metric in metrics}
            rows.append(Row(**{**stored["row"], "image": name, "codec": codec_name, "metrics": values}))
    settings = {codec.name: codec.settings for codec, _ in plan}
    return Results(machine=machine(), jobs=jobs, codecs=settings, metrics=versions, rows=rows)


def machine() -> str:
    """Describe this machine for results."""
    import torch

    return (
        f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def jpeg_bytes_at(image: np.ndarray, target: float) -> float:
    """Size of the JPEG of `image` (uint8 H x W x 3) whose PSNR is `target` dB, interpolated in log size
    between the two neighbouring qualities unless the upper one is exact; NaN if none reaches it."""

    @lru_cache
    def at(quality: int) -> Row:
        return measure("", image, JPEG, quality)

    reaching = 1 + bisect_left(range(1, 101), target, key=lambda quality: at(quality).psnr)
    if reaching == 101:
        return math.nan
    if reaching == 1 or math.isinf(at(reaching).psnr):
        return float(at(reaching).bytes)
    below, above = at(reaching - 1), at(reaching)
    share = (target - below.psnr) / (above.psnr - below.psnr)
    return float(np.exp(np.log(below.bytes) + share * np.log(above.bytes / below.bytes)))
