"""The page of `vaecodec serve`, and what answers it. Nothing is kept between requests: each brings its
picture along, and gets back what is shown of it.

Heavy work is done one request at a time, in a thread; MOST_WAITING requests may be under way.
"""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bitstream.chunks import SIGNATURE
from bitstream.errors import BadValue, LimitExceeded, VaeError
from vaecodec import compare, describe
from vaecodec.codec import Codec
from vaecodec.pages.assemble import Page, assemble
from vaecodec.pictures.reading import lift_limit_of_pillow, read_picture
from vaecodec.quality import DEFAULT_QUALITY, TUNES

#: The only address that is served.
ADDRESS = "127.0.0.1"
#: Requests that may bring a picture at a time.
MOST_WAITING = 4
#: Seconds between two looks at whether who asked is still there.
_LOOK = 0.2


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of what is sent: bytes of a file, pixels of a picture."""

    max_bytes: int
    max_pixels: int


class _Gone(Exception):
    """Who asked does not wait for the answer."""


def application(codec: Codec, limits: Limits, port: int) -> ASGIApp:
    """What answers at `port` of ADDRESS."""
    lift_limit_of_pillow()
    page = assemble(
        "serve",
        {
            "data": {
                "max_bytes": limits.max_bytes,
                "max_pixels": limits.max_pixels,
                "quality": DEFAULT_QUALITY,
                "tunes": TUNES,
                "peers": compare.PEERS,
            }
        },
    )
    desk = _Desk(codec, limits)
    routes = [
        Route("/", lambda _: HTMLResponse(page.html)),
        Route("/open", partial(desk.answer, _opened), methods=["POST"]),
        Route("/encode", partial(desk.answer, _encoded), methods=["POST"]),
        Route("/peer", partial(desk.answer, _peer), methods=["POST"]),
    ]
    return _Guard(Starlette(routes=routes), page, port)


class _Guard:
    """Refuses what other pages send, and tells the browser what ours may do."""

    def __init__(self, app: ASGIApp, page: Page, port: int) -> None:
        self._app = app
        self._hosts = {f"{ADDRESS}:{port}", f"localhost:{port}"}
        self._headers = {
            "Content-Security-Policy": f"{page.policy}; connect-src 'self'; frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        app: ASGIApp = self._app
        if scope["type"] == "http" and not self._is_ours(scope["method"], Headers(scope=scope)):
            app = _error(403, "requests from other pages and under other names are refused")
        await app(scope, receive, with_headers)

    def _is_ours(self, method: str, headers: Headers) -> bool:
        """A name that another site made point here is in `Host`; what a page of another site sends has
        its `Origin`, or browsers say so in `Sec-Fetch-Site`."""
        if headers.get("host") not in self._hosts:
            return False
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if origin is not None and origin.removeprefix("http://") not in self._hosts:
            return False
        return method == "GET" or site == "same-origin"


@dataclass(frozen=True, kw_only=True)
class _Work:
    """A file that was sent, and what is asked of it. `check`: raises _Gone if nobody waits."""

    data: bytes
    asked: dict[str, str]
    codec: Codec
    limits: Limits
    check: Callable[[], None]

    def number(self, name: str) -> int:
        """Raises BadValue for what is none."""
        text = self.asked.get(name, "")
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise BadValue(f"{name} must be a whole number, not {text!r}")
        return int(text)


class _Desk:
    def __init__(self, codec: Codec, limits: Limits) -> None:
        self._codec, self._limits = codec, limits
        self._waiting = 0
        self._one_at_a_time = asyncio.Lock()

    async def answer(self, task: Callable[[_Work], dict[str, object]], request: Request) -> Response:
        """What `task` makes of the body, as JSON, or what is wrong with it as one sentence, "error"."""
        if self._waiting >= MOST_WAITING:
            return _error(503, "too many requests at a time; try again when one is done")
        self._waiting += 1
        try:
            data = await _body(request, self._limits.max_bytes)
            return JSONResponse(await self._done(task, request, data))
        # Of status 200, as all that the page is told: browsers complain of others in the console.
        except VaeError as error:
            return _error(200, str(error))
        except MemoryError:
            return _error(200, "not enough memory for a picture of this size")
        except (_Gone, ClientDisconnect):
            return Response(status_code=499)  # nobody reads it
        finally:
            self._waiting -= 1

    async def _done(
        self, task: Callable[[_Work], dict[str, object]], request: Request, data: bytes
    ) -> dict[str, object]:
        gone = threading.Event()

        def check() -> None:
            if gone.is_set():
                raise _Gone

        async def watch() -> None:
            while not await request.is_disconnected():
                await asyncio.sleep(_LOOK)
            gone.set()

        work = _Work(
            data=data,
            asked=dict(request.query_params),
            codec=self._codec,
            limits=self._limits,
            check=check,
        )

        def checked() -> dict[str, object]:
            check()
            return task(work)

        watching = asyncio.create_task(watch())
        try:
            async with self._one_at_a_time:
                return await asyncio.to_thread(checked)
        finally:
            watching.cancel()
            gone.set()


async def _body(request: Request, limit: int) -> bytes:
    """Raises LimitExceeded as soon as there is more."""
    said = request.headers.get("content-length", "0")
    body = bytearray()
    if int(said) <= limit:
        async for part in request.stream():
            body += part
            if len(body) > limit:
                break
        else:
            return bytes(body)
    raise LimitExceeded(f"the file has more than {limit} bytes")


def _error(code: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status_code=code)


def _opened(work: _Work) -> dict[str, object]:
    """What a picture or a `.vae` file looks like, and what is to say of it."""
    is_vae = work.data.startswith(SIGNATURE)
    if is_vae:
        about = describe.info(work.data, max_pixels=work.limits.max_pixels)
        image = work.codec.decode(work.data, max_pixels=work.limits.max_pixels)
        seen, profile = compare.seen_of(image), image.info.get("icc_profile", b"")
        coding = "without loss" if about.lossless else f"model {about.model}, level {about.level}"
        carried = ", ".join(about.metadata)
        notices = [f"{about.bits_per_pixel:.3f} bits per pixel, {coding}."]
        notices += [f"It carries {carried}."] if carried else []
    else:
        picture = read_picture(work.data, max_pixels=work.limits.max_pixels)
        original = compare.original(picture)
        seen, profile = original.seen, original.profile
        notices = [f"Not kept: {', '.join(picture.notices)}."] if picture.notices else []
        if picture.alpha is not None:
            notices.append("What is transparent is compared over white.")
    return {
        "is_vae": is_vae,
        "width": seen.shape[1],
        "height": seen.shape[0],
        "notices": notices,
        "shown": compare.shown(seen, profile).url,
    }


def _encoded(work: _Work) -> dict[str, object]:
    """The `.vae` file of a picture, as base64, and what it looks like."""
    quality = work.number("quality")
    original = compare.original(read_picture(work.data, max_pixels=work.limits.max_pixels))
    work.check()
    own = compare.own(original, work.codec, quality=quality, tune=work.asked.get("tune"))
    return {"file": base64.b64encode(own.file).decode(), "version": own.version.as_json()}


def _peer(work: _Work) -> dict[str, object]:
    """What another codec makes of at most `size` bytes."""
    size, name = work.number("size"), work.asked.get("codec", "")
    if name not in compare.PEERS:
        raise BadValue(f"no codec is called {name!r}; there are: {', '.join(compare.PEERS)}")
    original = compare.original(read_picture(work.data, max_pixels=work.limits.max_pixels))
    return compare.peer(original, name, size, work.check).as_json()
