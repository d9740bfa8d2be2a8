"""Faults that a test injects: which request or stream message is hit, how, and a record of what really was.

A fault waits for the n-th match of its label and then hits `times` in a row. Labels of requests are what they ask:
"place", "cancel", "lookup", "trades", "account" and so on; of stream messages "user:TRADE", "market:kline" and so on
(those that somebody hears); of a dial "dial:user"; of a subscription to the private stream "subscribe". Labels match
as shell patterns. Every front can use it: nothing here knows a protocol.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Protocol

from aiohttp import web

HTML = "<html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>"
REQUEST_KINDS = (
    "timeout", "late", "delay", "reset", "status", "truncate", "cut", "empty", "html", "braces", "do", "race-fill",
    "partial-cut", "venue-cancel", "hide",
)  # fmt: skip
MESSAGE_KINDS = ("drop", "duplicate", "delay", "reorder", "disconnect", "garbage")


@dataclass
class Fault:
    """One fault.

    kind of a request: "timeout" (no answer), "late" (no answer; it is acted on `seconds` later, or that long after its
    lookup was answered "no such order" when `lookup`; its time stamp is checked at once when accepted, else only then),
    "delay" (of the answer when accepted, else of the request), "reset",
    "status" (with `status`, and `code` and `text` or HTML, and `retry_after`), "truncate" (cut JSON), "cut" (connection
    ends inside the body), "empty", "html", "braces" (`{}`), "do" (run `command` first), "race-fill" (a cancel meets an
    order that just filled), "partial-cut" (a part fills, then streams are cut), "venue-cancel" (the venue ends the
    order after its ack), "hide" (the order can't be looked up for `seconds`). `accepted`: the venue did act.
    kind of a stream message: "drop", "duplicate", "delay", "reorder" (comes after the next of its label),
    "disconnect" (instead of it), "garbage".
    """

    kind: str
    label: str = "*"
    nth: int = 1
    times: int = 1
    accepted: bool = True
    seconds: float = 30.0
    status: int = 503
    code: int | None = None
    text: str = ""
    retry_after: int | None = None
    symbol: str = ""
    client_id: str = ""  # hits only client ids that begin so
    lookup: bool = False
    share: str = "0.5"  # of the order that "partial-cut" fills
    command: dict[str, Any] = field(default_factory=dict)
    seen: int = 0

    def __post_init__(self) -> None:
        if self.kind not in (*REQUEST_KINDS, *MESSAGE_KINDS):
            raise ValueError(f"no such fault: {self.kind}")


@dataclass
class Answer:
    """What a front says: status, JSON value and headers."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """One request that a front understood. admit: the checks of its gateway, an answer when it refuses; act: do it."""

    admit: Callable[[], Answer | None]
    act: Callable[[], Answer]

    def __call__(self) -> Answer:
        """Check it and do it."""
        return self.admit() or self.act()


class Faults:
    """The list of faults of one venue, and the record of those that hit."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self.waiting = list(faults)
        self.hits: list[dict[str, Any]] = []

    def add(self, *faults: Fault) -> None:
        """Let more faults wait; they count matches from now on."""
        self.waiting += faults

    def clear(self) -> None:
        """Let no fault wait any more; the record stays."""
        self.waiting.clear()

    def take(self, label: str, now: int, *, symbol: str = "", client_id: str = "") -> Fault | None:
        """The fault that hits this one, if any."""
        hit = None
        for fault in list(self.waiting):
            if not fnmatchcase(label, fault.label) or (fault.symbol and fault.symbol != symbol):
                continue
            if not client_id.startswith(fault.client_id):
                continue
            fault.seen += 1
            if hit is None and fault.seen >= fault.nth:
                hit = fault
                if fault.seen >= fault.nth + fault.times - 1:
                    self.waiting.remove(fault)
        if hit is not None:
            self.hits.append({"ms": now, "label": label, "client_id": client_id, **asdict(hit)})
        return hit


class World(Protocol):
    """What a request fault may do to its venue."""

    def render_error(self, code: int, text: str) -> Any:
        """The body of an error, as the protocol has it."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside, until the venue closes."""
        ...

    async def command(self, command: dict[str, Any]) -> Any:
        """Run a control command."""
        ...

    async def not_found(self, client_id: str) -> None:
        """Wait until a lookup of this client id was answered that there is no such order."""
        ...

    def around(self, fault: Fault, client_id: str, *, before: bool) -> None:
        """Do what "race-fill", "partial-cut", "venue-cancel" and "hide" do, before or after the request."""
        ...


async def play(
    fault: Fault, request: web.BaseRequest, call: Call | Callable[[], Answer], world: World, client_id: str = ""
) -> web.StreamResponse:
    """Answer a request as a fault has it. A plain function checks its request whenever it is called."""
    if not isinstance(call, Call):
        call = Call(lambda: None, call)
    if fault.kind == "late":
        if not fault.accepted or call.admit() is None:
            world.spawn(_later(fault, call, world, client_id))
        return await _hold(request, 600.0)
    if fault.kind == "do":
        await world.command(fault.command)
        return respond(call())
    if fault.kind == "delay":
        return await _delay(fault, call)
    world.around(fault, client_id, before=True)
    answer = call() if fault.accepted else None
    world.around(fault, client_id, before=False)
    if fault.kind in ("race-fill", "partial-cut", "venue-cancel", "hide"):
        return respond(answer or call())
    if fault.kind == "timeout":
        return await _hold(request, fault.seconds)
    if fault.kind == "reset":
        return reset(request)
    return await _spoilt(fault, request, answer, world)


def respond(answer: Answer) -> web.Response:
    """An answer that nothing happened to."""
    return web.json_response(answer.body, status=answer.status, headers=answer.headers)


def reset(request: web.BaseRequest) -> web.Response:
    """Reset the connection of a request: what is returned can't be sent any more."""
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def _later(fault: Fault, call: Call, world: World, client_id: str) -> None:
    if fault.lookup:
        await world.not_found(client_id)
    await asyncio.sleep(fault.seconds)
    if fault.accepted:
        call.act()
    else:
        call()


async def _hold(request: web.BaseRequest, seconds: float) -> web.Response:
    """Say nothing: the handler is cancelled when the client hangs up."""
    await asyncio.sleep(seconds)
    return reset(request)


async def _delay(fault: Fault, call: Call) -> web.Response:
    answer = call() if fault.accepted else None
    await asyncio.sleep(fault.seconds)
    return respond(answer or call())


async def _spoilt(fault: Fault, request: web.BaseRequest, answer: Answer | None, world: World) -> web.StreamResponse:
    """An answer that isn't the right one."""
    if fault.kind == "status":
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        if fault.code is None:
            return web.Response(status=fault.status, text=HTML, content_type="text/html", headers=headers)
        body = world.render_error(fault.code, fault.text)
        return web.json_response(body, status=fault.status, headers=headers)
    if fault.kind == "html":
        return web.Response(text=HTML, content_type="text/html")
    if fault.kind in ("empty", "braces"):
        return web.Response(text="" if fault.kind == "empty" else "{}", content_type="application/json")
    whole = respond(answer or Answer(200, {"nothing": "here"}))
    body = whole.body if isinstance(whole.body, bytes) else b"{}"
    if fault.kind == "truncate":
        return web.Response(body=body[: len(body) // 2], content_type="application/json")
    stream = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await stream.prepare(request)
    await stream.write(body[: len(body) // 2])
    return reset_stream(request, stream)


def reset_stream(request: web.BaseRequest, stream: web.StreamResponse) -> web.StreamResponse:
    """End the connection inside a body."""
    if request.transport is not None:
        request.transport.abort()
    return stream


ORDER_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "timeout", "accepted": True},
    {"kind": "timeout", "accepted": False},
    {"kind": "late", "seconds": 0.3},
    {"kind": "reset", "accepted": True},
    {"kind": "reset", "accepted": False},
    {"kind": "status", "status": 503, "accepted": True},
    {"kind": "status", "status": 502, "accepted": False},
    {"kind": "status", "status": 504, "code": -1007, "text": "Timeout waiting for response from backend server."},
    {"kind": "truncate"},
    {"kind": "cut"},
    {"kind": "empty"},
    {"kind": "html"},
    {"kind": "braces"},
    {"kind": "status", "status": 429, "code": -1003, "text": "Too many requests.", "retry_after": 1, "accepted": False},
    {"kind": "partial-cut"},
    {"kind": "venue-cancel"},
    {"kind": "hide", "seconds": 0.3},
)
CANCEL_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "race-fill"},
    {"kind": "timeout", "accepted": True},
    {"kind": "timeout", "accepted": False},
    {"kind": "reset", "accepted": True},
    {"kind": "status", "status": 503, "accepted": False},
)
MESSAGE_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "drop"},
    {"kind": "duplicate"},
    {"kind": "reorder"},
    {"kind": "delay", "seconds": 0.2},
    {"kind": "disconnect"},
)
WORLD_FAULTS: tuple[dict[str, Any], ...] = tuple(
    {"kind": "do", "command": {**change, "after_s": 0.2, "then": back}}
    for change, back in (
        ({"do": "maintenance", "on": True}, {"do": "maintenance", "on": False}),
        ({"do": "listen", "on": False}, {"do": "listen", "on": True}),
        ({"do": "clock", "offset_ms": 6000}, {"do": "clock", "offset_ms": 0}),
        ({"do": "cut"}, {"do": "cut", "politely": True}),
        ({"do": "limits", "banned_s": 0.2}, {"do": "time"}),
    )
)


def seeded(seed: int, count: int, *, within: int = 20) -> list[Fault]:
    """A random list of faults of orders, cancels, private messages and the world; each at a match up to `within`."""
    draw = random.Random(seed)
    tables = (("place", ORDER_FAULTS), ("cancel", CANCEL_FAULTS), ("user:*", MESSAGE_FAULTS), ("*", WORLD_FAULTS))
    faults = []
    for _ in range(count):
        label, table = draw.choice(tables)
        faults.append(Fault(label=label, nth=draw.randint(1, within), **draw.choice(table)))
    return faults
