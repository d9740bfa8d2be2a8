"""A local HTTP server that plays a source's API, well or badly: one fault per request, from a script."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HTTP_FAULTS = (
    "429", "429-seconds", "429-date", "500", "503", "html", "truncated", "hang-up", "slow-loris", "bomb", "deep", "nan",
    "wrong-shape", "empty",
)  # fmt: skip
"""What `Server.script` may hold, beside an empty text for a healthy answer; see `_spoil`."""

PAUSE_S = 7


@dataclass
class Server:
    """Serve `handler` at `url`; faults in `script` are used up one a request, a healthy answer afterwards.

    Attributes
    ----------
    asked : list of (method, path with query)
    headers : list of dict
        Of each request.
    """

    handler: Handler
    script: deque[str] = field(default_factory=deque)
    asked: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request: the next fault of the script, else the healthy answer."""
        self.asked.append((request.method, request.path_qs))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        fault = self.script.popleft() if self.script else ""
        if fault:
            return await _spoil(fault, request, self.handler)
        return await self.handler(request)


async def _spoil(fault: str, request: web.Request, handler: Handler) -> web.StreamResponse:
    simple = {
        "429": web.Response(status=429, text="slow down"),
        "429-seconds": web.Response(status=429, headers={"Retry-After": str(PAUSE_S)}),
        "429-date": web.Response(status=429, headers={"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}),
        "500": web.Response(status=500, text="Internal Server Error"),
        "503": web.Response(status=503, text="<html>busy</html>", content_type="text/html"),
        "html": web.Response(
            text="<!DOCTYPE html><html><body>Just a moment...</body></html>", content_type="text/html"
        ),
        "deep": web.Response(text="[" * 200_000, content_type="application/json"),
        "nan": web.Response(text='{"data": [NaN]}', content_type="application/json"),
        "wrong-shape": web.Response(text='"yes"', content_type="application/json"),
        "empty": web.Response(text=""),
    }
    if fault in simple:
        return simple[fault]
    if fault == "hang-up":
        assert request.transport is not None
        request.transport.close()
        return web.Response()
    if fault == "truncated":
        whole = await handler(request)
        assert isinstance(whole, web.Response) and isinstance(whole.body, bytes)
        return web.Response(body=whole.body[: len(whole.body) // 2], content_type=whole.content_type)
    stream = web.StreamResponse(headers={"Content-Type": "application/json"})
    await stream.prepare(request)
    if fault == "bomb":
        piece = b" " * 1_000_000
        for _ in range(64):
            await stream.write(piece)
        return stream
    assert fault == "slow-loris", fault
    while True:
        await stream.write(b" ")
        await asyncio.sleep(0.05)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Server]:
    """A server on a free port of this machine."""
    server = Server(handler)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        await site.stop()
        await asyncio.sleep(0.01)  # a connection that was being taken is there by now, and is closed with the others
        await runner.cleanup()


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(text=json.dumps(body), status=status, headers=headers, content_type="application/json")
