"""Each fault shows at unmodified ccxt classes as the fault matrix says, and the venue knows what really happened."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tests.faults.test_local_venue import BTC, MONEY, play
from tests.faults.test_matching import conserved
from tests.venue.faults import Fault, seeded
from tests.venue.server import API_KEY, LocalVenue

# What the fault is; what ccxt raises on create_order (none: it returns an order without id); does the order exist?
TABLE: list[tuple[dict[str, Any], str | None, bool]] = [
    ({"kind": "timeout"}, "RequestTimeout", True),
    ({"kind": "timeout", "accepted": False}, "RequestTimeout", False),
    ({"kind": "status", "status": 504, "code": -1007, "text": "Timeout waiting for backend."}, "RequestTimeout", True),
    ({"kind": "status", "status": 504, "accepted": False}, "RequestTimeout", False),
    ({"kind": "reset"}, "ExchangeNotAvailable", True),
    ({"kind": "reset", "accepted": False}, "ExchangeNotAvailable", False),
    ({"kind": "cut"}, "ExchangeError", True),
    ({"kind": "status", "status": 500}, "ExchangeNotAvailable", True),
    ({"kind": "status", "status": 502, "accepted": False}, "ExchangeNotAvailable", False),
    ({"kind": "status", "status": 503}, "ExchangeNotAvailable", True),
    ({"kind": "status", "status": 403, "accepted": False}, "ExchangeNotAvailable", False),
    ({"kind": "status", "status": 400, "accepted": False}, "ExchangeNotAvailable", False),
    ({"kind": "status", "status": 500, "code": -1006, "text": "An unexpected response."}, "OperationFailed", True),
    ({"kind": "status", "status": 500, "code": -1000, "text": "An unknown error."}, "OperationFailed", True),
    ({"kind": "status", "status": 400, "code": -1001, "text": "Internal error."}, "OperationFailed", True),
    ({"kind": "status", "status": 503, "code": -1016, "text": "No longer available."}, "BadRequest", True),
    ({"kind": "truncate"}, None, True),
    ({"kind": "empty"}, None, True),
    ({"kind": "html"}, None, True),
    ({"kind": "braces"}, None, True),
    ({"kind": "status", "status": 429, "accepted": False, "retry_after": 7}, "DDoSProtection", False),
    ({"kind": "status", "status": 429, "accepted": False}, "DDoSProtection", False),
    ({"kind": "status", "status": 418, "accepted": False, "retry_after": 9}, "DDoSProtection", False),
    ({"kind": "status", "status": 429, "code": -1015, "accepted": False}, "DDoSProtection", False),
    ({"kind": "status", "status": 400, "code": -1015, "accepted": False}, "RateLimitExceeded", False),
    ({"kind": "status", "status": 400, "code": -1021, "accepted": False}, "InvalidNonce", False),
    ({"kind": "status", "status": 401, "code": -2015, "accepted": False}, "DDoSProtection", False),
    ({"kind": "status", "status": 401, "code": -2014, "accepted": False}, "AuthenticationError", False),
]


def test_the_table_of_what_ccxt_raises() -> None:
    """The exception class doesn't tell whether an order exists: the venue does."""
    import ccxt

    async def story(venue: LocalVenue, exchange: Any) -> None:
        await exchange.fetch_balance()  # a first success: from then on -2015 looks like a ban
        for number, (fault, raised, exists) in enumerate(TABLE):
            venue.faults.add(Fault(label="place", **fault))
            client_id, name = f"{number:032x}", f"{number}: {fault}"
            try:
                made = await exchange.create_order(BTC, "limit", "buy", 0.001, 45000, {"clientOrderId": client_id})
            except ccxt.BaseError as error:
                assert raised is not None, f"{name} raised {error!r}"
                assert type(error) is getattr(ccxt, raised), f"{name} raised {error!r}"
            else:
                assert raised is None and made["id"] is None, f"{name} returned {made}"
            assert bool(venue.orders(client_id)) == exists, name
            if "retry_after" in fault:
                assert exchange.last_response_headers["Retry-After"] == str(fault["retry_after"])
        assert [hit["kind"] for hit in venue.faults.hits] == [fault["kind"] for fault, _, _ in TABLE]

    play(story, timeout=200)


def test_a_lost_request_arrives_after_it_was_not_found() -> None:
    """Asked after its lookup it doesn't exist; a moment later it does. Beyond recvWindow the gateway refuses it."""
    import ccxt

    async def story(venue: LocalVenue, exchange: Any) -> None:
        venue.faults.add(Fault("late", "place", seconds=0.05, lookup=True))
        with pytest.raises(ccxt.RequestTimeout):
            await exchange.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": "late"})
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.fetch_order(None, BTC, {"origClientOrderId": "late"})
        assert not venue.orders()
        await asyncio.sleep(0.1)
        assert (await exchange.fetch_order(None, BTC, {"origClientOrderId": "late"}))["status"] == "closed"
        venue.faults.add(Fault("late", "place", seconds=0.1, accepted=False))
        more = {"clientOrderId": "stale", "recvWindow": 50}
        with pytest.raises(ccxt.RequestTimeout):
            await exchange.create_order(BTC, "market", "buy", 0.01, None, more)
        await asyncio.sleep(0.1)
        assert not venue.orders("stale") and venue.requests[-1]["code"] == -1021

    play(story, timeout=100)


def test_faults_of_an_order_that_the_venue_knows() -> None:
    """Hidden right after its ack; ended by the venue; a cancel that meets a fill."""
    import ccxt

    async def story(venue: LocalVenue, exchange: Any) -> None:
        async def placed(name: str) -> Any:
            return await exchange.create_order(BTC, "limit", "buy", 0.01, 45000, {"clientOrderId": name})

        venue.faults.add(Fault("hide", "place", seconds=0.1))
        hidden = await placed("hidden")
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.fetch_order(hidden["id"], BTC)
        assert not await exchange.fetch_open_orders(BTC)
        await asyncio.sleep(0.1)
        assert (await exchange.fetch_order(hidden["id"], BTC))["status"] == "open"
        venue.faults.add(Fault("venue-cancel", "place"), Fault("race-fill", "cancel"))
        gone = await placed("gone")
        assert gone["status"] == "open" and (await exchange.fetch_order(gone["id"], BTC))["status"] == "expired"
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.cancel_order(hidden["id"], BTC)
        assert venue.requests[-1]["code"] == -2011 and venue.orders("hidden")[0].status == "FILLED"
        venue.faults.add(Fault("partial-cut", "place", share="0.4"))
        part = await placed("part")
        assert part["filled"] == 0 and (await exchange.fetch_order(part["id"], BTC))["filled"] == 0.004

    play(story)


def test_the_world_changes_at_the_nth_request() -> None:
    """Maintenance, a revoked key, a halt, a clock that jumps, refused connections, a delay: all can be listed."""
    import ccxt

    async def story(venue: LocalVenue, exchange: Any) -> None:
        await exchange.fetch_balance()
        worlds: list[tuple[dict[str, Any], dict[str, Any], str]] = [
            ({"do": "maintenance", "on": True}, {"do": "maintenance", "on": False}, "ExchangeNotAvailable"),
            (
                {"do": "key", "api_key": API_KEY, "revoked": True},
                {"do": "key", "api_key": API_KEY, "revoked": False},
                "DDoSProtection",
            ),
            ({"do": "clock", "offset_ms": -5000}, {"do": "clock", "offset_ms": 0}, "InvalidNonce"),
            ({"do": "listen", "on": False}, {"do": "listen", "on": True}, "ExchangeNotAvailable"),
            (
                {"do": "status", "symbol": "BTCUSDT", "status": "BREAK"},
                {"do": "status", "symbol": "BTCUSDT", "status": "TRADING"},
                "MarketClosed",
            ),
        ]
        for change, back, raised in worlds:
            venue.faults.add(Fault("do", "time", command=change))
            if change["do"] == "listen":
                await venue.command(change)
            else:
                await exchange.fetch_time()
            with pytest.raises(getattr(ccxt, raised)) as caught:
                await exchange.create_order(BTC, "market", "buy", 0.01)
            assert type(caught.value) is getattr(ccxt, raised), f"{change} raised {caught.value!r}"
            await venue.command(back)
            venue.faults.clear()
        venue.faults.add(Fault("delay", "time", nth=2, times=2, seconds=0.05))
        for _ in range(4):
            await exchange.fetch_time()
        assert [hit["seen"] for hit in venue.faults.hits[-2:]] == [2, 3]
        assert not venue.orders()

    play(story)


def test_a_seeded_list_is_the_same_each_time() -> None:
    """So that a schedule that broke something can be played again."""
    assert seeded(7, 20) == seeded(7, 20) != seeded(8, 20)
    with pytest.raises(ValueError, match="no such fault"):
        Fault("nonsense")


@pytest.mark.parametrize("seed", [3, 4])
def test_the_venues_books_balance_whatever_goes_wrong(seed: int) -> None:
    """Faults are between venue and client: the venue itself neither loses nor makes a coin."""
    import ccxt

    async def story(venue: LocalVenue, exchange: Any) -> None:
        venue.faults.add(*seeded(seed, 12, within=12))
        for number in range(15):
            side = "buy" if number % 3 else "sell"
            try:
                made = await exchange.create_order(BTC, "limit", side, 0.01, 49990 if side == "buy" else 50010)
                venue.set_price("BTCUSDT", 49980 + 40 * (number % 2))
                await exchange.cancel_order(made["id"] or "1", BTC)
            except ccxt.BaseError:
                await asyncio.sleep(0.05)

    venue = play(story, timeout=100)
    assert len(venue.faults.hits) > 5
    for coin, start in MONEY.items():
        conserved(venue.engine, coin, Decimal(start))
