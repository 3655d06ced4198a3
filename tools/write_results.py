"""Write docs/results.md from the committed figures in benchmarks/results/.

python tools/write_results.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vaecodec.bench.metrics import bd_rate

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "benchmarks" / "results"


def kodak(figures: dict[str, Any]) -> list[str]:
    """Rate and distortion of every codec in a `vaecodec bench --json` file."""
    ours = [name for name in figures["codecs"] if name.startswith("vae")]
    vae = min(ours, key=len)  # other efforts than the default are part of the name
    rows = [row for row in figures["rows"] if row["codec"] == vae]
    images = {row["image"] for row in rows}
    rising = all(
        a["psnr"] < b["psnr"]
        for image in images
        for a, b in zip(_of(rows, image), _of(rows, image)[1:], strict=False)
    )
    name = vae.removeprefix("vae ").partition(" effort")[0]
    card = json.loads((ROOT / "vaecodec" / "weights" / f"{name}.json").read_text())
    hardware = sorted({stage.get("cpu", stage["hardware"]) for stage in card["stages"]})
    lines = [
        f"## {name} on Kodak, {len(images)} images",
        "",
        f"Trained for {card['minutes']:.0f} minutes, {card['steps']} steps, on {'; '.join(hardware)}.",
        f"Real files, RGB PSNR, means of per-image values, measured on {figures['machine']}.",
        f"PSNR rises with quality on {'every image' if rising else 'NOT every image'}.",
        "",
        "    vaecodec bench KODAK --codecs vae,jpeg,webp,avif --efforts 0,4 --ms-ssim --json FILE",
        "",
        f"BD-rate at equal PSNR (Akima): each curve against JPEG, and {name} against each curve.",
        "",
        f"| curve | against JPEG | {name} against it |",
        "|---|---:|---:|",
    ]
    curves = figures["curves"]
    for other, curve in {**curves, **_published()}.items():
        own = "" if other == vae else f"{bd_rate(curve, curves[vae]):+.1f} %"
        lines.append(f"| {other} | {bd_rate(curves['jpeg'], curve):+.1f} % | {own} |")
    lines.append("")
    for codec, settings in figures["codecs"].items():
        own_rows = [row for row in figures["rows"] if row["codec"] == codec]
        lines += [f"### {codec}" if codec in ours else f"### {codec} ({name})", "", settings, ""]
        lines += ["| quality | bpp | PSNR dB | MS-SSIM | encode MP/s | decode MP/s |"]
        lines += ["|---:|---:|---:|---:|---:|---:|"]
        for quality in sorted({row["quality"] for row in own_rows}):
            at = [row for row in own_rows if row["quality"] == quality]
            megapixels = sum(8 * row["bytes"] / row["bpp"] for row in at) / 1e6
            lines.append(
                f"| {quality} | {_mean(at, 'bpp'):.4f} | {_mean(at, 'psnr'):.3f} "
                f"| {_mean(at, 'ms_ssim'):.5f} | {megapixels / _sum(at, 'encode_seconds'):.2f} "
                f"| {megapixels / _sum(at, 'decode_seconds'):.2f} |"
            )
        lines.append("")
    return lines


def _published() -> dict[str, list[tuple[float, float]]]:
    """Curves published by the CompressAI project, from its repository (BSD-3-Clause-Clear)."""
    path = ROOT / "benchmarks" / "reference" / "kodak-published.json"
    curves = json.loads(path.read_text())["curves"]
    return {
        f"{name} (published)": [(p["bpp"], p["psnr"]) for p in points]
        for name, points in curves.items()
        if name != "jpeg"
    }


def _sum(rows: list[dict[str, Any]], key: str) -> float:
    return sum(row[key] for row in rows)


def _mean(rows: list[dict[str, Any]], key: str) -> float:
    return _sum(rows, key) / len(rows)


def _of(rows: list[dict[str, Any]], image: str) -> list[dict[str, Any]]:
    return sorted((r for r in rows if r["image"] == image), key=lambda r: r["quality"])


def graphics(figures: dict[str, Any], name: str) -> list[str]:
    """A `tools/graphics.py` file: dB beyond JPEG at equal size, per picture and quality."""
    rows = figures["rows"]
    qualities = sorted({row["quality"] for row in rows})
    lines = [
        f"## Drawings and text ({name})",
        "",
        figures["model"],
        "",
        "PSNR minus that of a JPEG (4:2:0) of the same size, in dB, per quality; in brackets our PSNR.",
        '"smaller": no JPEG is as small. "exact": stored without loss, at no more bytes than with it.',
        "",
        "    python tools/graphics.py MODEL",
        "",
        "| | " + " | ".join(str(q) for q in qualities) + " |",
        "|---|" + "---:|" * len(qualities),
    ]
    for image in dict.fromkeys(row["image"] for row in rows):
        cells = [
            "exact"
            if row["psnr"] is None
            else f"{row['psnr'] - row['jpeg']:+.1f} ({row['psnr']:.1f})"
            if row["jpeg"]
            else "smaller"
            for row in _of(rows, image)
        ]
        lines.append(f"| {image.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return [*lines, ""]


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
        "mbt2018-mean (random weights) takes for the same in the same run, as a multiple. In brackets",
        "the quality and, for encoding, the effort.",
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


def large(figures: dict[str, Any]) -> list[str]:
    """A `tools/large_pictures.py` file."""
    cost = figures["groups"]
    share = (cost["bytes_apart"] - cost["bytes_together"]) / cost["file_bytes"]
    lines = [
        f"## Large pictures ({figures['model']})",
        "",
        f"Measured on {figures['machine']}. Memory: the peak of a process beyond what it had with the",
        "model loaded, the picture itself included (Pillow keeps four bytes a pixel).",
        "",
        "    python tools/large_pictures.py MODEL FILE",
        "",
        "| megapixels | | seconds | memory GiB | of which samples GiB |",
        "|---:|---|---:|---:|---:|",
    ]
    for row in figures["rows"]:
        lines.append(
            f"| {row['megapixels']:.0f} | {row['what']} | {row['seconds']:.1f} | {row['gib']:.2f} "
            f"| {row['pixels_gib']:.2f} |"
        )
    lines += [
        "",
        f"Coding 24 megapixels in {cost['groups']} independent groups costs {share:+.2%} of the file",
        "against one group.",
        *([figures["note"]] if "note" in figures else []),
        "",
    ]
    return lines


def fuzz(figures: dict[str, Any]) -> list[str]:
    """A `tools/fuzz/many.py` file."""
    return [
        "## Damaged and hostile files",
        "",
        f"{figures['count']} mutations of {figures['files']} files, seed {figures['seed']}: "
        f"{figures['failures']} crashed, hung or raised anything but a `VaeError`.",
        f"The slowest took {figures['slowest_seconds']:.2f} s of processor time; resident memory grew",
        f"by {figures['memory_growth_mib']} MiB over all of them.",
        "",
        "    python tools/fuzz/many.py",
        "",
        "| came of it | files |",
        "|---|---:|",
        *(f"| {name} | {count} |" for name, count in figures["outcomes"].items()),
        "",
    ]


def main() -> None:
    lines = [
        "# Results",
        "",
        "Written by `python tools/write_results.py` from `benchmarks/results/`.",
        "",
    ]
    for path in sorted(FOLDER.glob("kodak*.json")):
        lines += kodak(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("graphics*.json")):
        lines += graphics(json.loads(path.read_text()), path.stem.removeprefix("graphics-"))
    for path in sorted(FOLDER.glob("speed*.json")):
        lines += speed(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("large*.json")):
        lines += large(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("fuzz*.json")):
        lines += fuzz(json.loads(path.read_text()))
    (ROOT / "docs" / "results.md").write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
