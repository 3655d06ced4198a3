"""The report, opened from the file system in a real browser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaecodec.bench.codecs.pillow import JPEG, WEBP
from vaecodec.bench.curves import Curve, bd_rate, read_reference
from vaecodec.bench.matched import Match, cut, match
from vaecodec.bench.report import report
from vaecodec.bench.results import Results
from vaecodec.bench.run import measure

pytest.importorskip("bjontegaard", reason="the bench extra is not installed")

PUBLISHED = Path(__file__).parents[2] / "benchmarks" / "reference" / "kodak-published.json"
IMAGES = 100
#: Names that would end a script or open a tag, were they not escaped.
HOSTILE = "</script><b>&\"'"


def published() -> dict[str, Mapping[str, Curve]]:
    return {f"{name} (published)": curves for name, curves in read_reference(PUBLISHED).items()}


@pytest.fixture(scope="module")
def html(photo: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of 100 pictures by two codecs. They are one picture under many names: what the page
    has to cope with is their number."""
    measured = [measure("", photo, codec, q, ("psnr", "psnr-y")) for codec in (JPEG, WEBP)
                for q in codec.qualities]  # fmt: skip
    names = [f"{HOSTILE}{number}.png" for number in range(IMAGES)]
    rows = [type(row)(**{**vars(row), "image": name}) for name in names for row in measured]
    matches = {codec.name: match(photo, codec, 1.0, 144) for codec in (JPEG, WEBP)}
    data = report(
        Results(
            machine="a machine",
            jobs=1,
            codecs={"jpeg": HOSTILE, "webp": ""},
            metrics={"psnr": "1", "psnr-y": "1"},
            rows=rows,
        ),
        anchor="jpeg",
        references=published(),
        interpolation="akima",
        originals=dict.fromkeys(names, cut(photo, 144)),
        matches=dict.fromkeys(names, matches),
        bpp=1.0,
    )
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_bytes(data)
    return path


def test_the_report_loads_nothing(html: Path) -> None:
    text = html.read_text()
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert text.count("</script>") == IMAGES + 2
    assert "src=" not in text


@pytest.fixture
def page(open_page: Any, html: Path) -> Any:
    return open_page(html.as_uri())


def test_curves(page: Any) -> None:
    curves = page.locator("#plot polyline")
    assert curves.count() == 2 + len(published())
    assert page.locator("#plot circle").first.locator("title").text_content().startswith("jpeg: ")
    page.select_option("#metric", "psnr-y")
    assert curves.count() == 2  # nothing published has it
    page.uncheck("#legend label:has-text('webp') >> nth=0 >> input")
    assert curves.count() == 1
    before = curves.first.get_attribute("points")
    page.uncheck("#log")
    assert curves.first.get_attribute("points") != before
    page.select_option("#curve-image", index=3)
    assert curves.count() == 1


def test_bd_rates_are_those_of_the_library(page: Any, photo: np.ndarray) -> None:
    curves = [
        [(row.bpp, row.psnr) for row in (measure("", photo, codec, q) for q in codec.qualities)]
        for codec in (JPEG, WEBP)
    ]
    expected = bd_rate(curves[0], curves[1]).percent
    cells = page.locator("#bd tr:nth-child(2) td").all_text_contents()
    assert cells == ["jpeg", "", f"{expected:+.1f} %"]


def test_side_by_side(page: Any) -> None:
    assert page.locator("#image option").count() == IMAGES
    size = "(({naturalWidth, naturalHeight}) => [naturalWidth, naturalHeight])(below)"
    page.wait_for_function(f"{size}[0] > 0")
    assert page.evaluate(size) == [144, 144]
    assert "bytes" in page.text_content("#left-caption")
    page.select_option("#image", index=7)
    page.select_option("#right", "original")
    assert page.text_content("#right-caption") == "original"
    page.focus("#handle")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#handle", "aria-valuenow") == "52"
    box = page.locator("#slider").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 5)
    page.mouse.up()
    assert abs(int(page.get_attribute("#handle", "aria-valuenow")) - 25) <= 1


def test_rows(page: Any) -> None:
    rows = page.locator("#rows tr")
    assert page.text_content("#rows tr:last-child").endswith("more: choose an image or a codec")
    page.select_option("#row-image", index=1)
    assert rows.count() == 1 + len(JPEG.qualities) + len(WEBP.qualities)
    page.click("#rows th:has-text('bytes')")
    page.click("#rows th:has-text('bytes')")
    sizes = [int(text) for text in page.locator("#rows td:nth-child(4)").all_text_contents()]
    assert sizes == sorted(sizes, reverse=True)
    assert page.locator("#rows td").first.text_content().startswith(HOSTILE)
    page.keyboard.press("Enter")  # the heading that was clicked has the focus
    assert page.get_attribute("#rows th:has-text('bytes')", "aria-sort") == "ascending"
    sizes = [int(text) for text in page.locator("#rows td:nth-child(4)").all_text_contents()]
    assert sizes == sorted(sizes)


def test_a_report_without_pictures(open_page: Any, photo: np.ndarray, tmp_path: Path) -> None:
    rows = [measure("a.png", photo[:64, :64], JPEG, q) for q in (20, 50)]
    matches: dict[str, dict[str, Match]] = {}
    data = report(
        Results(machine="a machine", jobs=1, codecs={"jpeg": ""}, metrics={"psnr": "1"}, rows=rows),
        anchor="jpeg", references={}, interpolation="akima", originals={}, matches=matches, bpp=0,
    )  # fmt: skip
    (tmp_path / "report.html").write_bytes(data)
    page = open_page((tmp_path / "report.html").as_uri())
    assert page.locator("#compare").count() == 0
    assert page.locator("#plot polyline").count() == 1
