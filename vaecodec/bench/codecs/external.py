"""A codec given as two command lines: BPG, VTM, or your own.

It is described by a TOML file:

    name = "bpg"
    encode = "bpgenc -q {quality} -o {output} {input}"
    decode = "bpgdec -o {output} {input}"
    qualities = [45, 38, 31, 24, 17]     # from the worst to the best
    extension = ".bpg"                   # of the compressed file; optional
    version = "bpgenc 0.9.8, x265"       # what identifies it in results

The encoder is given a PNG file, and the decoder must write one (8 bits, RGB). No shell is involved.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bitstream.errors import VaeError
from vaecodec.sources import read_path

SECONDS = 3600  # a command that takes longer is killed


@dataclass(frozen=True, kw_only=True)
class External:
    """Times include starting the commands, and writing and reading PNG files."""

    name: str
    encode_command: str
    decode_command: str
    qualities: Sequence[int]
    version: str
    extension: str = ".bin"

    @property
    def settings(self) -> str:
        return f"{self.version}; {self.encode_command}; {self.decode_command}; {self.extension}"

    def encode(self, image: np.ndarray, quality: int) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "picture.png", Path(folder) / f"coded{self.extension}"
            Image.fromarray(image).save(source, compress_level=1)
            return self._run(self.encode_command, source, target, quality)

    def decode(self, data: bytes) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / f"coded{self.extension}", Path(folder) / "picture.png"
            source.write_bytes(data)
            self._run(self.decode_command, source, target, 0)
            try:
                return np.asarray(Image.open(target).convert("RGB"))
            except OSError as error:
                raise VaeError(f"{self.name}: the decoder wrote no image that can be read") from error

    def _run(self, command: str, source: Path, target: Path, quality: int) -> bytes:
        values = {"input": str(source), "output": str(target), "quality": str(quality)}
        words = [word.format(**values) for word in shlex.split(command)]
        try:
            done = subprocess.run(words, capture_output=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise VaeError(f"{self.name}: {words[0]} cannot be run ({error})") from error
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise VaeError(
                f"{self.name}: {words[0]} ended with code {done.returncode}"
                + (f" ({said[-1]})" if said else "")
            )
        if not target.is_file():
            raise VaeError(f"{self.name}: {words[0]} wrote no file at {{output}}")
        return target.read_bytes()


def read_external(path: Path) -> External:
    """Read a codec from a TOML file. Raises VaeError naming the file and what is wrong in it."""
    try:
        entries = tomllib.loads(read_path(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise VaeError(f"{path}: is not TOML ({error})") from error
    texts = ("name", "encode", "decode", "version", "extension")
    entries.setdefault("extension", ".bin")
    if missing := [key for key in (*texts, "qualities") if key not in entries]:
        raise VaeError(f"{path}: lacks {missing[0]!r}")
    if unknown := entries.keys() - {*texts, "qualities"}:
        raise VaeError(f"{path}: has {min(unknown)!r}, which means nothing here")
    if wrong := [key for key in texts if not isinstance(entries[key], str) or not entries[key]]:
        raise VaeError(f"{path}: {wrong[0]!r} must be a text")
    qualities = entries["qualities"]
    if not (
        isinstance(qualities, list)
        and qualities
        and all(type(q) is int for q in qualities)
        and len(set(qualities)) == len(qualities)
    ):
        raise VaeError(f"{path}: 'qualities' must be a list of different whole numbers")
    for key in ("encode", "decode"):
        try:
            words = shlex.split(entries[key])
            [word.format(input="", output="", quality="") for word in words]
        except (ValueError, KeyError, IndexError) as error:
            raise VaeError(f"{path}: {key!r} is not a command line ({error})") from error
        needed = ("{input}", "{output}") + (("{quality}",) if key == "encode" else ())
        if absent := [word for word in needed if word not in entries[key]]:
            raise VaeError(f"{path}: {key!r} lacks {absent[0]}")
    return External(
        name=entries["name"],
        encode_command=entries["encode"],
        decode_command=entries["decode"],
        qualities=tuple(qualities),
        version=entries["version"],
        extension=entries["extension"],
    )
