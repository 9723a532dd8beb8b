"""What every request and every answer must have: a page of another site reaches nothing here.

A site may let its own name point to 127.0.0.1 (DNS rebinding), or send a form to this address. Of
the first the Host header tells, of the second the Origin header.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Nothing but this server's own files; pictures and sounds also of what was dropped (blob:).
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Refuses requests that name another host or come from another page; sets `HEADERS`."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        fault = self._fault(Headers(scope=scope))
        app = self._app if fault is None else PlainTextResponse(fault, 403)
        await app(scope, receive, with_headers)

    def _fault(self, headers: Headers) -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not is_allowed(host, self._hosts):
            return "This server is not called by this name. Use the address that it has printed.\n"
        if origin is not None and urlsplit(origin).netloc != host:
            return "A page of another site may not use this server.\n"
        return None


def is_allowed(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header is one of the names, or an address, which cannot be rebound.

    >>> [is_allowed(host, frozenset({"localhost"})) for host in ("localhost:80", "[::1]:80", "a.b")]
    [True, True, False]
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True
