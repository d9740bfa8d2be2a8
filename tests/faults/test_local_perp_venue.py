"""Unmodified ccxt classes trade perpetuals at the local venue: orders, stops, positions, funding, liquidation."""

from decimal import Decimal as D
from typing import Any

import pytest

from tests.venue.bybit import LocalPerpVenue
from tests.venue.bybit_auth import Key
from tests.venue.bybit_client import BTC, ETH, play
from tests.venue.records import ZERO


def code(error: Any) -> str:
    """The venue's own code in what ccxt raised."""
    return str(error.value).split('"retCode":')[1].split(",")[0].strip()


def collateral(venue: LocalPerpVenue) -> D:
    """All USDT of the account: free, locked and in positions."""
    account = venue.engine.account()
    return account.total("USDT") + sum((one.margin for one in account.positions.values()), ZERO)


async def order(exchange: Any, side: str, qty: float, name: str, **params: Any) -> Any:
    """A market order, or a limit one when `price` is given, by its client id."""
    price = params.pop("price", None)
    kind = "market" if price is None else "limit"
    return await exchange.create_order(BTC, kind, side, qty, price, {"clientOrderId": name, **params})


async def found(exchange: Any, name: str) -> Any:
    """One order by its client id, whatever became of it."""
    (one,) = await exchange.fetch_open_orders(BTC, params={"orderLinkId": name})
    return one


def test_public_facts() -> None:
    """Time, grid, tickers, bars, book, funding rates and tiers, without a key."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        market = exchange.market(BTC)
        assert market["swap"] and market["linear"] and market["active"] and market["settle"] == "USDT"
        assert market["precision"] == {**market["precision"], "price": 0.1, "amount": 0.001}
        assert market["limits"]["cost"]["min"] == 5 and market["limits"]["leverage"]["max"] == 100
        assert abs(await exchange.fetch_time() - venue.now_ms()) < 1000
        ticker = await exchange.fetch_ticker(BTC)
        assert (ticker["last"], ticker["bid"], ticker["ask"]) == (50000, 49999.9, 50000.1)
        assert set(await exchange.fetch_tickers()) == {BTC, ETH}
        for minute in range(3):
            venue.bar("BTCUSDT", "1m", 600_000 + minute * 60_000, [1, 3, 1, 2 + minute, 5])
        bars = await exchange.fetch_ohlcv(BTC, "1m", 660_000, 10)
        assert bars == [[660_000, 1, 3, 1, 3, 5], [720_000, 1, 3, 1, 4, 5]]
        assert (await exchange.fetch_ohlcv(BTC, "1m", None, 1))[0][0] == 720_000
        assert (await exchange.fetch_order_book(BTC))["asks"][0][0] == 50000.1
        venue.pay_funding("BTCUSDT", "0.0003")
        assert (await exchange.fetch_funding_rate_history(BTC))[0]["fundingRate"] == 0.0003
        assert (await exchange.fetch_funding_rate(BTC))["fundingRate"] == 0.0001
        assert (await exchange.fetch_market_leverage_tiers(BTC))[0]["maintenanceMarginRate"] == 0.005
        await venue.command({"do": "status", "symbol": "ETHUSDT", "status": "DELISTED"})
        assert ETH not in await exchange.load_markets(True)

    play(story)


def test_a_market_order_becomes_a_position() -> None:
    """Order, trade, position and wallet agree with each other and with the venue."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        await exchange.set_leverage(5, BTC)
        made = await order(exchange, "buy", 0.1, "a" * 32)
        assert made["id"] and made["clientOrderId"] == "a" * 32 and made["status"] is None  # an ack, no more
        one = await found(exchange, "a" * 32)
        assert (one["status"], one["filled"], one["average"]) == ("closed", 0.1, 50000.1)
        assert one["fee"] == {"cost": 2.7500055, "currency": "USDT"}
        (trade,) = await exchange.fetch_my_trades(BTC)
        assert trade["order"] == made["id"] and trade["takerOrMaker"] == "taker"
        assert trade["info"]["orderLinkId"] == "a" * 32 and trade["fee"]["cost"] == 2.7500055
        (position,) = await exchange.fetch_positions()
        assert (position["contracts"], position["side"], position["leverage"]) == (0.1, "long", 5)
        assert position["entryPrice"] == 50000.1 and position["initialMargin"] == 1000.002
        assert position["liquidationPrice"] == 40201 and position["hedged"] is False
        money = (await exchange.fetch_balance())["USDT"]
        assert money["total"] == pytest.approx(100_000 - 2.7500055) and money["used"] == 1000.002
        assert money["free"] == pytest.approx(money["total"] - money["used"])

    venue = play(story)
    assert collateral(venue) == D(100_000) - D("2.7500055")


def test_one_order_by_its_client_id() -> None:
    """Open or closed. `fetch_order(None, …)` sends the id "None", which comes before the client id: never found."""
    import ccxt

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        await order(exchange, "buy", 0.1, "resting", price=40000)
        known = {"orderLinkId": "resting", "acknowledged": True}
        assert (await exchange.fetch_order("", BTC, known))["status"] == "open"
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.fetch_order(None, BTC, known)
        assert (await exchange.fetch_open_order("", BTC, {"orderLinkId": "resting"}))["price"] == 40000
        await exchange.cancel_order("", BTC, {"orderLinkId": "resting"})
        gone = await found(exchange, "resting")
        assert gone["status"] == "canceled" and gone["info"]["cancelType"] == "CancelByUser"
        assert await exchange.fetch_open_orders(BTC) == []
        assert (await exchange.fetch_canceled_orders(BTC))[0]["clientOrderId"] == "resting"
        assert await exchange.fetch_closed_orders(BTC) == []
        with pytest.raises(ccxt.OrderNotFound) as refused:
            await exchange.cancel_order("", BTC, {"orderLinkId": "resting"})
        assert code(refused) == "110001"
        assert await exchange.fetch_open_orders(BTC, params={"orderLinkId": "nobody's"}) == []

    play(story)


def test_orders_that_end_at_once() -> None:
    """The ack says nothing of it: a post-only that would take, and what an IOC or FOK doesn't find."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        venue.engine.set_depth("BTCUSDT", "0.05", step="1", count=2)
        await order(exchange, "buy", 0.1, "would-take", price=50010, postOnly=True)
        gone = await found(exchange, "would-take")
        assert gone["status"] == "canceled" and gone["info"]["rejectReason"] == "EC_PostOnlyWillTakeLiquidity"
        await order(exchange, "buy", 0.1, "rests", price=49990, postOnly=True)
        assert (await found(exchange, "rests"))["status"] == "open"
        await order(exchange, "buy", 0.2, "fok", price=50010, timeInForce="FOK")
        assert (await found(exchange, "fok"))["filled"] == 0
        await order(exchange, "buy", 0.2, "market")
        part = await found(exchange, "market")
        assert (part["status"], part["filled"]) == ("canceled", 0.1)  # canceled, and traded all the same
        assert part["info"]["rejectReason"] == "EC_NoImmediateQtyToFill"

    play(story)


DENIED: list[tuple[str, str, dict[str, Any]]] = [
    ("InvalidOrder", "110094", {"qty": 0.001, "price": 4000}),
    ("InvalidOrder", "110003", {"qty": 0.1, "price": 200_000}),
    ("InsufficientFunds", "110007", {"qty": 5}),
    ("InvalidOrder", "110072", {"qty": 0.1, "price": 40000, "clientOrderId": "first"}),
    ("InvalidOrder", "110017", {"qty": 0.1, "reduceOnly": True}),
    ("BadRequest", "10001", {"qty": 0.1, "positionIdx": 1}),
    ("BadRequest", "10001", {"qty": 0.1, "clientOrderId": "x" * 37}),
    ("InvalidOrder", "110092", {"qty": 0.1, "triggerPrice": 49000, "triggerDirection": "ascending"}),
    ("InvalidOrder", "110093", {"qty": 0.1, "triggerPrice": 51000, "triggerDirection": "descending"}),
]


def test_what_is_denied_leaves_nothing_behind() -> None:
    """Each with the venue's own code, and no order."""
    import ccxt

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        await order(exchange, "buy", 0.1, "first", price=40000)
        for kind, number, given in DENIED:
            arguments = {"name": "denied", **given}
            with pytest.raises(getattr(ccxt, kind)) as refused:
                await order(exchange, "buy", arguments.pop("qty"), arguments.pop("name"), **arguments)
            assert code(refused) == number, given
        await venue.command({"do": "status", "symbol": "BTCUSDT", "status": "BREAK"})
        with pytest.raises(ccxt.ExchangeError) as refused:
            await order(exchange, "buy", 0.1, "halted")
        assert code(refused) == "110066"

    venue = play(story)
    assert [one.client_id for one in venue.orders()] == ["first"]


def test_a_stop_triggers_under_its_own_id() -> None:
    """Untriggered it is open and takes no collateral; triggered it closes the position."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        await order(exchange, "buy", 0.1, "entry")
        free = venue.engine.account().free["USDT"]
        for name, price, way in (("stop", 48000, "descending"), ("profit", 53000, "ascending")):
            rules = {"triggerPrice": price, "triggerDirection": way, "reduceOnly": True, "closeOnTrigger": True}
            await order(exchange, "sell", 0.1, name, **rules)
        waiting = await exchange.fetch_open_orders(BTC, params={"trigger": True})
        assert {one["clientOrderId"]: one["triggerPrice"] for one in waiting} == {"stop": 48000, "profit": 53000}
        assert waiting[0]["info"]["orderStatus"] == "Untriggered" and waiting[0]["reduceOnly"] is True
        assert venue.engine.account().free["USDT"] == free
        venue.set_price("BTCUSDT", "47000")
        stop = await found(exchange, "stop")
        assert (stop["status"], stop["filled"], stop["average"]) == ("closed", 0.1, 46999.9)
        assert await exchange.fetch_positions() == []
        assert (await found(exchange, "profit"))["status"] == "open"  # it outlives the position
        venue.set_price("BTCUSDT", "54000")
        late = await found(exchange, "profit")
        assert late["status"] == "canceled" and late["filled"] == 0

    venue = play(story)
    assert not venue.truth()["positions"]


def test_a_venue_that_clears_stops_with_the_position() -> None:
    """The other way that venues have."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        await order(exchange, "buy", 0.1, "entry")
        await order(exchange, "sell", 0.1, "stop", stopLossPrice=48000)
        await order(exchange, "sell", 0.1, "exit", reduceOnly=True)
        stop = await found(exchange, "stop")
        assert stop["info"]["orderStatus"] == "Deactivated" and stop["info"]["cancelType"] == "CancelByReduceOnly"

    play(story, stops_survive=False)


def test_reduce_only_never_turns_a_position() -> None:
    """More than the position is cut to it, also by other exits that wait; an order without it does turn."""
    import ccxt

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        await order(exchange, "buy", 0.1, "entry")
        await order(exchange, "sell", 0.04, "waiting", price=52000, reduceOnly=True)
        await order(exchange, "sell", 0.5, "rest", price=53000, reduceOnly=True)
        assert (await found(exchange, "rest"))["amount"] == 0.06
        with pytest.raises(ccxt.InvalidOrder) as refused:
            await order(exchange, "sell", 0.01, "more", reduceOnly=True)
        assert code(refused) == "110017"
        await exchange.cancel_all_orders(BTC)
        await order(exchange, "sell", 0.5, "all", reduceOnly=True)
        assert (await found(exchange, "all"))["filled"] == 0.1 and await exchange.fetch_positions() == []
        await order(exchange, "buy", 0.1, "again")
        await order(exchange, "sell", 0.15, "turn")
        (position,) = await exchange.fetch_positions([BTC])
        assert (position["side"], position["contracts"]) == ("short", 0.05)

    play(story)


def test_settings_of_the_account() -> None:
    """Leverage, one-way mode, isolated margin; a flat position is told of when asked by its symbol."""
    import ccxt

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        await exchange.set_leverage(10, BTC)
        assert (await exchange.fetch_leverage(BTC))["longLeverage"] == 10
        for leverage, kind, number in ((10, "BadRequest", "110043"), (101, "BadRequest", "110013")):
            with pytest.raises(getattr(ccxt, kind)) as refused:
                await exchange.set_leverage(leverage, BTC)
            assert code(refused) == number
        with pytest.raises(ccxt.NoChange):
            await exchange.set_position_mode(False, BTC)
        with pytest.raises(ccxt.BadRequest) as refused:
            await exchange.set_position_mode(True, BTC)
        assert code(refused) == "110029"
        assert (await exchange.set_margin_mode("isolated", BTC))["retCode"] == 0
        flat = await exchange.fetch_position(BTC)
        assert flat["contracts"] == 0 and flat["side"] is None and flat["leverage"] == 10
        assert (await exchange.fetch_trading_fee(BTC))["taker"] == 0.00055

    play(story)


def test_funding_moves_money_and_is_told_as_an_execution() -> None:
    """The long pays the rate at the mark price, the short gets it; it isn't among the trades."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        await order(exchange, "buy", 0.1, "long")
        await exchange.create_order(ETH, "market", "sell", 2, None, {"clientOrderId": "short"})
        before = collateral(venue)
        await venue.command({"do": "mark", "symbol": "BTCUSDT", "price": "50100"})
        venue.pay_funding("BTCUSDT", "0.0001")
        await venue.command({"do": "funding", "symbol": "ETHUSDT", "rate": "0.0002"})
        paid = {one["symbol"]: one["amount"] for one in await exchange.fetch_funding_history()}
        assert paid == {BTC: 0.501, ETH: -0.8}
        assert before - collateral(venue) == D("0.501") - D("0.8")
        assert len(await exchange.fetch_my_trades()) == 2
        assert len(await exchange.fetch_my_trades(params={"execType": ""})) == 4

    play(story)


def test_liquidation_takes_the_margin_and_the_orders() -> None:
    """It goes by the mark price. ccxt's `fetch_my_trades` asks for trades only and never tells of it."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        await exchange.set_leverage(20, BTC)
        await order(exchange, "buy", 0.1, "long")
        await order(exchange, "sell", 0.1, "stop", stopLossPrice=47000)
        margin, before = venue.engine.account().position("BTCUSDT").margin, collateral(venue)
        level = (await exchange.fetch_position(BTC))["liquidationPrice"]
        venue.set_price("BTCUSDT", "49000", mark=level + 0.1)
        assert len(await exchange.fetch_positions()) == 1
        venue.set_price("BTCUSDT", "49000", mark=level)
        assert await exchange.fetch_positions() == [] and collateral(venue) == before - margin
        stop = await found(exchange, "stop")
        assert stop["status"] != "open" and stop["info"]["cancelType"] == "CancelAllBeforeLiq"
        assert len(await exchange.fetch_my_trades(BTC)) == 1
        (bust,) = await exchange.fetch_my_trades(BTC, params={"execType": "BustTrade"})
        assert (bust["side"], bust["amount"], bust["info"]["orderLinkId"]) == ("sell", 0.1, "")
        assert bust["info"]["createType"] == "CreateByTakeOver_PassThrough"

    play(story)


def test_trades_and_orders_come_in_pages() -> None:
    """Newest first; without a limit 50 trades and 20 orders, whatever there is."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        for _ in range(60):
            venue.engine.place("BTCUSDT", "buy", "market", "0.001", venue.now_ms())
            venue.engine.place("BTCUSDT", "sell", "market", "0.001", venue.now_ms())
        for number in range(25):
            await order(exchange, "buy", 0.001, f"resting-{number}", price=30000 + number)
        newest = await exchange.fetch_my_trades(BTC)
        assert len(newest) == 50 and max(int(one["info"]["seq"]) for one in newest) == 120
        everything = await exchange.fetch_my_trades(BTC, params={"paginate": True})
        # Trades of the same millisecond come in any order: `seq` has the venue's.
        assert sorted(int(one["info"]["seq"]) for one in everything) == list(range(1, 121))
        assert len(await exchange.fetch_open_orders(BTC)) == 20
        assert len(await exchange.fetch_open_orders(BTC, None, 50)) == 25
        assert len(await exchange.fetch_open_orders(params={"paginate": True})) == 25
        first = await exchange.fetch_my_trades(BTC, None, 100)
        cursor = next(one["info"]["nextPageCursor"] for one in first if "nextPageCursor" in one["info"])
        assert len(await exchange.fetch_my_trades(BTC, None, 100, {"cursor": cursor})) == 20
        week = 7 * 86_400_000
        assert await exchange.fetch_my_trades(BTC, venue.now_ms() - 3 * week) == []  # the span ends after seven days
        venue.offset_ms = 8 * 86_400_000.0
        exchange.options["timeDifference"] = -8 * 86_400_000
        assert await exchange.fetch_my_trades(BTC) == []

    play(story)


def test_cancelling_many() -> None:
    """By symbol, by settle coin, active ones only, and by a list of client ids."""

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        async def both(tail: str) -> None:
            await order(exchange, "buy", 0.1, f"active-{tail}", price=40000)
            await order(exchange, "buy", 0.1, f"stop-{tail}", triggerPrice=55000, triggerDirection="ascending")

        await both("1")
        await exchange.cancel_all_orders(BTC, {"orderFilter": "Order"})
        assert [one.client_id for one in venue.engine.open_orders()] == ["stop-1"]
        await both("2")
        assert len(await exchange.cancel_all_orders()) == 3 and not venue.engine.open_orders()
        await both("3")
        await exchange.cancel_orders([], BTC, {"clientOrderIds": ["active-3", "nobody's"]})
        assert [one.client_id for one in venue.engine.open_orders()] == ["stop-3"]

    play(story)


def test_what_a_key_may_do() -> None:
    """It says so itself: trading, and taking money out."""
    import ccxt

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        info = (await exchange.privateGetV5UserQueryApi())["result"]
        assert info["readOnly"] in (0, "0") and "Withdraw" not in info["permissions"]["Wallet"]
        assert info["permissions"]["ContractTrade"] == ["Order", "Position"] and info["secret"] == ""
        await venue.command({"do": "key", "api_key": venue.key.api, "trade": False, "withdraw": True})
        info = (await exchange.privateGetV5UserQueryApi())["result"]
        assert "Withdraw" in info["permissions"]["Wallet"] and not info["permissions"]["ContractTrade"]
        with pytest.raises(ccxt.PermissionDenied):
            await order(exchange, "buy", 0.1, "denied")
        await venue.command({"do": "key", "api_key": venue.key.api, "revoked": True})
        with pytest.raises(ccxt.AuthenticationError):
            await exchange.fetch_balance()

    assert not play(story, key=Key(api="other", secret="key")).orders()


def test_signatures_and_clocks() -> None:
    """A wrong secret is refused; so is a time stamp outside recv_window, until the clocks are compared."""
    import ccxt

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        for offset in (6000.0, -1500.0):
            venue.offset_ms = offset
            with pytest.raises(ccxt.InvalidNonce) as refused:
                await order(exchange, "buy", 0.1, "stale")
            assert code(refused) == "10002"
            await exchange.load_time_difference()
            await exchange.fetch_balance()
            exchange.options["timeDifference"] = 0
        venue.offset_ms = 0.0
        exchange.secret = "wrong"
        with pytest.raises(ccxt.AuthenticationError) as refused:
            await order(exchange, "buy", 0.1, "forged")
        assert code(refused) == "10004"

    assert not play(story).orders()
