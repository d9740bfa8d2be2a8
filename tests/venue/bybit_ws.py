"""Streams of the linear venue: public topics, private topics behind a signature, and the switch for the disconnected.

The dead man's switch is Bybit's: it isn't a countdown that each call renews. It runs from the moment the last private
connection that subscribed `dcp.future` is gone, and only then.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from tests.venue.bybit_auth import check_stream
from tests.venue.bybit_rows import Row, plain
from tests.venue.bybit_tape import NAMES, Tape
from tests.venue.records import Happening

if TYPE_CHECKING:
    from tests.venue.bybit import LocalPerpVenue

PRIVATE = ("order", "execution", "position", "wallet")
LABELS = {"order": "ORDER", "execution": "TRADE", "position": "POSITION", "wallet": "BALANCE"}
DCP = "dcp.future"


@dataclass(eq=False)
class Link:
    """One link. kind "market" or "user"."""

    kind: str
    socket: web.WebSocketResponse
    request: web.Request
    name: str
    let_in: bool
    topics: set[str] = field(default_factory=set)
    queue: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)

    def abort(self) -> None:
        """Cut the connection without a word."""
        if self.request.transport is not None:
            self.request.transport.abort()


class Streams:
    """Connections, their topics, and what they are told. second: how long one of the dead man's switch lasts."""

    def __init__(self, venue: LocalPerpVenue, second: float = 1.0) -> None:
        self.venue, self.second = venue, second
        self.tape: Tape = venue.tape
        self.links: list[Link] = []
        self.window: int | None = 10 if venue.dcp else None  # of the dead man's switch, in its seconds
        self._timer: asyncio.TimerHandle | None = None
        self._names = itertools.count(1)
        self._messages = itertools.count(1)
        self._starts: dict[str, int] = {}
        self._held: dict[str, list[tuple[str, set[str], Row]]] = {}
        venue.engine.hooks.append(self._hear)

    # --- telling -----------------------------------------------------------------------------------------------------
    def push(self, topic: str, rows: list[Row]) -> None:
        """Tell a private topic."""
        named = [{"category": "linear", **row} for row in rows] if topic != "wallet" else rows
        number, now = f"local-{next(self._messages)}", self.venue.now_ms()
        message = {"id": number, "topic": topic, "creationTime": now, "data": named}
        client_id = str(rows[0].get("orderLinkId", ""))
        self._tell("user", LABELS[topic], {topic, f"{topic}.linear"}, message, client_id, rows[0].get("symbol", ""))

    def public(self, topic: str, body: Any, label: str = "") -> None:
        """Tell a public topic."""
        now, symbol = self.venue.now_ms(), topic.rpartition(".")[2]
        message = {"topic": topic, "type": "snapshot", "data": body, "ts": now, "cs": next(self._messages)}
        self._tell("market", label or topic.partition(".")[0], {topic}, message, "", symbol)

    def _tell(self, kind: str, what: str, topics: set[str], message: Row, client_id: str, symbol: str) -> None:
        """Send one message to those who listen, unless a fault hits it."""
        label = f"{kind}:{what}"
        fault = self.venue.faults.take(label, self.venue.now_ms(), symbol=symbol, client_id=client_id)
        held = self._held.pop(label, [])
        if fault is None or fault.kind == "duplicate":
            for _ in range(1 if fault is None else 2):
                self._deliver(kind, topics, message)
        elif fault.kind == "reorder":
            self._held[label] = [(kind, topics, message)]
        elif fault.kind == "delay":
            asyncio.get_running_loop().call_later(fault.seconds, self._deliver, kind, topics, message)
        elif fault.kind == "disconnect":
            self.cut(kind)
        elif fault.kind == "garbage":
            for link in self._listeners(kind, topics):
                link.queue.put_nowait(json.dumps(message)[:-20])
        for one in held:
            self._deliver(*one)

    def _listeners(self, kind: str, topics: set[str]) -> list[Link]:
        return [link for link in self.links if link.kind == kind and link.let_in and link.topics & topics]

    def _deliver(self, kind: str, topics: set[str], message: Row) -> None:
        for link in self._listeners(kind, topics):
            link.queue.put_nowait(json.dumps(message))

    def _hear(self, news: Happening) -> None:
        if news.what == "PRICE":
            self.public(f"tickers.{news.symbol}", self.tape.ticker(news.symbol, news.ms))
            if self.venue.make_bars:
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
        """The bar that prices form; when a new one began, those closed since, confirmed."""
        for interval, name in NAMES.items():
            rows = self.tape.candles.rows.get((symbol, name), [])
            since = self._starts.get(f"{interval} {symbol}", rows[-1][0] if rows else 0)
            for row in [row for row in rows if row[0] >= since]:
                self.kline(symbol, interval, row, closed=now > row[6])
            if rows:
                self._starts[f"{interval} {symbol}"] = rows[-1][0]

    def kline(self, symbol: str, interval: str, row: list[Any], *, closed: bool) -> None:
        """Tell of a bar, if anybody wants to know."""
        topic = f"kline.{interval}.{symbol}"
        if self._wanted(topic):
            body = self.tape.kline_push(interval, row, self.venue.now_ms(), closed=closed)
            self.public(topic, [body], "kline" if closed else "kline-open")

    def _book(self, topic: str) -> None:
        if self._wanted(topic):
            _, depth, symbol = topic.split(".")
            self.public(topic, self.tape.book_rows(symbol, int(depth)))

    def _wanted(self, topic: str) -> bool:
        return any(topic in link.topics for link in self.links)

    # --- listening ---------------------------------------------------------------------------------------------------
    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection, from its dial to its end."""
        kind = "user" if request.path.endswith("/private") else "market"
        refusal = await self.venue.dialled(request, kind)
        if refusal is not None:
            return refusal
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        link = Link(kind, socket, request, f"local-{next(self._names)}", kind == "market")
        self.links.append(link)
        sender = asyncio.ensure_future(_send(link))
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self._answer(link, message.data)
        finally:
            self.links.remove(link)
            if DCP in link.topics:
                self._gone()
            link.queue.put_nowait(None)
            await sender
        return socket

    def _answer(self, link: Link, text: str) -> None:
        """React to one line of a client: auth, ping, subscribe, unsubscribe."""
        try:
            body = json.loads(text)
        except ValueError:
            body = {}
        op, args = body.get("op"), body.get("args") or []
        answer: Row = {"success": True, "ret_msg": "", "op": op, "conn_id": link.name}
        answer |= {"req_id": str(body["req_id"])} if "req_id" in body else {}
        user = link.kind == "user"
        if op == "ping" and user:
            answer = {"req_id": str(body.get("req_id", "")), "op": "pong", "args": [str(self.venue.now_ms())]}
            answer["conn_id"] = link.name
        elif op == "ping":
            answer["ret_msg"] = "pong"
        elif op == "auth" and user:
            answer["ret_msg"] = check_stream(self.venue.key, args, self.venue.now_ms())
            link.let_in = answer["success"] = not answer["ret_msg"]
        elif op == "subscribe":
            answer["ret_msg"] = self._subscribe(link, [str(topic) for topic in args])
            answer["success"] = not answer["ret_msg"]
        elif op == "unsubscribe":
            link.topics -= {str(topic) for topic in args}
        else:
            answer |= {"success": False, "ret_msg": "error:invalid op"}
        link.queue.put_nowait(json.dumps(answer))
        if op == "subscribe" and answer["success"] and not user:
            self._first(link, [str(topic) for topic in args])

    def _subscribe(self, link: Link, topics: list[str]) -> str:
        """Add topics; why not, when one of them isn't to be had."""
        if not link.let_in:
            return "Request not authorized"
        for topic in topics:
            if topic in link.topics:
                return f"error:topic:{topic},already subscribed"
            if not self._known(topic, link.kind == "user"):
                return f"error:handler not found,topic:{topic}"
        link.topics |= set(topics)
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
            return middle in NAMES
        return head in ("tickers", "publicTrade") and not middle or head == "orderbook" and middle.isdigit()

    def _first(self, link: Link, topics: list[str]) -> None:
        """What a new subscriber is told at once, where the venue knows a price already."""
        now = self.venue.now_ms()
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
                link.queue.put_nowait(json.dumps(message))

    # --- cutting -----------------------------------------------------------------------------------------------------
    def cut(self, kind: str = "*", *, politely: bool = False) -> int:
        """Cut connections: at once, or with a close frame. How many there were."""
        links = [link for link in self.links if kind in ("*", link.kind)]
        for link in links:
            if politely:
                self.venue.spawn(_close(link.socket))
            else:
                link.abort()
        return len(links)

    def _gone(self) -> None:
        """A connection with the dead man's topic ended; the switch begins to run when it was the last."""
        if self.window is not None and not self._wanted(DCP) and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.window * self.second, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.venue.fire_dcp()

    def close(self) -> None:
        """Hang up on everybody."""
        self.window = None
        if self._timer is not None:
            self._timer.cancel()
        self.cut()


async def _send(link: Link) -> None:
    while True:
        line = await link.queue.get()
        if line is None or link.socket.closed:
            return
        try:
            await link.socket.send_str(line)
        except ConnectionError:
            return


async def _close(socket: web.WebSocketResponse) -> None:
    await socket.close(code=1000, message=b"going away")
