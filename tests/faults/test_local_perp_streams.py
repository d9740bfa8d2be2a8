"""Streams of the linear venue at unmodified ccxt classes: what they tell, how they break, and the dead man's switch."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.venue.bybit import LocalPerpVenue
from tests.venue.bybit_client import BTC, play, until
from tests.venue.faults import Fault


@asynccontextmanager
async def watched(venue: LocalPerpVenue, *watches: Callable[[], Awaitable[Any]]) -> AsyncIterator[list[list[Any]]]:
    """What each of these `watch_…` brings, call by call; "cut" where the line broke. All of them are subscribed."""
    import ccxt

    async def keep(watch: Callable[[], Awaitable[Any]], told: list[Any]) -> None:
        while True:
            try:
                rows = await watch()
                # Copies: ccxt changes rows that it gave before when there is news of them.
                told.append(
                    [dict(row) if isinstance(row, dict) else row for row in rows] if isinstance(rows, list) else rows
                )
            except ccxt.NetworkError:
                told.append("cut")

    lists: list[list[Any]] = [[] for _ in watches]
    tasks = [asyncio.ensure_future(keep(watch, told)) for watch, told in zip(watches, lists, strict=True)]
    await until(lambda: sum(len(link.topics) for link in venue.streams.links) >= len(watches))
    try:
        yield lists
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def flat(told: list[Any]) -> list[Any]:
    """All rows of all calls."""
    return [row for rows in told if rows != "cut" for row in rows]


async def limit(exchange: Any, name: str, price: float = 49900) -> None:
    """A resting order to buy."""
    await exchange.create_order(BTC, "limit", "buy", 0.1, price, {"clientOrderId": name})


def test_private_streams_tell_of_orders_trades_positions_and_money() -> None:
    """The order's id and client id are the same as over REST. `free` and `used` of the wallet stream mean nothing."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        exchange.options["watchPositions"]["fetchPositionsSnapshot"] = False
        names = ("watch_orders", "watch_my_trades", "watch_positions", "watch_balance")
        async with watched(venue, *(getattr(exchange, name) for name in names)) as (orders, trades, positions, money):
            await exchange.set_leverage(10, BTC)
            await limit(exchange, "entry")
            await until(lambda: orders)  # else ccxt, which keeps one row for each order, may only tell of its end
            venue.set_price("BTCUSDT", "49800")
            await until(lambda: trades and positions and flat(orders)[-1]["status"] == "closed")
            (trade,) = flat(trades)
            assert (trade["price"], trade["takerOrMaker"], trade["fee"]["cost"]) == (49900, "maker", 0.998)
            assert trade["info"]["orderLinkId"] == "entry"
            assert trade["id"] == (await exchange.fetch_my_trades())[0]["id"]
            assert [one["status"] for one in flat(orders)] == ["open", "closed"]
            assert flat(positions)[-1]["contracts"] == 0.1 and flat(positions)[-1]["side"] == "long"
            venue.pay_funding("BTCUSDT", "0.0001")
            venue.set_price("BTCUSDT", "40000")  # below the liquidation price
            # Of messages that come together `watch_positions` and `watch_balance` bring the first; the rest is kept.
            await until(lambda: len({one["id"] for one in flat(trades)}) == 2)
            bust = flat(trades)[-1]
            assert bust["info"]["execType"] == "BustTrade" and bust["side"] == "sell"  # this stream does tell of it
            await until(lambda: exchange.positions[-1]["contracts"] == 0)
            await until(lambda: exchange.balance["unified"]["USDT"]["total"] == 99499.504)
            assert money[-1]["USDT"]["used"] == 0

    play(story, pro=True)


def test_public_streams_tell_of_prices_bars_book_and_trades() -> None:
    """A bar is told while it forms and when it is closed."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        watches = (
            lambda: exchange.watch_ticker(BTC), lambda: exchange.watch_ohlcv(BTC, "1m"),
            lambda: exchange.watch_order_book(BTC), lambda: exchange.watch_trades(BTC),
        )  # fmt: skip
        async with watched(venue, *watches) as (tickers, bars, books, trades):
            venue.set_price("BTCUSDT", "50500")
            venue.bar("BTCUSDT", "1m", 60_000, [1, 3, 1, 2, 5], closed=False)
            venue.bar("BTCUSDT", "1m", 60_000, [1, 4, 1, 3, 6])
            venue.foreign("BTCUSDT", "sell", "market", "0.2")
            await until(lambda: trades and tickers and books[-1]["bids"][0][0] == 50499.9)
            await until(lambda: bars and bars[-1][-1] == [60_000, 1, 4, 1, 3, 6])
            await until(lambda: tickers[-1]["last"] == 50500)  # the first may tell of the price before
            assert tickers[-1]["info"]["fundingRate"] == "0.0001"
            assert (trades[-1][-1]["amount"], trades[-1][-1]["side"]) == (0.2, "sell")

    play(story, pro=True)


def test_prices_can_make_bars() -> None:
    """By the venue's clock: a minute later the bar before is told once more, and a quiet minute is flat."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        venue.set_price("BTCUSDT", "50700")
        first = (await exchange.fetch_ohlcv(BTC, "1m"))[-1]
        assert first[1:] == [50000, 50700, 50000, 50700, 0]
        venue.offset_ms += 120_000
        venue.set_price("BTCUSDT", "50300")
        bars = await exchange.fetch_ohlcv(BTC, "1m")
        assert [bar[1:5] for bar in bars[-2:]] == [[50700] * 4, [50300] * 4]
        assert (bars[-1][0] - first[0]) // 60_000 == 2

    play(story, make_bars=True)


def test_a_cut_stream_misses_what_happened_meanwhile() -> None:
    """It comes back by itself and tells of what comes then; REST knows the rest."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        async with watched(venue, exchange.watch_my_trades, exchange.watch_orders) as (trades, orders):
            await limit(exchange, "before")
            venue.faults.add(Fault("status", "dial:user", status=503, times=2))
            assert venue.streams.cut("user") == 1
            venue.set_price("BTCUSDT", "49800")
            await until(lambda: "cut" in trades and "cut" in orders)
            await until(lambda: any("execution" in link.topics for link in venue.streams.links))
            assert flat(trades) == [] and (await exchange.fetch_my_trades(BTC))[0]["info"]["orderLinkId"] == "before"
            venue.foreign("BTCUSDT", "buy", "market", "0.2")
            await until(lambda: flat(trades))
            assert flat(trades)[0]["amount"] == 0.2

    play(story, pro=True)


@pytest.mark.parametrize("kind", ["drop", "duplicate", "reorder", "delay", "disconnect", "garbage"])
def test_messages_go_wrong(kind: str) -> None:
    """Each fault of a message hits the first of two trades; ccxt keeps a repeated one once.

    One that isn't JSON ends ccxt's reading without a word: it is deaf until its pings go unanswered.
    """

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        async with watched(venue, exchange.watch_my_trades) as (trades,):
            venue.faults.add(Fault(kind, "user:TRADE", seconds=0.05))
            venue.foreign("BTCUSDT", "buy", "market", "0.1")
            if kind in ("disconnect", "garbage"):
                old = list(venue.streams.links)
                await until(lambda: "cut" in trades)
                await until(lambda: any(link.topics for link in venue.streams.links if link not in old))
            venue.foreign("BTCUSDT", "buy", "market", "0.2")
            whole = {"drop": 1, "garbage": 1, "disconnect": 1}.get(kind, 2)
            await until(lambda: len({one["id"] for one in flat(trades)}) >= whole)
            seen = list(dict.fromkeys(one["amount"] for one in flat(trades)))
            assert seen == {"reorder": [0.2, 0.1], "delay": [0.2, 0.1], "duplicate": [0.1, 0.2]}.get(kind, [0.2])
            assert len(exchange.myTrades) == whole

    config = {"streaming": {"keepAlive": 100}} if kind == "garbage" else {}
    assert len(play(story, pro=True, config=config).trades()) == 2


def test_who_is_let_in() -> None:
    """A wrong secret isn't; ccxt raises ExchangeError then, not AuthenticationError. An unknown topic isn't served."""
    import ccxt

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        secret, exchange.secret = exchange.secret, "wrong"
        exchange.options |= {"enableUnifiedMargin": False, "enableUnifiedAccount": True}
        with pytest.raises(ccxt.ExchangeError, match="Sign error") as refused:
            await exchange.watch_orders()
        assert not isinstance(refused.value, ccxt.AuthenticationError)
        exchange.secret = secret
        with pytest.raises(ccxt.ExchangeError, match="handler not found"):
            await exchange.watch_topics(venue.ws_url, ["nothing"], ["kline.7.BTCUSDT"])

    play(story, pro=True)


# --- the dead man's switch --------------------------------------------------------------------------------------------
async def arm(venue: LocalPerpVenue, exchange: Any) -> asyncio.Future[Any]:
    """Subscribe its topic beside the others, and set it to three of the venue's seconds."""
    watch: asyncio.Future[Any] = asyncio.ensure_future(exchange.watch_topics(venue.user_url, ["dcp"], ["dcp.future"]))
    await until(lambda: any("dcp.future" in link.topics for link in venue.streams.links))
    assert (await exchange.cancel_all_orders_after(3000))["retCode"] == 0
    return watch


async def gone(watch: asyncio.Future[Any]) -> None:
    """Let a watch end with its line."""
    import ccxt

    with pytest.raises(ccxt.NetworkError):
        await watch


def test_the_switch_runs_from_the_end_of_the_last_private_stream() -> None:
    """It is no countdown: nothing happens while the stream stands, however long ago it was set."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        await limit(exchange, "entry", 40000)
        await exchange.authenticate(venue.user_url)
        watch = await arm(venue, exchange)
        await asyncio.sleep(0.06)
        assert venue.engine.open_orders()
        venue.streams.cut("user")
        await gone(watch)
        assert venue.engine.open_orders()
        await until(lambda: not venue.engine.open_orders())
        (entry,) = await exchange.fetch_open_orders(BTC, params={"orderLinkId": "entry"})
        assert entry["status"] == "canceled" and entry["info"]["cancelType"] == "CancelByDCP"

    assert play(story, pro=True, second=0.01).dcp_fired == 1


def test_the_switch_is_stopped_by_a_stream_that_comes_back() -> None:
    """In time, and with the topic."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        await limit(exchange, "entry", 40000)
        await exchange.authenticate(venue.user_url)
        watch = await arm(venue, exchange)
        venue.streams.cut("user")
        await gone(watch)
        await exchange.authenticate(venue.user_url)
        watch = await arm(venue, exchange)
        await asyncio.sleep(0.2)
        assert venue.engine.open_orders() and not venue.dcp_fired
        watch.cancel()

    play(story, pro=True, second=0.05)


@pytest.mark.parametrize(("topic", "setup", "fired"), [(False, {}, 0), (True, {"dcp": False}, 0)])
def test_the_switch_never_fires_without_its_topic_or_where_it_wasnt_enabled(
    topic: bool, setup: dict[str, Any], fired: int
) -> None:
    """Setting it is acknowledged all the same: only `query-dcp-info` tells."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        await limit(exchange, "entry", 40000)
        await exchange.authenticate(venue.user_url)
        if topic:
            watch = await arm(venue, exchange)
        else:
            assert (await exchange.cancel_all_orders_after(3000))["retCode"] == 0
        info = (await exchange.privateGetV5AccountQueryDcpInfo())["result"]["dcpInfos"]
        assert [one["product"] for one in info] == ([] if setup else ["DERIVATIVES"])
        venue.streams.cut("user")
        if topic:
            await gone(watch)
        await asyncio.sleep(0.08)
        assert venue.dcp_fired == fired and venue.engine.open_orders()

    play(story, pro=True, second=0.01, **setup)


def test_the_switch_can_spare_stops_and_cant_be_disarmed() -> None:
    """A window outside 3 to 300 seconds is refused, so 0 doesn't disarm it."""
    import ccxt

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        for window in (0, 2000, 301_000):
            with pytest.raises(ccxt.BadRequest):
                await exchange.cancel_all_orders_after(window)
        await limit(exchange, "entry", 40000)
        rules = {"triggerPrice": 55000, "triggerDirection": "ascending", "clientOrderId": "stop"}
        await exchange.create_order(BTC, "market", "buy", 0.1, None, rules)
        await exchange.authenticate(venue.user_url)
        watch = await arm(venue, exchange)
        venue.streams.cut("user")
        await gone(watch)
        await until(lambda: venue.dcp_fired)
        assert [one.client_id for one in venue.engine.open_orders()] == ["stop"]

    play(story, pro=True, second=0.01, dcp_filter="Order")
