"""The streams of the test venue: Binance's market streams, and the private stream both of today and of listen keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from tests.venue import binance_json as views
from tests.venue.doorman import VenueError
from tests.venue.faults import Fault
from tests.venue.records import Happening, text

if TYPE_CHECKING:
    from tests.venue.server import LocalVenue

TOLD = {"NEW": "NEW", "TRADE": "TRADE", "CANCELED": "CANCELED", "EXPIRED": "EXPIRED"}


@dataclass(eq=False)
class Link:
    """One connection. kind "market" or "user"; `account` and `number` once it is subscribed to a private stream."""

    kind: str
    socket: web.WebSocketResponse
    request: web.Request
    topics: set[str] = field(default_factory=set)
    account: str = ""
    number: int | None = None  # of the subscription: its messages are wrapped
    queue: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)

    def abort(self) -> None:
        """Cut the connection without a word."""
        if self.request.transport is not None:
            self.request.transport.abort()


class Streams:
    """Connections, and what is told over them as the engine's hook."""

    def __init__(self, venue: LocalVenue) -> None:
        self.venue = venue
        self.links: set[Link] = set()
        self.listen_keys: dict[str, str] = {}
        self.book_id = 1
        self.sent = 0
        self._numbers = 0
        self._tape = 0
        self._held: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
        self._shown: dict[str, set[tuple[str, Decimal]]] = {}

    def new_listen_key(self, account: str) -> str:
        """A key whose path is a private stream."""
        key = f"listen{self.venue.new_id()}"
        self.listen_keys[key] = account
        return key

    # --- connections -----------------------------------------------------------------------------------------------
    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection, from its dial to its end."""
        kind = "user" if request.path.startswith("/ws-api") else "market"
        account = self.listen_keys.get(request.path.rsplit("/", 1)[-1], "")
        if account:
            kind = "user"
        refusal = await self.venue.dialled(request, kind)
        if refusal is not None:
            return refusal
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        link = Link(kind, socket, request, account=account)
        for topic in request.query.get("streams", "").split("/"):
            link.topics |= {topic} if topic else set()
        self.links.add(link)
        sender = asyncio.ensure_future(self._send(link))
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self._asked(link, json.loads(message.data))
        finally:
            self.links.discard(link)
            link.queue.put_nowait(None)
            await sender
        return socket

    async def _send(self, link: Link) -> None:
        while True:
            line = await link.queue.get()
            if line is None or link.socket.closed:
                return
            try:
                await link.socket.send_str(line)
            except ConnectionError:
                return
            self.sent += 1

    def cut(self, kind: str = "*", *, politely: bool = False) -> int:
        """Cut connections: at once, or with a close frame as after 24 hours. How many there were."""
        links = [link for link in self.links if kind in ("*", link.kind)]
        for link in links:
            if politely:
                self.venue.spawn(_close(link.socket))
            else:
                link.abort()
        return len(links)

    # --- requests --------------------------------------------------------------------------------------------------
    def _asked(self, link: Link, message: Mapping[str, Any]) -> None:
        method, given = message.get("method"), message.get("params") or []
        if link.request.path.startswith("/ws-api"):
            answer = self._api(link, message.get("id"), str(method), given)
            if answer is not None:
                link.queue.put_nowait(json.dumps(answer))
            return
        if method == "SUBSCRIBE":
            link.topics |= set(given)
        elif method == "UNSUBSCRIBE":
            link.topics -= set(given)
        result = sorted(link.topics) if method == "LIST_SUBSCRIPTIONS" else None
        link.queue.put_nowait(json.dumps({"result": result, "id": message.get("id")}))

    def _api(self, link: Link, number: Any, method: str, given: Any) -> dict[str, Any] | None:
        """One request of the WebSocket API: what the private stream needs of it, time and ping. None: no answer."""
        venue, result = self.venue, {}
        fault = venue.faults.take("subscribe", venue.now_ms()) if method.endswith("subscribe.signature") else None
        try:
            if fault is not None and fault.kind == "status":
                raise VenueError(fault.code or -1000, fault.text, fault.status)
            venue.doorman.admit(2, venue.now_ms())
            if method == "userDataStream.subscribe.signature":
                result = self._subscribe(link, {name: str(value) for name, value in given.items()})
            elif method == "userDataStream.unsubscribe":
                link.number, link.account = None, ""
            elif method == "time":
                result = {"serverTime": venue.now_ms()}
            elif method != "ping":
                raise VenueError(-1020, "This operation is not supported.")
        except VenueError as error:
            return {"id": number, "status": error.status, "error": {"code": error.code, "msg": error.text}}
        if fault is not None:
            return None
        return {"id": number, "status": 200, "result": result, "rateLimits": []}

    def _subscribe(self, link: Link, params: dict[str, str]) -> dict[str, Any]:
        venue = self.venue
        key = venue.doorman.known(params.get("apiKey"))
        raw = "&".join(f"{name}={value}" for name, value in sorted(params.items()))
        venue.doorman.signed(raw, params, key, venue.now_ms())
        venue.note("stream-up", account=key.account)
        link.account, link.number = key.account, self._numbers
        self._numbers += 1
        return {"subscriptionId": link.number}

    # --- what is told ----------------------------------------------------------------------------------------------
    def hook(self, happening: Happening) -> None:
        """Tell of what happened in the engine."""
        now = self.venue.now_ms()
        if happening.what in TOLD and happening.order is not None:
            order, trade = happening.order, happening.trade
            cancel_id = self.venue.front.cancel_ids.get(order.id, "") or self.venue.new_id()
            what = TOLD[happening.what]
            report = views.execution_report(order, trade, what, now, cancel_id)
            self._tell("user", what, happening.account, report)
            spec = self.venue.engine.specs[order.symbol]
            coins = sorted({spec.base, spec.quote, trade.fee_coin if trade else spec.quote})
            self._balances(happening.account, coins, now)
        elif happening.what == "BALANCE":
            for coin, amount in happening.amounts.items():
                update = {"e": "balanceUpdate", "E": now, "a": coin, "d": text(amount), "T": happening.ms}
                self._tell("user", "balanceUpdate", happening.account, update)
                self._balances(happening.account, [coin], now)
        elif happening.what == "PRICE":
            self._price(happening.symbol, now)

    def _balances(self, account: str, coins: list[str], now: int) -> None:
        rows = views.balances_view(self.venue.engine.account(account), coins, "a", "f", "l")
        position = {"e": "outboundAccountPosition", "E": now, "u": now, "B": rows}
        self._tell("user", "outboundAccountPosition", account, position)

    def kline(self, symbol: str, interval: str, row: list[Any], *, closed: bool) -> None:
        """Tell of a bar."""
        bar = {
            "t": row[0], "T": row[6], "s": symbol, "i": interval, "f": 1, "L": 1, "o": row[1], "c": row[4],
            "h": row[2], "l": row[3], "v": row[5], "n": row[8], "x": closed, "q": row[7], "V": "0", "Q": "0", "B": "0",
        }  # fmt: skip
        message = {"e": "kline", "E": self.venue.now_ms(), "s": symbol, "k": bar}
        self._tell("market", "kline" if closed else "kline-open", f"{symbol.lower()}@kline_{interval}", message)

    def _price(self, symbol: str, now: int) -> None:
        book = self.venue.engine.books[symbol]
        self._tape += 1
        stem, last = symbol.lower() + "@", text(book.price)
        trade = {
            "e": "trade", "E": now, "s": symbol, "t": self._tape, "p": last, "q": "1.00000000", "T": now, "m": False,
            "M": True,
        }  # fmt: skip
        self._tell("market", "trade", stem + "trade", trade)
        bid, ask = views.best(book)
        quote = {"u": self._tape, "s": symbol, "b": text(bid[0]), "B": text(bid[1])}
        quote |= {"a": text(ask[0]), "A": text(ask[1])}
        self._tell("market", "bookTicker", stem + "bookTicker", quote)
        mini = {"e": "24hrMiniTicker", "E": now, "s": symbol, "c": last, "o": last, "h": last, "l": last}
        mini |= {"v": "1000.00000000", "q": text(book.price * 1000)}
        self._tell("market", "miniTicker", stem + "miniTicker", mini)
        more = {"p": text(Decimal(0)), "P": "0.000", "w": last, "x": last, "Q": "1.00000000", "O": now - 86_400_000}
        more |= {"C": now, "F": 1, "L": 2, "n": 2, "b": quote["b"], "B": quote["B"], "a": quote["a"], "A": quote["A"]}
        self._tell("market", "ticker", stem + "ticker", {**mini, **more, "e": "24hrTicker"})
        self._depth(symbol, now)

    def _depth(self, symbol: str, now: int) -> None:
        book = self.venue.engine.books[symbol]
        levels = {(side, price): qty for side in ("bid", "ask") for price, qty in book.shown(side)}
        gone = self._shown.get(symbol, set()) - set(levels)
        self._shown[symbol] = set(levels)
        self.book_id += 1
        change: dict[str, Any] = {"e": "depthUpdate", "E": now, "s": symbol, "U": self.book_id, "u": self.book_id}
        for name, side in (("b", "bid"), ("a", "ask")):
            rows = [[text(price), text(qty)] for (one, price), qty in levels.items() if one == side]
            change[name] = rows + [[text(price), text(Decimal(0))] for one, price in sorted(gone) if one == side]
        for topic in ("depth", "depth@100ms"):
            self._tell("market", "depth", f"{symbol.lower()}@{topic}", change)

    def _tell(self, kind: str, what: str, topic: str, body: dict[str, Any]) -> None:
        """Send one message to those who listen, unless a fault hits it. topic: of a private one, the account."""
        if not self._listeners(kind, topic):
            return  # what nobody hears isn't counted by faults
        symbol = str(body.get("s", ""))
        client_id = str(body.get("C") or body.get("c") or "") if kind == "user" else ""
        label = f"{kind}:{what}"
        fault = self.venue.faults.take(label, self.venue.now_ms(), symbol=symbol, client_id=client_id)
        held = self._held.pop(label, [])
        if fault is None:
            self._deliver(kind, topic, body)
        elif fault.kind == "reorder":
            self._held[label] = [(kind, topic, body)]
        else:
            self._faulty(fault, kind, topic, body)
        for one in held:
            self._deliver(*one)

    def _faulty(self, fault: Fault, kind: str, topic: str, body: dict[str, Any]) -> None:
        if fault.kind == "duplicate":
            self._deliver(kind, topic, body)
            self._deliver(kind, topic, body)
        elif fault.kind == "delay":
            asyncio.get_running_loop().call_later(fault.seconds, self._deliver, kind, topic, body)
        elif fault.kind == "disconnect":
            self.cut(kind)
        elif fault.kind == "garbage":
            for link in self._listeners(kind, topic):
                link.queue.put_nowait(json.dumps(body)[:-20])

    def _listeners(self, kind: str, topic: str) -> list[Link]:
        return [one for one in self.links if one.kind == kind and (topic in one.topics or one.account == topic)]

    def _deliver(self, kind: str, topic: str, body: dict[str, Any]) -> None:
        for link in self._listeners(kind, topic):
            wrapped = body if link.number is None else {"subscriptionId": link.number, "event": body}
            link.queue.put_nowait(json.dumps(wrapped))


async def _close(socket: web.WebSocketResponse) -> None:
    await socket.close(code=1000, message=b"24 hours are over")
