"""Write golden files for a model: tests/golden/NAME-*.vae and their digests in NAME.json.

    python tools/make_golden.py MODEL

Golden files are added when a model is, and never changed: later versions must decode them to the same
latents. Pictures are synthetic, so that anyone can make them again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from vaecodec.codec import Codec

FOLDER = Path(__file__).parent.parent / "tests" / "golden"


def pictures() -> dict[str, tuple[np.ndarray, int]]:
    """Name -> picture (uint8) and quality."""
    y, x = np.mgrid[0:96, 0:130]
    waves = np.stack([np.sin(x / 7 + y / 11), np.cos(x * y / 900), np.sin(y / 5)], axis=2)
    smooth = (127.5 + 100 * waves).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3)).astype(np.uint8)
    ramp = np.linspace(0, 255, 1030).astype(np.uint8)
    return {
        "one-pixel": (np.array([[[200, 30, 90]]], dtype=np.uint8), 60),
        "lowest": (smooth, 1),
        "middle": (smooth, 60),
        "highest": (smooth, 100),
        "grey-odd": (smooth[:33, :47, 0], 75),
        "noise-escapes": (noise, 100),
        "two-groups": (np.repeat(np.repeat(ramp[None, :, None], 20, axis=0), 3, axis=2), 50),
    }


def latent_digest(codec: Codec, data: bytes) -> str:
    """SHA-256 of the decoded latent: little-endian int32, rows, columns, channels."""
    return hashlib.sha256(codec.decode_latent(data).astype("<i4").tobytes()).hexdigest()


def main(model: str) -> None:
    codec = Codec(model, "cpu")
    name = codec.entry.name
    digests = {}
    for label, (picture, quality) in pictures().items():
        path = FOLDER / f"{name}-{label}.vae"
        if path.exists():
            raise SystemExit(f"{path}: golden files are never replaced")
        data = codec.encode(picture, quality, effort=0, lossless=False)
        path.write_bytes(data)
        small = np.asarray(codec.decode(data)).astype(float)
        digests[path.name] = {
            "latent_sha256": latent_digest(codec, data),
            "size": list(small.shape[1::-1]),
            "channel_means": np.round(
                small.reshape(small.shape[0] * small.shape[1], -1).mean(0), 2
            ).tolist(),
        }
    (FOLDER / f"{name}.json").write_text(json.dumps(digests, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
