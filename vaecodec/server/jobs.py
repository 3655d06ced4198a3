"""Receive a file, have a thread work on it, and send back the result.

Requests are worked on one at a time; MOST_WAITING may be under way. One that nobody waits for any more
gives up its place at once, and its work ends at its next check.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from bitstream.errors import BadValue, LimitExceeded, VaeError
from vaecodec.parallel import let_go

#: Requests that may be under way at a time.
MOST_WAITING = 4
#: Seconds in which a file has to arrive.
ARRIVAL = 60
#: Seconds between two checks that the client is still there.
_LOOK = 0.2


class Gone(Exception):
    """The client no longer waits for the answer."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A file that was sent, and what is asked about it. `check`: raises Gone if nobody waits."""

    data: bytes
    asked: dict[str, str]
    check: Callable[[], None]

    def number(self, name: str) -> int:
        """Read a whole number. Raises BadValue if it is none, or not above 0."""
        text = self.asked.get(name, "")
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
            raise BadValue(f"{name} must be a whole number above 0, not {text!r}")
        return int(text)


Task = Callable[[Job], dict[str, object]]


class JobQueue:
    """`max_bytes`: of a file. `closing`: set as the server ends, when nobody waits any longer."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._waiting = 0
        self._turn = asyncio.Lock()
        self.closing = False

    @property
    def is_working(self) -> bool:
        """Whether a thread is at work, even if nobody waits for it."""
        return self._turn.locked()

    async def answer(self, task: Task, request: Request) -> Response:
        """Answer, as JSON, with what `task` makes of the body, or with a sentence as "error"."""
        if self._waiting >= MOST_WAITING:
            return _error(503, "too many requests at a time; try again when one is done")
        self._waiting += 1
        try:
            data = await self._body(request)
            return JSONResponse(await self._done(task, request, data))
        # Status 200, as for results: browsers log other statuses as errors in the console.
        except VaeError as error:
            return _error(200, str(error))
        except MemoryError:
            return _error(200, "not enough memory for a picture of this size")
        except (Gone, ClientDisconnect):
            return Response(status_code=499)  # nobody reads it
        finally:
            self._waiting -= 1

    async def _body(self, request: Request) -> bytes:
        """Read the body. Raises LimitExceeded as soon as it is too large or has taken too long."""
        said = request.headers.get("content-length", "0")
        body = bytearray()
        try:
            async with asyncio.timeout(ARRIVAL):
                if int(said) <= self._max_bytes:
                    async for part in request.stream():
                        body += part
                        if len(body) > self._max_bytes:
                            break
                    else:
                        return bytes(body)
        except TimeoutError:
            raise LimitExceeded(f"the file has not arrived in {ARRIVAL} seconds") from None
        raise LimitExceeded(f"the file has more than {self._max_bytes} bytes")

    async def _done(self, task: Task, request: Request, data: bytes) -> dict[str, object]:
        gone = threading.Event()

        def check() -> None:
            if gone.is_set():
                raise Gone

        async def watch() -> None:
            while not (self.closing or await request.is_disconnected()):
                await asyncio.sleep(_LOOK)

        job = Job(data=data, asked=dict(request.query_params), check=check)
        watching = asyncio.create_task(watch())
        working = asyncio.create_task(self._in_turn(partial(task, job)))
        try:
            await asyncio.wait({watching, working}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise Gone
            return working.result()
        finally:
            gone.set()
            watching.cancel()
            working.cancel()

    async def _in_turn(self, work: Callable[[], dict[str, object]]) -> dict[str, object]:
        """Do `work` in its turn, which ends with the work, even if nobody waits for it any more."""
        await self._turn.acquire()
        future = _in_thread(work)
        future.add_done_callback(lambda _: self._turn.release())
        return await asyncio.shield(future)


def _in_thread(work: Callable[[], dict[str, object]]) -> asyncio.Future[dict[str, object]]:
    """Do `work` in a thread that the process does not wait for when it ends."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[dict[str, object]] = loop.create_future()

    def run() -> None:
        try:
            outcome = partial(future.set_result, work())
        except Exception as error:  # raised where the result is awaited
            let_go(error)
            outcome = partial(future.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(outcome)
        del outcome  # which an error's traceback would keep, and with it the picture

    future.add_done_callback(lambda done: done.exception())  # no warning if nobody else asks for it
    threading.Thread(target=run, daemon=True).start()
    return future


def _error(code: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status_code=code)
