"""`vaecodec serve`: its page in a real browser, and what it refuses."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

import vaecodec
from vaecodec.codec import Codec
from vaecodec.model import registry

uvicorn = pytest.importorskip("uvicorn", reason="the serve extra is not installed")

from vaecodec import compare  # noqa: E402
from vaecodec.server import jobs  # noqa: E402
from vaecodec.server.application import Limits, application  # noqa: E402

# Of Pillow, as it opens what is refused then; the command keeps it quiet.
pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
COMMAND = [sys.executable, "-m", "vaecodec"]
LIMITS = Limits(max_bytes=2**20, max_pixels=10**6)


@dataclass(frozen=True, kw_only=True)
class Site:
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ask(
        self, path: str, body: object = b"", method: str = "POST", **headers: str
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        chunked = not isinstance(body, bytes)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=named, encode_chunked=chunked)  # type: ignore[arg-type]
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, json.loads(data) if data.startswith(b"{") else data


@pytest.fixture(scope="module")
def site(codec: Codec) -> Iterator[Site]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        app = application(codec, LIMITS, port).app
        runner = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=runner.run, kwargs={"sockets": [listening]})
        thread.start()
        yield Site(port=port)
        runner.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def png(photo: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PNG")
    return file.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 400 megapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(bytes(60_001)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


# In the browser


@pytest.fixture
def page(open_page: Callable[[str], Any], site: Site) -> Any:
    return open_page(site.url)


def sizes(page: Any) -> list[int]:
    texts = page.locator("#versions td:nth-child(3)").all_text_contents()
    return [int(re.sub(r"\D", "", text)) for text in texts]


def until(page: Any, holds: Callable[[], Any], what: str) -> None:
    """Wait in Playwright, so that its events arrive meanwhile."""
    for _ in range(6000):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never: {what}")


def wait(page: Any, expression: str) -> None:
    """Until it is true. `wait_for_function` needs eval, which the page's policy forbids."""
    until(page, lambda: page.evaluate(expression), expression)


def await_all(page: Any) -> None:
    """Until every codec is there, and nothing goes on."""
    wait(page, f"versions.rows.length === {2 + len(compare.PEERS)} && $('status').textContent === ''")


def drop(page: Any, name: str, data: bytes) -> None:
    page.evaluate(
        """([name, base64]) => {
            const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], name));
            dispatchEvent(new DragEvent("dragover", {dataTransfer, cancelable: true}));
            dispatchEvent(new DragEvent("drop", {dataTransfer, cancelable: true}));
        }""",
        [name, base64.b64encode(data).decode()],
    )


def test_drop_compare_download(page: Any, png: bytes, photo: np.ndarray) -> None:
    drop(page, "holiday.png", png)
    await_all(page)
    assert page.text_content("#name") == "holiday.png"
    own, *others = sizes(page)
    assert own == len(vaecodec.encode(photo, 60))
    assert all(0 < size <= own for size in others)
    with page.expect_download() as waiting:
        page.click("#download")
    assert waiting.value.suggested_filename == "holiday.vae"
    assert Path(waiting.value.path()).read_bytes() == vaecodec.encode(photo, 60)
    for name in ("original", "vaecodec", *compare.PEERS.values()):
        page.select_option("#left", name)
        wait(page, "above.complete && above.naturalWidth === 256")
        assert page.text_content("#left-caption").startswith(name)
    page.select_option("#tune", "psnr")
    wait(page, "versions.rows[1].textContent.includes('-psnr-')")
    await_all(page)
    assert sizes(page)[0] == len(vaecodec.encode(photo, 60, tune="psnr"))


def test_keyboard(page: Any, png: bytes, photo: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png)
    choosers: list[Any] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    page.keyboard.press("Enter")
    until(page, lambda: choosers, "a file chooser")
    choosers[0].set_files(tmp_path / "a.png")
    await_all(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "quality"
    before = sizes(page)
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    assert page.text_content("#quality-value") == "40"
    wait(page, f"!versions.rows[1].textContent.includes('{before[0]:,}')")
    await_all(page)
    assert sizes(page)[0] == len(vaecodec.encode(photo, 40))
    for name in ("tune", "download", "left", "right", "zoom", "handle"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == name
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#handle", "aria-valuenow") == "52"


def test_a_vae_file_is_shown(page: Any, photo: np.ndarray) -> None:
    drop(page, "a.vae", vaecodec.encode(photo, 60))
    wait(page, "below.complete && below.naturalWidth === 256")
    about = page.text_content("#about")
    assert "256 x 192 pixels" in about and f"model {registry.find(None).name}," in about
    assert page.locator("#quality").is_hidden() and page.locator("#left").is_hidden()
    with page.expect_download() as waiting:
        page.click("#download")
    assert waiting.value.suggested_filename == "a.png"
    again = np.asarray(Image.open(waiting.value.path()))
    assert np.array_equal(again, np.asarray(vaecodec.decode(vaecodec.encode(photo, 60))))
    assert page.locator("#versions tr").count() == 0


def test_a_vae_file_s_png_keeps_what_it_has(site: Any, photo: np.ndarray) -> None:
    image, exif = Image.fromarray(np.dstack((photo, photo[:, :, 0]))), Image.Exif()
    exif[ExifTags.Base.Model] = "a camera"
    image.info["exif"] = exif.tobytes()
    vae = vaecodec.encode(image)
    said = site.ask("/open", vae)[1]
    again = Image.open(io.BytesIO(base64.b64decode(said["file"])))
    assert np.array_equal(np.asarray(again), np.asarray(vaecodec.decode(vae)))
    assert again.getexif() == exif


def test_settings_while_a_picture_is_read(page: Any, png: bytes, photo: np.ndarray) -> None:
    """They are for the picture that comes; one that cannot be read leaves the other at work."""
    drop(page, "first.png", png)
    await_all(page)
    held: list[Any] = []
    page.route("**/open?*", lambda route: held.append(route))
    drop(page, "second.png", png)
    wait(page, "$('status').textContent === 'reading'")
    page.evaluate("$('quality').value = 7; $('quality').dispatchEvent(new Event('input'))")
    page.wait_for_timeout(500)  # more than the page waits before it encodes
    assert page.text_content("#status") == "reading"
    until(page, lambda: held, "a request held")
    held.pop().continue_()
    await_all(page)
    assert page.text_content("#name") == "second.png"
    drop(page, "third.png", b"no picture")
    until(page, lambda: held, "a request held")
    held.pop().continue_()
    await_all(page)
    assert page.text_content("#error").startswith("third.png: not an image")
    assert page.text_content("#name") == "second.png" and page.locator("#download").is_visible()


def test_what_is_wrong_is_said(page: Any, png: bytes, photo: np.ndarray) -> None:
    drop(page, "good.png", png)
    await_all(page)
    vae = vaecodec.encode(photo, 60)
    for name, data, words in (
        ("text.png", b"some text", "not an image"),
        ("cut.png", png[: len(png) // 2], "cannot be read completely"),
        ("bomb.png", bomb(), "pixels, the limit is"),
        ("large.png", bytes(2**20 + 1), "1,048,577 bytes, the limit is 1,048,576"),
        ("empty.png", b"", "the file is empty"),
        ("cut.vae", vae[:-9], "are left"),
    ):
        drop(page, name, data)
        wait(page, f"$('error').textContent.startsWith('{name}: ')")
        assert words in page.text_content("#error"), name
    await_all(page)  # of what was there, which stays
    assert page.text_content("#name") == "good.png"
    drop(page, "good.png", png)
    wait(page, "$('error').textContent === ''")
    await_all(page)


# Without one


def test_what_others_send_is_refused(site: Site, png: bytes) -> None:
    own = f"http://127.0.0.1:{site.port}"
    for headers in (
        {"Origin": "http://example.com"},
        {"Origin": "null"},
        {"Origin": f"https://127.0.0.1:{site.port}"},
        {"Origin": f"http://localhost:{site.port + 1}"},
        {"Host": "example.com"},
        {"Host": f"example.com:{site.port}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ):
        status, said = site.ask("/open", png, **headers)
        assert (status, list(said)) == (403, ["error"]), headers
    for headers in ({"Host": "example.com"}, {"Origin": "http://example.com"}):
        assert site.ask("/", method="GET", **headers)[0] == 403
    status, said = site.ask("/open", png, Origin=own, Sec_Fetch_Site="same-origin")
    assert (status, said["width"]) == (200, 256)
    assert site.ask("/", method="GET", Sec_Fetch_Site="cross-site")[0] == 200  # a link


def test_headers(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port)
    connection.request("GET", "/")
    answer = connection.getresponse()
    policy = str(answer.getheader("Content-Security-Policy"))
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert answer.getheader("Cache-Control") == "no-store"
    text = answer.read().decode()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_limits(site: Site, png: bytes) -> None:
    large = bytes(LIMITS.max_bytes + 1)
    assert "more than 1048576 bytes" in site.ask("/open", large)[1]["error"]
    parts = iter([bytes(2**18)] * 5)  # of a length that is not said beforehand
    assert "more than 1048576 bytes" in site.ask("/open", parts)[1]["error"]
    for path in ("/open", "/encode?quality=60", "/peer?codec=jpeg&size=9999"):
        assert "pixels, the limit is" in site.ask(path, bomb())[1]["error"]
    large = io.BytesIO()
    Image.new("L", (1001, 1000)).save(large, "PNG")
    said = site.ask("/open", large.getvalue())[1]["error"]
    assert said == "the picture has 1001 x 1000 pixels, the limit is 1000000 pixels"
    assert site.ask("/open", png)[1]["width"] == 256


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/encode", "quality must be a whole number above 0, not"),
        ("/encode?quality=101", "from 1 to 100"),
        ("/encode?quality=-1", "a whole number"),
        ("/encode?quality=60&tune=none", "no tune is called 'none'"),
        ("/peer?codec=jxl&size=9999", "no codec is called 'jxl'"),
        ("/peer?codec=jpeg&size=x", "size must be a whole number"),
        ("/peer?codec=jpeg&size=0", "above 0"),
    ],
)
def test_what_is_asked_wrongly(site: Site, png: bytes, path: str, words: str) -> None:
    status, said = site.ask(path, png)
    assert status == 200 and words in said["error"]


def test_what_is_not_there(site: Site) -> None:
    assert site.ask("/etc/passwd", method="GET")[0] == 404
    assert site.ask("/open", method="GET")[0] == 405


def test_what_nobody_waits_for_is_given_up(
    site: Site, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place is free at once, though the work ends only where it looks; till then others wait."""
    started, look, given_up = (threading.Event() for _ in range(3))

    def endless(*arguments: Any) -> None:
        started.set()
        look.wait(600)
        try:
            arguments[3]()
        except jobs.Gone:
            given_up.set()
            raise

    def is_full() -> bool:
        """A file that is too large is refused before it waits."""
        status, said = site.ask("/open", bytes(LIMITS.max_bytes + 1))
        assert "too many requests" in said["error"] or "more than" in said["error"]
        return status == 503

    def wait_until(full: bool) -> None:
        for _ in range(6000):
            if is_full() == full:
                return
            time.sleep(0.02)
        raise AssertionError(f"never {'' if full else 'not '}full")

    monkeypatch.setattr(compare, "peer", endless)
    connections = []
    for _ in range(jobs.MOST_WAITING):
        connection = http.client.HTTPConnection("127.0.0.1", site.port)
        connection.request("POST", "/peer?codec=jpeg&size=9999", body=png)
        connections.append(connection)
    try:
        assert started.wait(600)
        wait_until(full=True)
        for connection in connections:
            connection.close()
        wait_until(full=False)
        assert not given_up.is_set()
    finally:
        look.set()
    assert given_up.wait(600)
    monkeypatch.undo()
    assert site.ask("/open", png)[1]["width"] == 256


def test_files_that_do_not_arrive(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "ARRIVAL", 0.1)
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        lines = ["POST /open HTTP/1.1", f"Host: 127.0.0.1:{site.port}", "Connection: close"]
        lines += ["Content-Length: 9", "", "a"]
        connection.sendall("\r\n".join(lines).encode())
        assert b"has not arrived in 0.1 seconds" in connection.makefile("rb").read()


def test_memory_that_is_not_there(site: Site, png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(compare, "shown", starved)
    assert "not enough memory" in site.ask("/open", png)[1]["error"]


def test_the_command(tmp_path: Path) -> None:
    command = [*COMMAND, "serve", "--port", "0", "--max-bytes", "9999", "--max-pixels", "999"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    port = int(re.search(r":(\d+)/", line)[1])  # type: ignore[index]
    busy = subprocess.run([*COMMAND, "serve", "--port", str(port)], capture_output=True, text=True)
    assert (busy.returncode, busy.stderr) == (
        2,
        f"vaecodec: port {port} cannot be served (Address already in use)\n",
    )
    served = Site(port=port)
    assert served.ask("/", method="GET")[0] == 200
    assert "more than 9999 bytes" in served.ask("/open", bytes(10_000))[1]["error"]
    assert "the limit is 999 pixels" in served.ask("/open", b"P5 100 10 255 " + bytes(1000))[1]["error"]
    if sys.platform == "linux":  # where this is another address of the same machine
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port))
    process.send_signal(signal.SIGINT)
    assert process.wait(600) == 0
    assert process.communicate()[1] == ""


def test_an_interrupt_does_not_wait_for_what_is_under_way() -> None:
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    port = int(re.search(r":(\d+)/", process.stdout.readline())[1])  # type: ignore[index]
    file = io.BytesIO()
    assert Site(port=port).ask("/", method="GET")[0] == 200  # from now on an interrupt is expected
    noise = np.random.default_rng(1).integers(0, 256, (2000, 2000, 3), np.uint8)
    Image.fromarray(noise).save(file, "BMP")
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/encode?quality=60", body=file.getvalue())
    time.sleep(1)  # under way most likely; what must hold does so in any case
    process.send_signal(signal.SIGINT)
    assert process.wait(600) == 0
    assert process.communicate()[1] == ""


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path) -> None:
    (tmp_path / "starlette.py").write_text("raise ImportError('no starlette here')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*COMMAND, "serve"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("vaecodec: serve needs the extra: pip install 'vaecodec[serve]'")
