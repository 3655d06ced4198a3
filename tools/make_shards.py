"""Turn a folder of photographs into training shards.

    python tools/make_shards.py FOLDER OUT [--licences FILE.csv | --licence TEXT] [--apart FOLDER]

Every picture is decoded, turned upright, converted to sRGB, and shrunk: by at least 2 if the source is
lossy (JPEG and the like), so that no traces of compression are learned, and until its longer side is at
most --longest. Near-duplicates of pictures already taken, or of any in --apart (evaluation pictures),
are left out. OUT gets shard-00.tar, shard-01.tar, ... of lossless WebP files, each a random mix, and
MANIFEST.csv. The same input gives the same bytes.

The licences file has the columns file (relative to FOLDER), author, licence.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import sys
import tarfile
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps
from rich.progress import track

from bitstream.errors import BadImage, VaeError
from vaecodec.cores import usable_cores
from vaecodec.files import expand, write_whole
from vaecodec.parallel import FAILURES, in_threads
from vaecodec.pictures.reading import open_image, set_limit_of_pillow
from vaecodec.train.data import EXTENSIONS

THUMBNAIL = 16
#: Thumbnails that correlate more than this are taken for the same picture.
DUPLICATE = 0.97
LOSSY = {"JPEG", "MPO", "WEBP", "AVIF"}


@dataclass(kw_only=True)
class Entry:
    """A row of the manifest."""

    name: str
    shard: str
    width: int
    height: int
    source: str
    shrunk_by: float
    author: str
    licence: str


@dataclass(kw_only=True)
class Picture:
    """A picture for a shard: its WebP file, its size, and its thumbnail as a unit vector."""

    data: bytes
    width: int
    height: int
    shrunk_by: float
    thumbnail: np.ndarray


def upright_srgb(path: Path) -> tuple[Image.Image, bool]:
    """Read a picture as sRGB, upright; also return whether its file is lossy. Raises BadImage."""
    image = open_image(path)
    lossy, profile = image.format in LOSSY, image.info.get("icc_profile")
    upright = ImageOps.exif_transpose(image)
    if upright.mode not in ("RGB", "L", "CMYK"):
        upright = upright.convert("L" if upright.mode == "LA" else "RGB")
    if not profile:
        return upright.convert("RGB"), lossy
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(upright, source, target, outputMode="RGB")
    except (OSError, ImageCms.PyCMSError) as error:
        raise BadImage(f"{path}: its colour profile cannot be used ({error})") from error
    assert converted is not None
    return converted, lossy


def thumbnail(image: Image.Image) -> np.ndarray:
    """Grey thumbnail as a unit vector of zero mean: the product of two is their correlation."""
    grey = image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    vector = np.asarray(grey, dtype=np.float32).reshape(-1)
    vector = vector - vector.mean()
    return vector / max(float(np.linalg.norm(vector)), 1.0)


def prepare(path: Path, longest: int, smallest: int) -> Picture | str:
    """Return the picture as it goes into a shard, or why it does not."""
    try:
        image, lossy = upright_srgb(path)
    except VaeError as error:
        return str(error)
    factor = max(2.0 if lossy else 1.0, max(image.size) / longest)
    if factor > 1:
        size = (round(image.width / factor), round(image.height / factor))
        if min(size) >= 1:
            image = image.resize(size, Image.Resampling.LANCZOS)
    if min(image.size) < smallest:
        return f"{path}: {image.width} x {image.height} after shrinking is below --smallest {smallest}"
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True, method=4)
    return Picture(
        data=file.getvalue(),
        width=image.width,
        height=image.height,
        shrunk_by=round(factor, 3),
        thumbnail=thumbnail(image),
    )


class Seen:
    """Thumbnails of pictures already taken."""

    def __init__(self) -> None:
        self._vectors = np.empty((0, THUMBNAIL**2), dtype=np.float32)

    def holds(self, vector: np.ndarray) -> bool:
        """Whether a picture like this one, mirrored or not, was added."""
        mirrored = vector.reshape(THUMBNAIL, THUMBNAIL)[:, ::-1].reshape(-1)
        return any(
            float(values.max(initial=-1)) > DUPLICATE
            for values in (self._vectors @ vector, self._vectors @ mirrored)
        )

    def add(self, vector: np.ndarray) -> None:
        self._vectors = np.concatenate((self._vectors, vector[None]))


def read_licences(path: Path | None) -> dict[str, tuple[str, str]]:
    """Read the licences file: file -> (author, licence)."""
    if path is None:
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["file"]: (row["author"], row["licence"]) for row in csv.DictReader(file)}
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise VaeError(f"{path}: not a table with columns file, author, licence ({error!r})") from error


class Shards:
    """Writes tar files of at most `megabytes` (or one picture) each to `out`, in order."""

    def __init__(self, out: Path, megabytes: float) -> None:
        self._out = out
        self._limit = megabytes * 1e6
        self._pending: list[tuple[Entry, bytes]] = []
        self.entries: list[Entry] = []
        self.count = 0

    def add(self, entry: Entry, data: bytes) -> None:
        if sum(len(d) for _, d in self._pending) + len(data) > self._limit:
            self.flush()
        entry.shard = f"shard-{self.count:02}.tar"
        self._pending.append((entry, data))
        self.entries.append(entry)

    def flush(self) -> None:
        """Write what is pending as a shard."""
        if not self._pending:
            return
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for entry, data in self._pending:
                member = tarfile.TarInfo(entry.name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        write_whole(self._out / f"shard-{self.count:02}.tar", buffer.getvalue())
        self._pending = []
        self.count += 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--licences", type=Path, help="table of authors and licences")
    parser.add_argument("--licence", default="unknown", help="for pictures not in the table")
    parser.add_argument("--apart", type=Path, help="pictures to keep out, for evaluation")
    parser.add_argument("--longest", type=int, default=2048)
    parser.add_argument("--smallest", type=int, default=256)
    parser.add_argument("--shard-megabytes", type=float, default=48)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        return make(arguments)
    except VaeError as error:
        print(f"make_shards: {error}", file=sys.stderr)
        return 2


def make(arguments: argparse.Namespace) -> int:
    """Run with parsed arguments; exit code. Raises VaeError."""
    set_limit_of_pillow()
    folder, out = arguments.folder, arguments.out
    paths = [found.path for found in expand([str(folder)], EXTENSIONS)]
    if not folder.is_dir() or not paths:
        raise VaeError(f"{folder}: not a folder that holds pictures")
    if out.exists() and any(out.iterdir()):
        raise VaeError(f"{out}: not empty; choose another folder")
    licences = read_licences(arguments.licences)
    seen, skipped = Seen(), []
    if arguments.apart is not None:
        for found in expand([str(arguments.apart)], EXTENSIONS):
            seen.add(thumbnail(upright_srgb(found.path)[0]))
    out.mkdir(parents=True, exist_ok=True)
    shards = Shards(out, arguments.shard_megabytes)

    def key(path: Path) -> bytes:
        name = path.relative_to(folder).as_posix()
        return hashlib.sha256(f"{arguments.seed} {name}".encode()).digest()

    paths.sort(key=key)
    work = partial(prepare, longest=arguments.longest, smallest=arguments.smallest)
    done = in_threads(paths, work, usable_cores(), in_order=True)
    for path, picture in track(done, "pictures", len(paths), disable=not sys.stderr.isatty()):
        if isinstance(picture, FAILURES):
            raise picture
        if isinstance(picture, str):
            skipped.append(picture)
            continue
        if seen.holds(picture.thumbnail):
            skipped.append(f"{path}: nearly the same as another picture")
            continue
        seen.add(picture.thumbnail)
        source = path.relative_to(folder).as_posix()
        author, licence = licences.get(source, ("", arguments.licence))
        entry = Entry(
            name=f"{len(shards.entries):05}.webp",
            shard="",
            width=picture.width,
            height=picture.height,
            source=source,
            shrunk_by=picture.shrunk_by,
            author=author,
            licence=licence,
        )
        shards.add(entry, picture.data)
    shards.flush()
    for reason in skipped:
        print(f"left out: {reason}", file=sys.stderr)
    if not shards.entries:
        raise VaeError(f"{folder}: none of its {len(paths)} pictures can be used")
    table = io.StringIO()
    writer = csv.DictWriter(table, [f.name for f in fields(Entry)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(entry) for entry in shards.entries)
    write_whole(out / "MANIFEST.csv", table.getvalue().encode())
    print(f"{out}: {len(shards.entries)} of {len(paths)} pictures in {shards.count} shards")
    return 0


if __name__ == "__main__":
    sys.exit(main())
