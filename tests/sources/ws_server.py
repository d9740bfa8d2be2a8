"""A local WebSocket server that plays a source, well or badly: one fault per connection, from a script."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

PAUSE_S = 7
REFUSED = {
    "429": (429, {}), "429-seconds": (429, {"Retry-After": str(PAUSE_S)}), "500": (500, {}), "503": (503, {}),
    "429-date": (429, {"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}), "503-seconds": (503, {"Retry-After": "9"}),
    "html": (200, {"Content-Type": "text/html"}), "redirect": (302, {"Location": "ws://127.0.0.2:1/elsewhere"}),
    "401": (401, {}),
}  # fmt: skip
"""Faults of the handshake, as status and headers."""

SAID = {
    "truncated": '{"kind": "commit", "did": "did:plc:a", "comm',
    "page": "<!DOCTYPE html><html><body>Just a moment...</body></html>",
    "deep": "[" * 50_000,
    "nan": '{"time_us": NaN}',
    "wrong-shape": '"yes"',
    "empty": "",
    "binary": b"\x00\x01\x02",
}
"""Messages that aren't data; the connection goes on behind them."""

ENDED = ("hang-up", "slow-loris", "half-frame", "not-utf8", "too-big", "close-1008", "close-1013", "drop", "no-pong")
STUCK = ("half-frame", "no-pong")
"""Those of them that only a limit of time finds out."""

WS_FAULTS = (*REFUSED, *SAID, *ENDED)

Talk = Callable[[ServerConnection], Awaitable[None]]


def quiet() -> logging.Logger:
    """The library would log each fault that we play."""
    logger = logging.getLogger("tests.ws")
    logger.propagate, logger.disabled = False, True
    return logger


@dataclass
class WsServer:
    """Serve `talk` at `url`; faults in `script` are used up one a connection, healthy talk afterwards.

    Attributes
    ----------
    asked : list of str
        Path and query of each connection.
    headers : list of dict
        Of each connection, with small names.
    said : list
        What clients sent, as JSON values.
    """

    talk: Talk
    script: deque[str] = field(default_factory=deque)
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    said: list[Any] = field(default_factory=list)
    url: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _faults: dict[Any, str] = field(default_factory=dict)

    async def greet(self, connection: ServerConnection, request: Request) -> Response | None:
        """The handshake: refuse it when the script says so."""
        self.asked.append(request.path)
        self.headers.append({name.lower(): value for name, value in request.headers.raw_items()})
        fault = self.script.popleft() if self.script else ""
        if fault in REFUSED:
            status, headers = REFUSED[fault]
            found = Headers({"Content-Length": "4", **headers})
            return Response(status, HTTPStatus(status).phrase, found, b"busy")
        if fault == "hang-up":
            connection.transport.abort()
        if fault == "slow-loris":
            await self.over.wait()
        self._faults[connection.id] = fault
        return None

    async def serve_one(self, connection: ServerConnection) -> None:
        """One connection: the fault of the script, then the healthy talk where the line still stands."""
        fault = self._faults.pop(connection.id, "")
        try:
            if fault:
                await spoil(connection, fault, self.over)
            await self.talk(connection)
        except ConnectionClosed:
            pass


async def spoil(connection: ServerConnection, fault: str, over: asyncio.Event) -> None:
    """Play a fault of an open line."""
    if fault in SAID:
        await connection.send(SAID[fault])
    elif fault == "too-big":
        await connection.send(" " * 3_000_000)
        await connection.wait_closed()
    elif fault == "not-utf8":
        connection.transport.write(b"\x81\x02\xff\xfe")
        await connection.wait_closed()
    elif fault == "half-frame":
        connection.transport.write(b"\x81\x7e\x10\x00{")
        await over.wait()
    elif fault == "no-pong":
        connection.transport.pause_reading()
        await over.wait()
    elif fault == "drop":
        connection.transport.abort()
    elif fault.startswith("close-"):
        await connection.close(int(fault[6:]), "\x1b[31mslow down, s3cr3t-token")


@asynccontextmanager
async def ws_serving(talk: Talk, **more: Any) -> AsyncIterator[WsServer]:
    """A server on a free port of this machine."""
    server = WsServer(talk)
    given: dict[str, Any] = {"logger": quiet(), "compression": None, "ping_interval": None, "close_timeout": 0.2}
    async with serve(server.serve_one, "127.0.0.1", 0, process_request=server.greet, **given, **more) as running:
        port = running.sockets[0].getsockname()[1]
        server.url = f"{'wss' if more.get('ssl') else 'ws'}://127.0.0.1:{port}"
        try:
            yield server
        finally:
            server.over.set()
            for connection in list(running.connections):
                connection.transport.abort()


async def repeat(connection: ServerConnection, messages: list[Any]) -> None:
    """Say things one after the other, and stay."""
    for message in messages:
        await connection.send(message if isinstance(message, str | bytes) else json.dumps(message))
    await connection.wait_closed()
