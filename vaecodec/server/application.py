"""The page of `vaecodec serve`, and the answers to its requests. Nothing is kept between requests: each
brings its picture along and gets back what the page shows."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from bitstream.chunks import SIGNATURE
from bitstream.errors import BadValue
from vaecodec import compare, describe
from vaecodec.codec import Codec
from vaecodec.pages.assemble import assemble
from vaecodec.pictures import saving
from vaecodec.pictures.reading import read_picture
from vaecodec.quality import DEFAULT_QUALITY, LOSSY_QUALITY, TUNES
from vaecodec.server.guard import Guard
from vaecodec.server.jobs import Job, JobQueue


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Largest file, in bytes, and largest picture, in pixels, that may be sent."""

    max_bytes: int
    max_pixels: int


@dataclass(frozen=True, kw_only=True)
class Application:
    """`app`: what a server runs. `close`: called as the server ends, when nobody waits for answers any
    longer. `is_working`: whether a thread is at work."""

    app: ASGIApp
    close: Callable[[], None]
    is_working: Callable[[], bool]


def application(codec: Codec, limits: Limits, port: int) -> Application:
    """Build the application for `port` of this machine."""
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
    jobs = JobQueue(limits.max_bytes)
    routes = [Route("/", lambda _: HTMLResponse(page.html))]
    for path, task in (("/open", _opened), ("/encode", _encoded), ("/peer", _peer)):
        answer = partial(jobs.answer, partial(task, codec, limits))
        routes.append(Route(path, answer, methods=["POST"]))
    return Application(
        app=Guard(Starlette(routes=routes), page.policy, port),
        close=partial(setattr, jobs, "closing", True),
        is_working=lambda: jobs.is_working,
    )


def _opened(codec: Codec, limits: Limits, job: Job) -> dict[str, object]:
    """Show a picture or a `.vae` file, with notices; the latter also as a PNG file, in base64."""
    is_vae = job.data.startswith(SIGNATURE)
    file = b""
    if is_vae:
        about = describe.info(job.data, max_pixels=limits.max_pixels)
        image = codec.decode(job.data, max_pixels=limits.max_pixels)
        job.check()
        seen, profile = compare.seen_of(image), image.info.get("icc_profile", b"")
        coding = "without loss" if about.lossless else f"model {about.model}, level {about.level}"
        carried = ", ".join(about.metadata)
        notices = [f"{about.bits_per_pixel:.3f} bits per pixel, {coding}."]
        notices += [f"It carries {carried}."] if carried else []
        file, dropped = saving.saved(image, "PNG", LOSSY_QUALITY)
        job.check()
        notices += [f"PNG files keep no {', no '.join(dropped)}."] if dropped else []
    else:
        picture = read_picture(job.data, max_pixels=limits.max_pixels)
        original = compare.original(picture)
        seen, profile = original.seen, original.profile
        notices = [f"Not kept: {', '.join(picture.notices)}."] if picture.notices else []
        notices += compare.notices(picture)
    return {
        "is_vae": is_vae,
        "width": seen.shape[1],
        "height": seen.shape[0],
        "notices": notices,
        "shown": compare.shown(seen, profile).url,
        "file": base64.b64encode(file).decode(),
    }


def _encoded(codec: Codec, limits: Limits, job: Job) -> dict[str, object]:
    """Encode a picture: its `.vae` file, as base64, and what that looks like."""
    quality = job.number("quality")
    original = compare.original(read_picture(job.data, max_pixels=limits.max_pixels))
    job.check()
    own = compare.own(original, codec, quality=quality, tune=job.asked.get("tune"))
    return {"file": base64.b64encode(own.file).decode(), "version": own.version.as_json()}


def _peer(codec: Codec, limits: Limits, job: Job) -> dict[str, object]:
    """Encode a picture with another codec, to at most `size` bytes."""
    size, name = job.number("size"), job.asked.get("codec", "")
    if name not in compare.PEERS:
        raise BadValue(f"no codec is called {name!r}; there are: {', '.join(compare.PEERS)}")
    original = compare.original(read_picture(job.data, max_pixels=limits.max_pixels))
    return compare.peer(original, name, size, job.check).as_json()
