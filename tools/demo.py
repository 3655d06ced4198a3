"""Compress photographs, decompress them, and print a table against JPEG at equal PSNR.

    python tools/demo.py [IMAGE...] [-q QUALITY]

Without arguments: two photographs that scikit-image bundles. Results go to demo-out/.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from bitstream.errors import VaeError
from vaecodec.bench.codecs.vae import Vae
from vaecodec.bench.run import jpeg_bytes_at, measure
from vaecodec.files import write_whole
from vaecodec.pictures.reading import open_image

OUT = Path("demo-out")


def bundled() -> list[Path]:
    """Photographs in scikit-image's package data."""
    import skimage

    return [Path(skimage.__file__).parent / "data" / name for name in ("astronaut.png", "coffee.png")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("images", nargs="*", type=Path)
    parser.add_argument("-q", "--quality", type=int, nargs="+", default=[30, 60, 90])
    arguments = parser.parse_args()

    codec = Vae(tune="psnr", lossless=None)  # files are compared at equal PSNR
    OUT.mkdir(exist_ok=True)
    table = Table(title=f"{codec.name} (tune psnr); files in {OUT}/")
    for column in ("file", "quality", "JPEG bytes", ".vae bytes", "saved", "bpp", "PSNR dB",
                   "encode s", "decode s"):  # fmt: skip
        table.add_column(column, justify="left" if column == "file" else "right")
    failures = 0
    for path in arguments.images or bundled():
        try:
            picture = open_image(path).convert("RGB")
            image = np.asarray(picture)
            codec.decode(codec.encode(image, 60))  # warm up: times are for a loaded codec
            for quality in arguments.quality:
                row = measure(path.name, image, codec, quality)
                target = OUT / f"{path.stem}-q{quality}.vae"
                data = codec.encode(image, quality)
                write_whole(target, data, force=True)
                Image.fromarray(codec.decode(data)).save(target.with_suffix(".png"))
                jpeg = jpeg_bytes_at(image, row.psnr)
                saved = "-" if np.isnan(jpeg) else f"{100 * (1 - row.bytes / jpeg):.0f} %"
                size = "out of reach" if np.isnan(jpeg) else f"{jpeg:.0f}"
                table.add_row(path.name, str(quality), size, str(row.bytes), saved,
                              f"{row.bpp:.3f}", f"{row.psnr:.2f}", f"{row.encode_seconds:.2f}",
                              f"{row.decode_seconds:.2f}")  # fmt: skip
        except VaeError as error:
            failures += 1
            print(f"demo: {error}", file=sys.stderr)
    if not table.row_count:
        return 1
    console = Console()
    console.width = max(console.width, 110)  # better wrapped by the terminal than cut off
    console.print(table)
    print("JPEG: Pillow, 4:2:0, optimised, progressive, at the PSNR of the .vae file.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
