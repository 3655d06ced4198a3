"""The documentation site, and what its pages say that could become wrong."""

from __future__ import annotations

import ast
import functools
import http.server
import itertools
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vaecodec.data
from vaecodec.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def build(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The site of the tree at `root` in `folder`, as `make docs` builds it."""
    for name in ("material", "mkdocs_click", "mkdocstrings_handlers.python"):
        pytest.importorskip(name, reason="the docs extra is not installed")
    run = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(run, cwd=root, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_broken_link_is_an_error(tmp_path: Path) -> None:
    for name in (
        "bitstream",
        "vaecodec",
        "tools",
        "mkdocs.yml",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
    ):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(DOCS, tmp_path / "docs")
    index = tmp_path / "docs" / "index.md"
    index.write_text(index.read_text() + "\n[a](nothing.md) [b](results.md#nowhere)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "nothing.md" in done.stderr and "#nowhere" in done.stderr


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Of a server on this machine that has the site."""
    handler = functools.partial(Silent, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A page of the browser; at the end, it has asked no other host for anything, and no script that
    the server gave has failed."""
    page, complaints = browser.new_page(), []
    here = (address, "file:", "data:", "blob:")
    page.set_default_timeout(240_000)
    page.route(lambda url: not url.startswith(here), lambda route: route.abort())
    page.on("request", lambda asked: asked.url.startswith(here) or complaints.append(asked.url))
    page.on("response", lambda answer: answer.ok or complaints.append(answer.url))
    page.on("pageerror", lambda e: page.url.startswith("file:") or complaints.append(str(e)))
    yield page
    page.close()
    assert complaints == []


def test_every_page(page: Any, site: Path, address: str) -> None:
    """Nothing is missing, or from elsewhere, or wider than the screen."""
    names = sorted(path.name for path in site.glob("*.html"))
    assert {f"{path.stem}.html" for path in DOCS.glob("*.md")} <= set(names)
    for width, name in itertools.product((390, 1400), names):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(address + name, wait_until="networkidle" if width == 1400 else "load")
        assert page.locator("h1").count() == 1, name
        broken = "[...document.images].filter(image => !image.naturalWidth).map(image => image.src)"
        assert page.evaluate(broken) == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)


def test_pages_can_be_read_from_a_folder(page: Any, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    page.locator(".md-content a", has_text="Everyday tasks").first.click()
    assert page.locator("h1").text_content().startswith("Everyday tasks")


def test_search(page: Any, address: str) -> None:
    page.goto(address + "index.html")
    page.locator(".md-search__input").click()
    page.locator(".md-search__input").type("BD-rate")
    page.wait_for_selector(".md-search-result__link[href*='benchmarks.html']", state="attached")


def test_every_command_is_in_the_reference(site: Path) -> None:
    text = (site / "command-line.html").read_text()
    assert [name for name in COMMANDS if f'id="vaecodec-{name}"' not in text] == []


def test_the_python_reference_is_complete() -> None:
    listed = re.findall(r"^::: (vaecodec\.[\w.]+)$", (DOCS / "api.md").read_text(), re.M)
    data = [f"data.{name}" for name in vaecodec.data.__all__]
    # Read, not imported: ray is an extra.
    (names,) = re.findall(
        r"^__all__ = (\[.+\])$", (ROOT / "vaecodec/ray/__init__.py").read_text(), re.M
    )
    ray = [f"ray.{name}" for name in ast.literal_eval(names)]
    public = {f"vaecodec.{name}" for name in [*vaecodec.__all__, "pillow", *data, *ray]}
    assert len(listed) == len(set(listed))
    assert set(listed) == public


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in DOCS.glob("*.md"))]
)
def test_links_within_the_repository(name: str) -> None:
    """As the repository shows the files, which mkdocs does not look at."""
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", (ROOT / name).read_text())
    assert [link for link in links if not ((ROOT / name).parent / link).exists()] == []


def test_percentages_are_those_of_the_results() -> None:
    """Of what the documents for newcomers claim."""
    measured = set(re.findall(r"[0-9]+\.[0-9](?= %)", (DOCS / "results.md").read_text()))
    for path, least in ((DOCS / "when-not.md", 20), (ROOT / "README.md", 5)):
        claimed = re.findall(r"[0-9]+\.[0-9](?= %)", path.read_text())
        assert len(claimed) > least
        assert set(claimed) <= measured


def test_times_are_those_of_the_results() -> None:
    measured = dict(
        re.findall(r"^\| (\w+\[\S+\]) \| ([0-9.]+) \|", (DOCS / "results.md").read_text(), re.M)
    )
    names = {
        "vaecodec, quality 60": ("vae_encode[60-0]", "vae_decode[60]"),
        "JPEG, quality 80": ("pillow_encode[jpeg-80]", "pillow_decode[jpeg-80]"),
        "WebP, quality 80": ("pillow_encode[webp-80]", "pillow_decode[webp-80]"),
        "AVIF, quality 68, speed 4": ("pillow_encode[avif-68]", "pillow_decode[avif-68]"),
    }
    text = (DOCS / "when-not.md").read_text()
    for row, (encode, decode) in names.items():
        whole = [int(float(measured[name]) + 0.5) for name in (encode, decode)]
        assert f"| {row} | {whole[0]} | {whole[1]} |" in text
    slower = float(measured["vae_decode[60]"]) / float(measured["pillow_decode[avif-68]"])
    assert f"Decoding takes {slower:.0f} times as long as AVIF's" in text
    assert f"decoding takes {slower:.0f} times as" in (ROOT / "README.md").read_text()
