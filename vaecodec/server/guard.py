"""Refuse requests from other pages, and tell the browser what ours may do."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: The only address that is served.
ADDRESS = "127.0.0.1"


class Guard:
    """Wraps an application at `port`. `policy`: the Content-Security-Policy of its page."""

    def __init__(self, app: ASGIApp, policy: str, port: int) -> None:
        self._app = app
        self._hosts = {f"{ADDRESS}:{port}", f"localhost:{port}"}
        if port == 80:  # which browsers leave out of `Host`
            self._hosts |= {ADDRESS, "localhost"}
        self._headers = {
            "Content-Security-Policy": f"{policy}; connect-src 'self'; frame-ancestors 'none'",
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
        if not self._is_ours(scope["method"], Headers(scope=scope)):
            said = "requests from other pages and under other names are refused"
            app = JSONResponse({"error": said}, status_code=403)
        await app(scope, receive, with_headers)

    def _is_ours(self, method: str, headers: Headers) -> bool:
        """Whether a request is from our page. If another site makes its name point here, `Host` has
        that name; a request from another site's page has its `Origin`, or a telling
        `Sec-Fetch-Site`."""
        if headers.get("host") not in self._hosts:
            return False
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if origin is not None and origin.removeprefix("http://") not in self._hosts:
            return False
        return method == "GET" or site == "same-origin"
