"""Faults of requests to the linear venue: what unmodified ccxt raises, and what the venue knows really happened."""

import asyncio
import json
import urllib.request
from typing import Any

import pytest

from tests.venue.bybit import LocalPerpVenue
from tests.venue.bybit_client import BTC, PRICES, play, until
from tests.venue.bybit_remote import RemotePerpVenue
from tests.venue.faults import Fault, seeded


def said(code: int, text: str = "") -> dict[str, Any]:
    """An error of the venue in an answer that is otherwise well, after it took the order."""
    return {"kind": "status", "status": 200, "code": code, "text": text}


# What the fault is; what ccxt raises on create_order (none: it returns an order without id); does the order exist?
TABLE: list[tuple[dict[str, Any], str | None, bool]] = [
    ({"kind": "timeout"}, "RequestTimeout", True),
    ({"kind": "timeout", "accepted": False}, "RequestTimeout", False),
    ({"kind": "reset"}, "ExchangeNotAvailable", True),
    ({"kind": "reset", "accepted": False}, "ExchangeNotAvailable", False),
    ({"kind": "cut"}, "ExchangeError", True),
    ({"kind": "status", "status": 500}, "ExchangeNotAvailable", True),
    ({"kind": "status", "status": 502, "accepted": False}, "ExchangeNotAvailable", False),
    ({"kind": "status", "status": 503}, "ExchangeNotAvailable", True),
    ({"kind": "status", "status": 504}, "RequestTimeout", True),
    ({"kind": "status", "status": 404}, "ExchangeNotAvailable", True),
    ({"kind": "status", "status": 403, "accepted": False}, "RateLimitExceeded", False),
    ({"kind": "status", "status": 429, "accepted": False, "retry_after": 7}, "RateLimitExceeded", False),
    (said(10016, "Request timeout, please try again later"), "RequestTimeout", True),
    (said(10016, "Internal System Error."), "ExchangeError", True),
    (said(10000, "Server Timeout"), "ExchangeError", True),
    (said(5004, "Server Timeout"), "ExchangeError", True),
    (said(170007, "Timeout waiting for response from backend server."), "RequestTimeout", True),
    ({**said(10006, "Too many visits!"), "accepted": False}, "RateLimitExceeded", False),
    ({**said(10002, "invalid request, please check your timestamp"), "accepted": False}, "InvalidNonce", False),
    ({**said(10003, "API key is invalid."), "accepted": False}, "AuthenticationError", False),
    ({**said(33004, "Your api key has expired."), "accepted": False}, "AuthenticationError", False),
    ({"kind": "truncate"}, None, True),
    ({"kind": "empty"}, None, True),
    ({"kind": "html"}, None, True),
    ({"kind": "braces"}, "ExchangeError", True),
]


async def limit(exchange: Any, name: str, price: float = 40000) -> Any:
    """A resting order to buy."""
    return await exchange.create_order(BTC, "limit", "buy", 0.1, price, {"clientOrderId": name})


def test_the_table_of_what_ccxt_raises() -> None:
    """The exception class doesn't tell whether an order exists: the venue does."""
    import ccxt

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        for number, (fault, raised, exists) in enumerate(TABLE):
            venue.faults.add(Fault(label="place", **fault))
            client_id, name = f"{number:032x}", f"{number}: {fault}"
            try:
                made = await limit(exchange, client_id)
            except ccxt.BaseError as error:
                assert raised is not None, f"{name} raised {error!r}"
                assert type(error) is getattr(ccxt, raised), f"{name} raised {error!r}"
            else:
                assert raised is None and made["id"] is None, f"{name} returned {made}"
            assert bool(venue.orders(client_id)) == exists, name
        assert [hit["kind"] for hit in venue.faults.hits] == [fault["kind"] for fault, _, _ in TABLE]

    play(story, config={"timeout": 150}, balances={"USDT": "1000000"})


def test_a_lost_request_arrives_after_it_was_not_found() -> None:
    """Within recv_window it is an order after all; beyond it the venue refuses it."""
    import ccxt

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        async def named(name: str) -> Any:
            return await exchange.fetch_open_orders(BTC, params={"orderLinkId": name})

        async def lost(name: str) -> None:
            patience, exchange.timeout = exchange.timeout, 80  # for this one: what is read has its time
            with pytest.raises(ccxt.RequestTimeout):
                await limit(exchange, name)
            exchange.timeout = patience

        await exchange.load_markets()
        venue.faults.add(Fault("late", "place", seconds=0.02, lookup=True))
        await lost("late")
        assert await named("late") == [] and not venue.orders()
        await until(venue.orders)
        assert (await named("late"))[0]["status"] == "open"
        exchange.options["recvWindow"] = 50
        venue.faults.add(Fault("late", "place", seconds=0.1, accepted=False))
        await lost("stale")
        await until(lambda: venue.requests[-1]["code"] == 10002)
        assert not venue.orders("stale")

    play(story)


def test_faults_of_an_order_that_the_venue_knows() -> None:
    """Hidden right after its ack; ended by the venue; a cancel that meets a fill; a part that fills as streams end."""
    import ccxt

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        async def named(name: str) -> Any:
            return await exchange.fetch_open_orders(BTC, params={"orderLinkId": name})

        venue.faults.add(Fault("hide", "place", seconds=0.05), Fault("venue-cancel", "place", nth=2))
        await limit(exchange, "hidden")
        assert await named("hidden") == [] and await exchange.fetch_open_orders(BTC) == []
        await asyncio.sleep(0.05)
        assert (await named("hidden"))[0]["status"] == "open"
        await limit(exchange, "gone")
        (gone,) = await named("gone")
        assert gone["status"] == "canceled" and gone["info"]["cancelType"] == "CancelByAdmin"
        venue.faults.add(Fault("race-fill", "cancel"), Fault("partial-cut", "place", share="0.4"))
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.cancel_order("", BTC, {"orderLinkId": "hidden"})
        assert (await named("hidden"))[0]["filled"] == 0.1
        await limit(exchange, "part")
        (part,) = await named("part")
        assert (part["status"], part["filled"], part["remaining"]) == ("open", 0.04, 0.06)

    play(story)


def test_the_world_is_steered_by_commands() -> None:
    """Over HTTP from another process too: money, marks, funding, orders by hand, maintenance, and no venue at all."""
    import ccxt

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        def control(**command: Any) -> Any:
            request = urllib.request.Request(venue.rest_url + "/control", json.dumps(command).encode())
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.load(answer)["ok"]

        await asyncio.to_thread(control, do="order", symbol="BTCUSDT", side="sell", kind="market", qty="0.1")
        await asyncio.to_thread(control, do="funding", symbol="BTCUSDT", rate="0.001")
        await asyncio.to_thread(control, do="deposit", coin="USDT", amount="-1000")
        truth = await asyncio.to_thread(control, do="truth")
        assert truth["positions"][0]["qty"] == "-0.1" and truth["orders"][0]["origin"] == "hand"
        assert truth["fundings"][0]["amount"].startswith("-5.0") and truth["prices"]["BTCUSDT"] == "50000"
        (position,) = await exchange.fetch_positions()
        assert position["side"] == "short"
        await venue.command({"do": "maintenance", "on": True})
        with pytest.raises(ccxt.ExchangeNotAvailable):
            await exchange.fetch_balance()
        await venue.command({"do": "maintenance", "on": False})
        await venue.listen(False)
        with pytest.raises(ccxt.ExchangeNotAvailable):
            await exchange.fetch_balance()
        await venue.listen(True)
        assert (await exchange.fetch_balance())["USDT"]["total"] > 98_900

    play(story)


def test_a_venue_in_a_process_of_its_own() -> None:
    """It is steered by commands, and ends with the one who started it."""
    with RemotePerpVenue(prices=PRICES, balances={"USDT": "50000"}) as venue:
        venue.control("order", symbol="BTCUSDT", side="buy", kind="market", qty="0.1")
        venue.control("funding", symbol="BTCUSDT", rate="0.0001")
        truth = venue.truth()
        assert truth["positions"][0]["qty"] == "0.1" and len(truth["fundings"]) == 1
        assert venue.addresses["urls"]["ws"]["private"]["contract"] == venue.addresses["user"]


def test_a_seeded_list_of_faults_that_the_spot_venue_takes_too() -> None:
    """Whatever was raised, a lookup by client id afterwards agrees with the venue."""
    import ccxt

    async def story(venue: LocalPerpVenue, exchange: Any) -> None:
        faults = [fault for fault in seeded(7, 12, within=6) if not fault.label.startswith("user")]
        venue.faults.add(*faults)
        for number in range(12):
            name = f"{number:032x}"
            try:
                await limit(exchange, name)
                await exchange.cancel_order("", BTC, {"orderLinkId": name})
            except ccxt.BaseError:
                await asyncio.sleep(0.02)
        venue.faults.clear()
        await asyncio.sleep(0.35)  # those that come late have come
        for number in range(12):
            found = await exchange.fetch_open_orders(BTC, params={"orderLinkId": f"{number:032x}"})
            real = venue.orders(f"{number:032x}")
            assert [one["filled"] for one in found] == [float(one.filled) for one in real]
            assert [one["status"] == "open" for one in found] == [one.is_open for one in real]
        assert venue.faults.hits

    play(story, config={"timeout": 100})
