"""The exchange process on a linear perpetual venue of another protocol, and refusals of venues that only tell codes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.exchange.ccxt_account import CcxtAccount
from bot.exchange.keys import Key
from bot.exchange.link import Link
from bot.exchange.wire import (
    Accepted,
    Balances,
    BalancesAre,
    Cancel,
    CancelAll,
    CloseOut,
    DeadMan,
    Done,
    Failed,
    Lookup,
    Markets,
    MarketsAre,
    NotFound,
    NotSent,
    OpenOrders,
    OrdersAre,
    OrderSeen,
    Place,
    Positions,
    PositionsAre,
    Refused,
    Rights,
    Trades,
    TradesAre,
    TradeSeen,
    Unknown,
)
from tests.bot.exchange_worlds import BOT, PERP, World, activate, order, settings_of, world
from tests.venue.bybit import LocalPerpVenue
from tests.venue.faults import Fault

P = "BTC/USDT:USDT"
STOP = {"kind": "stop", "side": "sell", "stop": "48000", "limit": None, "purpose": "stop-loss", "reduce_only": True}
EXIT = {"side": "sell", "limit": None, "purpose": "exit", "reduce_only": True}


def entry(number: int, **more: Any) -> Place:
    """A perpetual order."""
    return order(number, symbol=P, **more)


def play(folder: Path, story: Callable[[World], Awaitable[None]], *, streams: bool = False) -> None:
    """One story in a world of perpetuals."""

    async def run() -> None:
        venue = LocalPerpVenue(balances={"USDT": "100000"}, prices={"BTCUSDT": "50000", "ETHUSDT": "2000"})
        key = Key(venue.key.api, venue.key.secret, None, "a test")
        more = {**PERP, "exchange": {"id": "bybit", "streams": streams}}
        async with world(folder, venue=venue, key=key, **more) as there:
            await story(there)

    asyncio.run(run())


def test_orders_positions_and_ends(tmp_path: Path) -> None:
    """Entries, a stop kept at the venue, look-ups, a cancel whose end is asked after, a close-out."""

    async def story(there: World) -> None:
        shown = await there.ask(Markets(symbols=(P,)))
        assert isinstance(shown, MarketsAre) and shown.markets[0].maintenance == "0.005" and shown.markets[0].stops
        assert (await there.ask(Rights())).can_trade is True
        assert isinstance(await there.ask(entry(1)), Accepted)
        assert isinstance(await there.ask(entry(2, kind="limit", limit="45000")), Accepted)
        assert isinstance(await there.ask(entry(3, **STOP)), Accepted)
        opened = await there.ask(OpenOrders())
        assert isinstance(opened, OrdersAre) and {one.kind for one in opened.orders} == {"limit", "stop"}
        held = await there.ask(Positions())
        assert isinstance(held, PositionsAre) and [one.qty for one in held.positions] == ["0.01"]
        ended = await there.ask(Cancel(client_id=entry(2).client_id, symbol=P))
        assert isinstance(ended, Accepted) and (ended.order.status, ended.order.qty) == ("cancelled", "0.01")
        found = await there.ask(Lookup(client_id=entry(1).client_id, symbol=P))
        assert isinstance(found, Accepted) and (found.order.status, found.order.filled) == ("filled", "0.01")
        assert isinstance(await there.ask(Lookup(client_id=entry(9).client_id, symbol=P)), NotFound)
        assert await there.ask(CancelAll()) == Done(count=0)
        refused = await there.ask(DeadMan(timeout_s=60))
        assert isinstance(refused, Failed) and "watchdog" in refused.text
        activate(there.folder, "HALTED")
        assert await there.ask(CloseOut(quantities={P: "0.01"}, reason="a test")) == Done(count=1)
        assert await there.ask(Positions()) == PositionsAre(positions=())
        assert await there.ask(OpenOrders()) == OrdersAre(orders=())

    play(tmp_path, story)


def test_an_exit_that_could_open_is_an_entry(tmp_path: Path) -> None:
    """On perpetuals only reduce-only orders pass as exits."""

    async def story(there: World) -> None:
        answer = await there.ask(entry(1, side="sell", qty="1", purpose="exit", limit=None))
        assert isinstance(answer, Refused) and answer.why == "caps"
        answer = await there.ask(entry(2, qty="1", **EXIT))
        assert isinstance(answer, Refused) and (answer.why, answer.code) == ("other", "110017")

    play(tmp_path, story)


def test_trades_by_time_and_after_an_id(tmp_path: Path) -> None:
    """This venue pages by time: what is after an id is found from now backwards."""

    async def story(there: World) -> None:
        for number in range(1, 5):
            await there.ask(entry(number, qty=f"0.00{number}"))
            await asyncio.sleep(0.005)
        since_ns = time.time_ns() - 20 * 86_400 * 10**9
        told = await there.ask(Trades(symbol=P, since_ns=since_ns))
        assert isinstance(told, TradesAre) and [one.qty for one in told.trades] == ["0.001", "0.002", "0.003", "0.004"]
        after = await there.ask(Trades(symbol=P, after_id=told.trades[1].trade_id))
        assert isinstance(after, TradesAre) and after.trades == told.trades[2:]

    play(tmp_path, story)


def test_the_stream_tells(tmp_path: Path) -> None:
    """Orders and trades come once, by the stream."""

    async def story(there: World) -> None:
        heard: list[Any] = []

        async def listen() -> None:
            async for message in there.client.pushes():
                heard.append(message)

        listening = asyncio.create_task(listen())
        async with asyncio.timeout(5):
            while not any(getattr(one, "up", False) for one in heard):
                await asyncio.sleep(0.01)
            await there.ask(entry(1))
            while not any(isinstance(one, OrderSeen) and one.order.status == "filled" for one in heard):
                await asyncio.sleep(0.01)
            while not any(isinstance(one, TradeSeen) for one in heard):
                await asyncio.sleep(0.01)
        trade = next(one.trade for one in heard if isinstance(one, TradeSeen))
        assert trade.client_id == entry(1).client_id and trade.qty == "0.01"
        listening.cancel()

    play(tmp_path, story, streams=True)


ROWS = (
    (Fault("timeout", label="place", accepted=True), Unknown),
    (Fault("reset", label="place", accepted=True), Unknown),
    (Fault("truncate", label="place"), Unknown),
    (Fault("braces", label="place"), Unknown),
    (Fault("html", label="place"), Unknown),
    (Fault("status", label="place", status=502), Unknown),
    (Fault("status", label="place", status=200, code=10016, text="Server error.", accepted=True), Unknown),
    (Fault("status", label="place", status=200, code=110007, text="ab not enough", accepted=False), Refused),
    (Fault("status", label="place", status=200, code=10006, text="Too many visits.", accepted=False), NotSent),
    (Fault("status", label="place", status=200, code=10002, text="time window", accepted=False), Accepted),
)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0].kind} {row[0].code or row[0].status}" for row in ROWS])
def test_outcomes(tmp_path: Path, row: tuple[Fault, type]) -> None:
    """The same law, by this venue's codes, which come with HTTP 200."""

    async def story(there: World) -> None:
        await there.ask(Balances())
        there.venue.faults.add(Fault(**{**vars(row[0]), "seen": 0}))
        answer = await there.ask(entry(1))
        assert type(answer) is row[1]
        stands = len([one for one in there.venue.engine.orders.values() if one.client_id.startswith(BOT)])
        assert stands == (1 if row[0].accepted or isinstance(answer, Accepted) else 0)
        there.venue.faults.clear()
        if not isinstance(answer, NotSent):
            assert isinstance(await there.ask(Balances()), BalancesAre)

    play(tmp_path, story)


# --- venues whose codes alone are known here: the answer of one endpoint, through their own ccxt class ----------------
@asynccontextmanager
async def stub(folder: Path, name: str, status: int, body: str) -> AsyncIterator[tuple[CcxtAccount, list[str]]]:
    """A account to a venue that answers everything alike, with one market put in by hand."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(f"{request.method} {request.path_qs} {(await request.read()).decode()}")
        return web.Response(status=status, text=body, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    settings = settings_of(activate(folder), {"rest": url}, exchange={"id": name})
    link = Link(settings, Key("stub-key-text", "c3R1Yi1zZWNyZXQ=", "stub-passphrase", "a test"), lambda message: None)
    link.open()
    market = {
        "id": "BTC-USDT", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "baseId": "BTC", "quoteId": "USDT",
        "type": "spot", "spot": True, "active": True, "precision": {"amount": 0.00001, "price": 0.01}, "info": {},
        "limits": {},
    }  # fmt: skip
    link.api.set_markets([link.api.safe_market_structure(market)])
    try:
        yield CcxtAccount(settings, link, lambda message: None, lambda venue_id: ""), seen
    finally:
        await link.close()
        await runner.cleanup()


STUBS = (
    ("okx", 200, {"code": "0", "data": [{"ordId": "7", "clOrdId": "ID", "sCode": "0", "sMsg": ""}]}, "Accepted"),
    ("okx", 200, {"code": "1", "data": [{"sCode": "51008", "sMsg": "Insufficient balance"}], "msg": ""}, "funds"),
    ("okx", 200, {"code": "1", "data": [{"sCode": "51016", "sMsg": "duplicate"}], "msg": ""}, "Unknown"),
    ("okx", 200, {"code": "50013", "data": [], "msg": "System is busy"}, "Unknown"),
    ("okx", 401, {"code": "50113", "data": [], "msg": "Invalid Sign"}, "rights"),
    ("okx", 200, {}, "Unknown"),
    ("kraken", 200, {"error": [], "result": {"txid": ["O"], "descr": {"order": "buy 0.01 X @ market"}}}, "Accepted"),
    ("kraken", 200, {"error": ["EOrder:Insufficient funds"]}, "funds"),
    ("kraken", 200, {"error": ["EService:Unavailable"]}, "Unknown"),
    ("kraken", 200, {"error": [], "result": {}}, "Unknown"),
    ("kraken", 520, {"error": ["EOrder:Insufficient funds"]}, "Unknown"),
    ("bybit", 200, {"retCode": 170131, "retMsg": "Insufficient balance.", "result": {}}, "funds"),
    ("bybit", 200, {"retCode": 0, "retMsg": "OK", "result": {"orderId": "7", "orderLinkId": "other"}}, "Unknown"),
    ("mexc", 400, {"code": 30004, "msg": "Insufficient position"}, "Unknown"),
)  # fmt: skip


@pytest.mark.parametrize("row", STUBS, ids=[f"{row[0]}-{number}" for number, row in enumerate(STUBS)])
def test_stub_venues(tmp_path: Path, row: tuple[str, int, dict[str, Any], str]) -> None:
    """One request leaves, with our client id and quantity; what comes back is read by the venue's own list."""
    name, status, body, wanted = row
    text = json.dumps(body).replace('"ID"', f'"{order().client_id}"')

    async def run() -> None:
        async with stub(tmp_path / "s", name, status, text) as (account, seen):
            answer = await account.place(order(), is_exit=False)
            found = answer.why if isinstance(answer, Refused) else type(answer).__name__
            assert found == wanted
            assert len(seen) == 1 and order().client_id in seen[0] and "0.01" in seen[0] and "50500" not in seen[0]

    asyncio.run(run())
