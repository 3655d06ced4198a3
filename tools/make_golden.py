"""Write conformance files to tests/golden: NAME-*.vae and what they decode to, in NAME.json.

    python tools/make_golden.py MODEL       files of a registered model, such as base-visual-2
    python tools/make_golden.py lossless    files without one

They are added with a model and never changed: later decoders must decode them to the same. The pictures
are synthetic, so that anyone can make them again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from vaecodec.codec import Codec
from vaecodec.pictures.reading import Picture

FOLDER = Path(__file__).parent.parent / "tests" / "golden"
LOSSLESS = "lossless"
#: How many samples of each reconstruction are recorded.
POINTS = 24
EXIF = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x01\0\0\0\0\0\0"  # orientation 1
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'


def _smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 7 + y / 11), np.cos(x * y / 900), np.sin(y / 5)], axis=2)
    return (127.5 + 100 * waves).astype(np.uint8)


def _disc(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot(y - height / 2, x - width / 2)
    return (255 * np.clip(min(height, width) / 2 - distance, 0, 1)).astype(np.uint8)


def pictures() -> dict[str, tuple[np.ndarray | Picture, int]]:
    """Label -> picture and quality."""
    smooth = _smooth(96, 130)
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3)).astype(np.uint8)
    ramp = np.linspace(0, 255, 1030).astype(np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    metadata = {"icc": profile, "exif": EXIF, "xmp": XMP}
    return {
        "one-pixel": (np.array([[[200, 30, 90]]], dtype=np.uint8), 60),
        "lowest": (smooth, 1),
        "middle": (smooth, 60),
        "highest": (smooth, 100),
        "grey-odd": (smooth[:33, :47, 0], 75),
        "noise-escapes": (noise, 100),
        "two-groups": (np.repeat(np.repeat(ramp[None, :, None], 20, axis=0), 3, axis=2), 50),
        "four-groups": (_smooth(1050, 1100), 10),
        "alpha": (np.dstack((smooth, _disc(96, 130))), 60),
        "grey-alpha": (np.dstack((smooth[:40, :, 0], _disc(40, 130))), 30),
        "metadata": (Picture(samples=smooth[:20, :30], grey=False, metadata=metadata), 60),
    }


def drawings() -> dict[str, np.ndarray]:
    """Label -> picture to be stored without loss."""
    stripes = np.where(np.arange(120)[None, :, None] // 9 % 3 == np.arange(3), 230, 20)
    stripes = np.repeat(stripes, 50, axis=0).astype(np.uint8)
    return {
        "palette": stripes,
        "gradient": _smooth(40, 60),
        "alpha": np.dstack((stripes, _disc(50, 120))),
        "grey": stripes[:, :, 0],
    }


def symbols_digest(codec: Codec, data: bytes) -> str:
    """SHA-256 of the decoded symbols: little-endian int32, rows, columns, channels."""
    return hashlib.sha256(codec.decode_symbols(data).astype("<i4").tobytes()).hexdigest()


def expectation(image: Image.Image) -> dict[str, object]:
    """Record of a reconstruction: its mode, its size, some of its samples, hashes of its metadata."""
    samples = np.asarray(image).reshape(image.height, image.width, -1)
    generator = np.random.default_rng(1)
    places = generator.integers(0, image.size, (POINTS, 2)).tolist()
    info = {key: hashlib.sha256(value).hexdigest() for key, value in sorted(image.info.items())}
    return {
        "mode": image.mode,
        "size": list(image.size),
        "samples": [[x, y, samples[y, x].tolist()] for x, y in places],
        **({"metadata_sha256": info} if info else {}),
    }


def _write(path: Path, data: bytes) -> None:
    if path.exists():
        raise SystemExit(f"{path}: conformance files are never replaced")
    path.write_bytes(data)


def main(name: str) -> None:
    about = {}
    if name == LOSSLESS:
        codec = Codec(device="cpu")
        for label, picture in drawings().items():
            path = FOLDER / f"{LOSSLESS}-{label}.vae"
            _write(path, codec.encode(picture, lossless=True))
            digest = hashlib.sha256(picture.tobytes()).hexdigest()
            image = codec.decode(path.read_bytes())
            about[path.name] = {"samples_sha256": digest, **expectation(image)}
    else:
        codec = Codec(name, "cpu")
        for label, (source, quality) in pictures().items():
            path = FOLDER / f"{codec.entry.name}-{label}.vae"
            data = codec.encode(source, quality, effort=0, lossless=False)
            _write(path, data)
            about[path.name] = {
                "symbols_sha256": symbols_digest(codec, data),
                **expectation(codec.decode(data)),
            }
    rows = [f" {json.dumps(file)}: {json.dumps(entry)}" for file, entry in about.items()]
    stem = LOSSLESS if name == LOSSLESS else codec.entry.name
    (FOLDER / f"{stem}.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1])
