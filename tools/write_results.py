"""Write docs/results.md from the committed figures in benchmarks/results/.

python tools/write_results.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "benchmarks" / "results"


def kodak(figures: dict[str, Any]) -> list[str]:
    """Rate and distortion of every codec in a `vaecodec bench --json` file."""
    vae = next(name for name in figures["codecs"] if name.startswith("vae"))
    rows = [row for row in figures["rows"] if row["codec"] == vae]
    images = {row["image"] for row in rows}
    rising = all(
        a["psnr"] < b["psnr"]
        for image in images
        for a, b in zip(_of(rows, image), _of(rows, image)[1:], strict=False)
    )
    lines = [
        f"## Kodak, {len(images)} images",
        "",
        f"Real files, RGB PSNR, means of per-image values. Machine: {figures['machine']}.",
        "",
        f"**BD-rate of {vae} against JPEG: {figures['bd_rate_percent']:.1f} %.**",
        f"PSNR rises with quality on {'every image' if rising else 'NOT every image'}.",
        "",
        "    vaecodec bench KODAK --json benchmarks/results/kodak.json",
        "",
    ]
    for name, settings in figures["codecs"].items():
        qualities = sorted({row["quality"] for row in figures["rows"] if row["codec"] == name})
        lines += [f"### {name}", "", settings, "", "| quality | bpp | PSNR dB |", "|---:|---:|---:|"]
        lines += [
            f"| {quality} | {bpp:.4f} | {db:.3f} |"
            for quality, (bpp, db) in zip(qualities, figures["curves"][name], strict=True)
        ]
        lines.append("")
    return lines


def _of(rows: list[dict[str, Any]], image: str) -> list[dict[str, Any]]:
    return sorted((r for r in rows if r["image"] == image), key=lambda r: r["quality"])


def speed(figures: dict[str, Any]) -> list[str]:
    """Medians of a pytest-benchmark file, in megapixels per second and against CompressAI."""
    medians = {b["name"].removeprefix("test_"): b["stats"]["median"] for b in figures["benchmarks"]}
    cpu = figures["machine_info"]["cpu"]
    megapixels = 768 * 512 / 1e6
    lines = [
        "## Speed",
        "",
        "768 x 512 picture, after warm-up, everything included;",
        f"{cpu['brand_raw']}, {cpu['count']} cores, no GPU. The last column: the time CompressAI's",
        "mbt2018-mean (random weights) takes for the same in the same run, as a multiple.",
        "",
        "    make bench              # medians; benchmarks/results/ keeps those of the committed run",
        "",
        "| | ms | MP/s | mbt2018-mean takes |",
        "|---|---:|---:|---:|",
    ]
    for name, median in medians.items():
        peer = medians.get(f"compressai_{'encode' if 'encode' in name else 'decode'}")
        ratio = f"{peer / median:.1f} x" if peer and name.startswith("vae_") else ""
        lines.append(f"| {name} | {1000 * median:.1f} | {megapixels / median:.2f} | {ratio} |")
    return [*lines, ""]


def main() -> None:
    lines = [
        "# Results",
        "",
        "Written by `python tools/write_results.py` from `benchmarks/results/`.",
        "",
    ]
    for path in sorted(FOLDER.glob("kodak*.json")):
        lines += kodak(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("speed*.json")):
        lines += speed(json.loads(path.read_text()))
    (ROOT / "docs" / "results.md").write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
