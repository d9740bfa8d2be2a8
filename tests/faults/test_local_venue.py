"""Unmodified ccxt classes reach the local venue: markets, orders, trades, balances and bars over REST."""

import asyncio
import hashlib
import hmac
import json
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.venue.client import ccxt_at
from tests.venue.remote import RemoteVenue
from tests.venue.server import API_KEY, SECRET, LocalVenue

BTC = "BTC/USDT"
MONEY = {"USDT": "100000", "BTC": "2"}
PRICES = {"BTCUSDT": "50000", "ETHUSDT": "2000", "BNBUSDT": "500"}
Play = Callable[[LocalVenue, Any], Awaitable[None]]


def play(story: Play, *, pro: bool = False, **config: Any) -> LocalVenue:
    """A story between a venue and a client; the venue as it was left."""

    async def run() -> LocalVenue:
        async with LocalVenue(balances=MONEY, prices=PRICES) as venue, ccxt_at(venue, pro=pro, **config) as exchange:
            await story(venue, exchange)
            return venue

    return asyncio.run(run())


def test_markets_carry_grid_filters_and_state() -> None:
    """A halted market isn't active, a delisted one is gone."""

    async def story(venue: LocalVenue, exchange: Any) -> None:
        market = exchange.market(BTC)
        assert market["precision"]["price"] == 0.01 and market["precision"]["amount"] == 0.00001
        assert market["limits"]["cost"]["min"] == 5 and market["active"] and market["spot"]
        await venue.command({"do": "status", "symbol": "ETHUSDT", "status": "BREAK"})
        await venue.command({"do": "status", "symbol": "SOLUSDT", "status": "DELISTED"})
        markets = await exchange.load_markets(True)
        assert not markets["ETH/USDT"]["active"] and "SOL/USDT" not in markets
        assert abs(await exchange.fetch_time() - venue.now_ms()) < 1000
        assert (await exchange.fetch_ticker(BTC))["last"] == 50000
        assert (await exchange.fetch_order_book(BTC))["asks"][0][0] == 50000.01

    play(story)


def test_nothing_of_the_client_leads_anywhere_else() -> None:
    """Every endpoint of the class is replaced."""

    async def story(venue: LocalVenue, exchange: Any) -> None:
        urls = exchange.urls["api"]
        flat = [*(url for name, url in urls.items() if name != "ws"), *urls["ws"]["ws-api"].values()]
        flat += [url for name, url in urls["ws"].items() if name != "ws-api"]
        assert len(flat) > 30 and all("://127.0.0.1:" in url for url in flat)

    play(story, pro=True)


def test_orders_of_every_kind_live_and_end() -> None:
    """Market, limit, post-only, stop and take-profit; found by client id, cancelled by it."""

    async def story(venue: LocalVenue, exchange: Any) -> None:
        ids = [f"{number:032x}" for number in range(6)]
        done = await exchange.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": ids[0]})
        assert done["status"] == "closed" and done["fee"]["currency"] == "BTC" and done["clientOrderId"] == ids[0]
        kinds: list[tuple[str, str, str, float | None, dict[str, Any]]] = [
            (ids[1], "limit", "buy", 45000, {}),
            (ids[2], "limit", "buy", 45000, {"postOnly": True}),
            (ids[3], "market", "sell", None, {"stopLossPrice": 48000}),
            (ids[4], "limit", "sell", 47900, {"stopLossPrice": 48000}),
            (ids[5], "market", "sell", None, {"takeProfitPrice": 60000}),
        ]
        for number, kind, side, limit, more in kinds:
            made = await exchange.create_order(BTC, kind, side, 0.01, limit, {"clientOrderId": number, **more})
            found = await exchange.fetch_order(None, BTC, {"origClientOrderId": number})
            assert found["id"] == made["id"] and found["status"] == "open" and found["clientOrderId"] == number
        assert found["takeProfitPrice"] == 60000 and found["info"]["type"] == "TAKE_PROFIT"
        balance = await exchange.fetch_balance()
        assert balance["BTC"]["used"] == 0.03 and balance["USDT"]["used"] == 900
        assert len(await exchange.fetch_open_orders(BTC)) == len(await exchange.fetch_open_orders()) == 5
        await exchange.cancel_order(None, BTC, {"origClientOrderId": ids[1]})
        venue.set_price("BTCUSDT", 47950)
        states = {one["clientOrderId"]: one["status"] for one in await exchange.fetch_orders(BTC)}
        assert list(states.values()) == ["closed", "canceled", "open", "closed", "closed", "open"]
        await exchange.cancel_all_orders(BTC)
        trap = await exchange.create_order(BTC, "market", "buy", 0.01, 47000)  # ccxt sends an amount of quote
        assert trap["filled"] == 0.0098 and venue.orders()[-1].quote_qty == 470
        assert not await exchange.fetch_open_orders(BTC)

    venue = play(story)
    assert [one.kind for one in venue.orders() if one.status == "FILLED"] == ["market", "stop", "stop-limit", "market"]
    assert venue.engine.account().locked["BTC"] == venue.engine.account().locked["USDT"] == 0


def test_refusals_have_the_venues_codes() -> None:
    """What is refused left nothing at the venue."""
    import ccxt

    table: list[tuple[type[Exception], int, tuple[Any, ...]]] = [
        (ccxt.InsufficientFunds, -2010, ("market", "buy", 100, None, {})),
        (ccxt.OrderImmediatelyFillable, -2010, ("limit", "buy", 0.01, 51000, {"postOnly": True})),
        (ccxt.BadRequest, -1013, ("limit", "buy", 0.00011, 45000, {})),
        (ccxt.InvalidOrder, -1013, ("limit", "buy", 0.01, 9000, {})),
        (ccxt.InvalidOrder, -2010, ("market", "sell", 0.01, None, {"stopLossPrice": 51000})),
        (ccxt.BadRequest, -1100, ("limit", "buy", -1, 45000, {})),
    ]

    async def story(venue: LocalVenue, exchange: Any) -> None:
        for error, code, (kind, side, amount, price, more) in table:
            with pytest.raises(error):
                await exchange.create_order(BTC, kind, side, amount, price, more)
            assert venue.requests[-1]["code"] == code == json.loads(exchange.last_http_response)["code"]

    assert not play(story).orders()


def test_trades_page_by_id_time_and_limit() -> None:
    """From an id on, from a time on, or the newest."""

    async def story(venue: LocalVenue, exchange: Any) -> None:
        for _ in range(5):
            await exchange.create_order(BTC, "market", "buy", 0.01)
        ids = [one["id"] for one in await exchange.fetch_my_trades(BTC, None, 2)]
        assert ids == ["4", "5"]
        ids = [one["id"] for one in await exchange.fetch_my_trades(BTC, None, 2, {"fromId": 2})]
        assert ids == ["2", "3"]
        ids = [one["id"] for one in await exchange.fetch_my_trades(BTC, venue.now_ms() - 60_000, 3)]
        assert ids == ["1", "2", "3"]
        (one, *_) = await exchange.fetch_my_trades(BTC, None, 1)
        assert one["fee"] == {"currency": "BTC", "cost": 0.00001} and one["takerOrMaker"] == "taker"
        await exchange.create_order("ETH/USDT", "market", "buy", 1)
        (other,) = await exchange.fetch_my_trades("ETH/USDT")
        assert other["id"] == "1", "trade ids count by symbol"

    play(story)


def test_bars_are_given_as_they_are() -> None:
    """Also those that no honest venue has: NaN, negative, twice, revised."""

    async def story(venue: LocalVenue, exchange: Any) -> None:
        start = 1_700_000_000_000 // 60_000 * 60_000
        for number in range(4):
            venue.bar("BTCUSDT", "1m", start + number * 60_000, (1, 2, 0.5, 1.5, 10 + number))
        rows = await exchange.fetch_ohlcv(BTC, "1m", start + 60_000, 2)
        assert rows == [[start + 60_000, 1, 2, 0.5, 1.5, 11], [start + 120_000, 1, 2, 0.5, 1.5, 12]]
        venue.bar("BTCUSDT", "1m", start + 180_000, (1, 2, 0.5, "NaN", -1))
        venue.bar("BTCUSDT", "1m", start + 180_000, (1, 2, 0.5, 1.7, 14), twice=True)
        rows = await exchange.fetch_ohlcv(BTC, "1m", None, 2)
        assert rows[0][4] != rows[0][4] and rows[0][5] == -1 and rows[1][0] == rows[0][0] and rows[1][4] == 1.7

    play(story)


def test_fees_foreign_orders_and_moved_coins_show_in_balances() -> None:
    """What others do on the account can be told apart by client ids only."""

    async def story(venue: LocalVenue, exchange: Any) -> None:
        await venue.command({"do": "deposit", "coin": "BNB", "amount": "1"})
        await venue.command({"do": "fee-coin", "coin": "BNB"})
        made = await exchange.create_order(BTC, "market", "buy", 0.1)
        assert made["fee"]["currency"] == "BNB" and made["fee"]["cost"] == pytest.approx(0.0075)
        hand = venue.foreign("BTCUSDT", "sell", "limit", "1", limit="60000")
        venue.foreign("BTCUSDT", "sell", "market", "0.5")
        await venue.command({"do": "deposit", "coin": "BTC", "amount": "-0.25"})
        (standing,) = await exchange.fetch_open_orders(BTC)
        assert standing["clientOrderId"] == hand.client_id
        balance = await exchange.fetch_balance()
        assert balance["BTC"]["total"] == pytest.approx(1.35) and balance["BTC"]["used"] == 1

    venue = play(story)
    assert sum(one.qty for one in venue.trades("web_")) == Decimal("0.5")


def test_rights_signatures_and_clock() -> None:
    """A wrong secret, an old stamp and a key without rights are each refused by their code."""
    import ccxt

    async def story(venue: LocalVenue, exchange: Any) -> None:
        rights = await exchange.sapiGetAccountApiRestrictions()
        assert rights["enableSpotAndMarginTrading"] and not rights["enableWithdrawals"]
        venue.offset_ms = 6000
        with pytest.raises(ccxt.InvalidNonce, match="-1021"):
            await exchange.fetch_balance()
        venue.offset_ms = -3000
        with pytest.raises(ccxt.InvalidNonce, match="ahead of the server"):
            await exchange.fetch_balance()
        await exchange.load_time_difference()
        exchange.options["adjustForTimeDifference"] = True
        await exchange.fetch_balance()
        exchange.secret = "wrong"
        with pytest.raises(ccxt.AuthenticationError, match="-1022"):
            await exchange.fetch_balance()
        exchange.secret = SECRET
        await venue.command({"do": "key", "api_key": API_KEY, "trade": False})
        with pytest.raises(ccxt.DDoSProtection, match="-2015"):  # after a first success ccxt calls it a ban
            await exchange.create_order(BTC, "market", "buy", 0.01)
        exchange.apiKey = ""
        with pytest.raises(ccxt.AuthenticationError):
            await exchange.fetch_balance()

    assert not play(story).orders()


def test_weights_orders_and_bans_are_counted() -> None:
    """429 says when to come back; who doesn't listen is banned with 418."""
    import ccxt

    async def story(venue: LocalVenue, exchange: Any) -> None:
        await exchange.fetch_balance()
        assert int(exchange.last_response_headers["X-MBX-USED-WEIGHT-1M"]) >= 20
        await venue.command({"do": "limits", "orders_limit": 1})
        await exchange.create_order(BTC, "market", "buy", 0.01)
        with pytest.raises(ccxt.DDoSProtection, match="-1015"):
            await exchange.create_order(BTC, "market", "buy", 0.01)
        await venue.command({"do": "limits", "weight_limit": 1, "patience": 1})
        with pytest.raises(ccxt.DDoSProtection, match=" 429 "):
            await exchange.fetch_balance()
        assert 0 < int(exchange.last_response_headers["Retry-After"]) <= 60
        with pytest.raises(ccxt.DDoSProtection, match=" 418 "):
            await exchange.fetch_balance()
        assert 60 < int(exchange.last_response_headers["Retry-After"]) <= 120

    assert len(play(story).orders()) == 1


def test_a_venue_of_its_own_process_is_steered_and_asked_over_http() -> None:
    """It goes on while whoever trades on it is killed, and tells what really was."""
    with RemoteVenue(balances=MONEY, prices=PRICES) as venue:
        stamp = venue.control("time")
        query = f"symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&newClientOrderId=abc&timestamp={stamp}"
        sign = hmac.new(SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()
        request = urllib.request.Request(
            venue.addresses["rest"] + "/api/v3/order", f"{query}&signature={sign}".encode(), {"X-MBX-APIKEY": API_KEY}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert json.load(answer)["status"] == "FILLED"
        venue.control("price", symbol="BTCUSDT", price="51000")
        venue.control("fault", kind="status", label="time", status=503)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(venue.addresses["rest"] + "/api/v3/time", timeout=5)
        caught.value.close()
        truth = venue.truth()
        assert truth["orders"][0]["client_id"] == "abc" and truth["prices"]["BTCUSDT"] == "51000"
        assert [one["label"] for one in truth["requests"]] == ["place", "time"]
        assert truth["faults"][0]["label"] == "time"
        with pytest.raises(RuntimeError, match="KeyError"):
            venue.control("nonsense")
