"""Streams of the linear venue: public topics, private topics behind a signature, and the switch for the disconnected.

The dead man's switch is Bybit's: it isn't a countdown that each call renews. It runs from the moment the last private
connection that subscribed `dcp.future` is gone, and only then.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from tests.venue.bybit_auth import Denied, Key, check_stream
from tests.venue.bybit_rows import Row, plain
from tests.venue.bybit_tape import INTERVALS, Tape, begin
from tests.venue.records import Happening

PRIVATE = ("order", "execution", "position", "wallet")
DCP = "dcp.future"
Shape = Callable[[str, Row], list[tuple[float, Row]]]  # topic and message to what is sent, each after so many seconds


class Connection:
    """One socket. What is sent keeps its order: a task of its own writes it."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, name: str, private: bool) -> None:
        self.socket, self.request, self.name, self.private = socket, request, name, private
        self.topics: set[str] = set()
        self.let_in = not private
        self.outbox: asyncio.Queue[tuple[float, Row]] = asyncio.Queue()

    async def write(self) -> None:
        """Send what is in the outbox until the socket is gone."""
        while not self.socket.closed:
            wait, message = await self.outbox.get()
            if wait:
                await asyncio.sleep(wait)
            try:
                await self.socket.send_str(json.dumps(message))
            except ConnectionError:
                return

    def abort(self) -> None:
        """Cut the line without a word of goodbye."""
        if self.request.transport is not None:
            self.request.transport.abort()


class Streams:
    """All connections, their topics, and what they are told.

    Parameters
    ----------
    key : Key
        Whose signature opens private streams.
    tape : Tape
        What public topics tell.
    clock : callable
        Milliseconds UTC by the venue's clock.
    fire : callable
        What the dead man's switch does.
    second : float
        How long a second of the switch lasts.
    shape : callable
        Drops, repeats or delays messages: a fault injector's business.
    """

    def __init__(
        self, key: Key, tape: Tape, clock: Callable[[], int], fire: Callable[[], None], *, second: float = 1.0,
        shape: Shape | None = None,
    ) -> None:  # fmt: skip
        self.key, self.tape, self.clock, self.fire, self.second = key, tape, clock, fire, second
        self.shape: Shape = shape or (lambda topic, message: [(0.0, message)])
        self.connections: list[Connection] = []
        self.open = True  # whether new connections are let in
        self.window: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._names = itertools.count(1)
        self._messages = itertools.count(1)
        self._minutes: dict[str, int] = {}
        tape.engine.hooks.append(self._hear)

    # --- telling -----------------------------------------------------------------------------------------------------
    def push(self, topic: str, rows: list[Row]) -> None:
        """Tell a private topic."""
        now = self.clock()
        named = [{"category": "linear", **row} for row in rows] if topic != "wallet" else rows
        message = {"id": f"local-{next(self._messages)}", "topic": topic, "creationTime": now, "data": named}
        self._send(topic, message, {topic, f"{topic}.linear"}, private=True)

    def public(self, topic: str, body: Any, kind: str = "snapshot") -> None:
        """Tell a public topic."""
        now = self.clock()
        message = {"topic": topic, "type": kind, "data": body, "ts": now, "cs": next(self._messages)}
        self._send(topic, message, {topic}, private=False)

    def _send(self, topic: str, message: Row, topics: set[str], *, private: bool) -> None:
        told = [one for one in self.connections if one.private == private and one.topics & topics and one.let_in]
        if not told:
            return
        for wait, shaped in self.shape(topic, message):
            for connection in told:
                connection.outbox.put_nowait((wait, shaped))

    def _hear(self, news: Happening) -> None:
        if news.what == "PRICE":
            self.public(f"tickers.{news.symbol}", self.tape.ticker(news.symbol, news.ms))
            self._bars(news.symbol, news.ms)
            for depth in (1, 50, 200, 500, 1000):
                self._book(f"orderbook.{depth}.{news.symbol}")
        elif news.trade is not None:
            trade, now = news.trade, news.ms
            row = {
                "T": now, "s": trade.symbol, "S": "Buy" if trade.side == "buy" else "Sell", "v": plain(trade.qty),
                "p": plain(trade.price), "L": "ZeroPlusTick", "i": f"public-{trade.id}", "BT": False,
            }  # fmt: skip
            self.public(f"publicTrade.{trade.symbol}", [row])

    def _bars(self, symbol: str, now: int) -> None:
        """The bar that is forming; when a new one began, the closed one before it, confirmed."""
        for interval, length in INTERVALS.items():
            topic = f"kline.{interval}.{symbol}"
            start = begin(now, length)
            last = self._minutes.get(topic, start)
            self._minutes[topic] = start
            if any(topic in one.topics for one in self.connections):
                for one in sorted({last, start}):
                    self.public(topic, [self.tape.kline_push(symbol, interval, one, now)])

    def _book(self, topic: str) -> None:
        if any(topic in one.topics for one in self.connections):
            _, depth, symbol = topic.split(".")
            self.public(topic, self.tape.book_rows(symbol, int(depth)))

    # --- listening ---------------------------------------------------------------------------------------------------
    async def serve_public(self, request: web.Request) -> web.StreamResponse:
        """One public socket."""
        return await self._serve(request, private=False)

    async def serve_private(self, request: web.Request) -> web.StreamResponse:
        """One private socket."""
        return await self._serve(request, private=True)

    async def _serve(self, request: web.Request, *, private: bool) -> web.StreamResponse:
        if not self.open:
            raise web.HTTPServiceUnavailable(text="maintenance")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        connection = Connection(socket, request, f"local-{next(self._names)}", private)
        self.connections.append(connection)
        writer = asyncio.ensure_future(connection.write())
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self._answer(connection, message.data)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self.connections.remove(connection)
            if DCP in connection.topics:
                self._gone()
        return socket

    def _answer(self, connection: Connection, text: str) -> None:
        """React to one line of a client: auth, ping, subscribe, unsubscribe."""
        try:
            body = json.loads(text)
        except ValueError:
            body = {}
        op, args = body.get("op"), body.get("args") or []
        answer: Row = {"success": True, "ret_msg": "", "op": op, "conn_id": connection.name}
        answer |= {"req_id": str(body["req_id"])} if "req_id" in body else {}
        if op == "ping":
            pong: Row = {"op": "pong", "args": [str(self.clock())]} if connection.private else {"ret_msg": "pong"}
            answer |= pong
            if connection.private:
                del answer["success"], answer["ret_msg"]
        elif op == "auth" and connection.private:
            answer["ret_msg"] = check_stream(self.key, args, self.clock())
            connection.let_in = answer["success"] = not answer["ret_msg"]
        elif op == "subscribe":
            answer["ret_msg"] = self._subscribe(connection, [str(topic) for topic in args])
            answer["success"] = not answer["ret_msg"]
        elif op == "unsubscribe":
            connection.topics -= {str(topic) for topic in args}
        else:
            answer |= {"success": False, "ret_msg": "error:invalid op"}
        connection.outbox.put_nowait((0.0, answer))
        if op == "subscribe" and answer["success"] and not connection.private:
            self._first(connection, [str(topic) for topic in args])

    def _subscribe(self, connection: Connection, topics: list[str]) -> str:
        """Add topics; why not, when one of them isn't to be had."""
        if not connection.let_in:
            return "Request not authorized"
        for topic in topics:
            if topic in connection.topics:
                return f"error:topic:{topic},already subscribed"
            if not self._known(topic, connection.private):
                return f"error:handler not found,topic:{topic}"
        connection.topics |= set(topics)
        if DCP in topics and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return ""

    def _known(self, topic: str, private: bool) -> bool:
        if private:
            return topic == DCP or topic.removesuffix(".linear") in PRIVATE
        head, _, rest = topic.partition(".")
        middle, _, last = rest.rpartition(".")
        if last not in self.tape.engine.specs:
            return False
        if head == "kline":
            return middle in INTERVALS
        return head in ("tickers", "publicTrade") and not middle or head == "orderbook" and middle.isdigit()

    def _first(self, connection: Connection, topics: list[str]) -> None:
        """What a new subscriber is told at once, where the venue knows a price already."""
        now = self.clock()
        for topic in topics:
            head, _, rest = topic.partition(".")
            middle, _, symbol = rest.rpartition(".")
            if not self.tape.engine.books[symbol].price:
                continue
            body: Any = None
            if head == "tickers":
                body = self.tape.ticker(symbol, now)
            elif head == "orderbook":
                body = self.tape.book_rows(symbol, int(middle))
            if body is not None:
                message = {"topic": topic, "type": "snapshot", "data": body, "ts": now, "cs": next(self._messages)}
                connection.outbox.put_nowait((0.0, message))

    # --- cutting -----------------------------------------------------------------------------------------------------
    def drop(self, *, private: bool | None = None) -> int:
        """Cut connections (private, public or all of them) without goodbye; how many."""
        cut = [one for one in self.connections if private in (None, one.private)]
        for connection in cut:
            connection.abort()
        return len(cut)

    def arm(self, window: int) -> None:
        """Set the time that the last private connection may be gone, in the venue's seconds."""
        if not 3 <= window <= 300:
            raise Denied(10001, "params error: timeWindow must be between 3 and 300")
        self.window = window

    def _gone(self) -> None:
        if self.window is None or any(DCP in one.topics for one in self.connections):
            return
        self._timer = asyncio.get_running_loop().call_later(self.window * self.second, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.fire()

    async def close(self) -> None:
        """Hang up on everybody."""
        if self._timer is not None:
            self._timer.cancel()
        self.window = None
        for connection in list(self.connections):
            await connection.socket.close(code=1001)
