"""What became of an order is read from the wire: each row of the table of ccxt's errors, through real ccxt."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.exchange.codes import parse
from bot.exchange.wire import (
    Accepted,
    Alarm,
    Balances,
    BalancesAre,
    Cancel,
    Failed,
    Lookup,
    NotFound,
    NotSent,
    OpenOrders,
    Ping,
    Refused,
    Unknown,
)
from tests.bot.exchange_worlds import BTC, World, order, world
from tests.venue.faults import Fault

Story = Callable[[World], Awaitable[None]]


def play(folder: Path, story: Story, **more: Any) -> None:
    """One story in one world."""

    async def run() -> None:
        async with world(folder, **more) as there:
            await story(there)

    asyncio.run(run())


def fault(kind: str, **more: Any) -> Fault:
    """A fault of the next order."""
    return Fault(kind, label="place", **more)


def coded(code: int, text: str, status: int = 400, **more: Any) -> Fault:
    """The venue refuses the next order by a code."""
    return fault("status", status=status, code=code, text=text, accepted=False, **more)


UNKNOWN = {
    "no answer, it stood": (fault("timeout", accepted=True), 1),
    "no answer, it didn't": (fault("timeout", accepted=False), 0),
    "504": (fault("status", status=504), 1),
    "-1007": (fault("status", status=504, code=-1007, text="Timeout waiting for response."), 1),
    "-1007 as a 400": (fault("status", status=400, code=-1007, text="Timeout waiting for response."), 1),
    "reset, it stood": (fault("reset", accepted=True), 1),
    "reset, it didn't": (fault("reset", accepted=False), 0),
    "500": (fault("status", status=500), 1),
    "502": (fault("status", status=502), 1),
    "503": (fault("status", status=503), 1),
    "403": (fault("status", status=403), 1),
    "400 with HTML": (fault("status", status=400), 1),
    "404": (fault("status", status=404), 1),
    "429 with HTML": (fault("status", status=429), 1),
    "truncated JSON": (fault("truncate"), 1),
    "cut inside the body": (fault("cut"), 1),
    "200 with HTML": (fault("html"), 1),
    "200 empty": (fault("empty"), 1),
    "200 {}": (fault("braces"), 1),
    "-1000": (fault("status", status=400, code=-1000, text="An unknown error."), 1),
    "-1001": (fault("status", status=400, code=-1001, text="Internal error."), 1),
    "-1006": (fault("status", status=400, code=-1006, text="Unexpected response."), 1),
    "-1016": (fault("status", status=400, code=-1016, text="This service is no longer available."), 1),
    "a refusal's code in a 5xx": (fault("status", status=503, code=-2010, text="Account has insufficient balance."), 1),
    "duplicate": (fault("status", status=400, code=-2010, text="Duplicate order sent."), 1),
    "a code nobody knows": (fault("status", status=400, code=-9999, text="Account has insufficient balance."), 1),
}


@pytest.mark.parametrize("row", UNKNOWN.values(), ids=UNKNOWN)
def test_unknown(tmp_path: Path, row: tuple[Fault, int]) -> None:
    """Whatever ccxt calls it, only a parsed code on the list is final; all else is unknown, and sent once."""

    async def story(there: World) -> None:
        there.venue.faults.add(row[0])
        answer = await there.ask(order())
        assert isinstance(answer, Unknown) and answer.sent_ns > 10**18
        assert len(there.stands()) == row[1]
        assert sum(one["label"] == "place" for one in there.venue.requests) == 1

    play(tmp_path, story)


REFUSED = {
    "funds": (coded(-2010, "Account has insufficient balance for requested action."), "funds", "-2010"),
    "would match": (coded(-2010, "Order would immediately match and take."), "would-match", "-2010"),
    "passed": (coded(-2010, "Stop price would trigger immediately."), "passed", "-2010"),
    "closed": (coded(-2010, "Market is closed."), "market", "-2010"),
    "filters": (coded(-1013, "Filter failure: NOTIONAL"), "filters", "-1013"),
    "lot": (coded(-1013, "Filter failure: LOT_SIZE"), "filters", "-1013"),
    "precision": (coded(-1111, "Precision is over the maximum."), "filters", "-1111"),
    "symbol": (coded(-1121, "Invalid symbol."), "market", "-1121"),
    "signature": (coded(-1022, "Signature for this request is not valid."), "rights", "-1022"),
    "key": (coded(-2015, "Invalid API-key, IP, or permissions for action.", 401), "rights", "-2015"),
}


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path: Path, row: tuple[Fault, str, str]) -> None:
    """A parsed code on the list is a refusal, and nothing stands; ccxt's class isn't asked."""

    async def story(there: World) -> None:
        there.venue.faults.add(row[0])
        answer = await there.ask(order())
        assert isinstance(answer, Refused) and (answer.why, answer.code) == row[1:]
        assert not there.stands()

    play(tmp_path, story)


LIMITED = {
    "429": (coded(-1003, "Too many requests.", 429, retry_after=7), 7.0),
    "429 without Retry-After": (coded(-1003, "Too many requests.", 429), 10.0),
    "418": (coded(-1003, "Way too many requests; IP banned.", 418, retry_after=60), 60.0),
    "418 without Retry-After": (coded(-1003, "Way too many requests; IP banned.", 418), 120.0),
    "-1015": (coded(-1015, "Too many new orders.", 429, retry_after=5), 5.0),
}


@pytest.mark.parametrize("name", LIMITED)
def test_too_many(tmp_path: Path, name: str) -> None:
    """The venue's wish is obeyed: nothing leaves before its time; after -1015 only new orders wait."""
    given, wait_s = LIMITED[name]

    async def story(there: World) -> None:
        import time

        there.venue.faults.add(given)
        answer = await there.ask(order())
        assert isinstance(answer, NotSent)
        assert abs((answer.until_ns - time.time_ns()) / 1e9 - wait_s) < 1.0
        sent = len(there.venue.requests)
        again = await there.ask(order(2))
        assert isinstance(again, NotSent) and again.until_ns > time.time_ns()
        balances = await there.ask(Balances())
        if name == "-1015":
            assert isinstance(balances, BalancesAre)
        else:
            assert isinstance(balances, Failed) and balances.until_ns > time.time_ns()
            assert len(there.venue.requests) == sent
        assert not there.venue.orders("0a1b")

    play(tmp_path, story)


def test_refused_time_stamp_is_signed_anew_once(tmp_path: Path) -> None:
    """-1021 means that it never was: the same intent goes again by the venue's clock, one order stands."""

    async def story(there: World) -> None:
        await there.ask(Balances())
        there.venue.offset_ms = -8_000
        answer = await there.ask(order())
        assert isinstance(answer, Accepted) and len(there.stands()) == 1
        codes = [one["code"] for one in there.venue.requests if one["label"] == "place"]
        assert codes == [-1021, 0]
        there.venue.faults.add(coded(-1021, "Timestamp for this request is outside of the recvWindow.", times=2))
        answer = await there.ask(order(2))
        assert isinstance(answer, Refused) and answer.code == "-1021" and not there.stands(2)

    play(tmp_path, story)


def test_revoked_key(tmp_path: Path) -> None:
    """A key that was good and is refused now: said as revoked to every question, and an alarm."""

    async def story(there: World) -> None:
        assert isinstance(await there.ask(order()), Accepted)
        for key in there.venue.doorman.keys.values():
            key.revoked = True
        answer = await there.ask(Balances())
        assert isinstance(answer, Failed) and answer.revoked
        refused = await there.ask(order(2))
        assert isinstance(refused, Refused) and refused.why == "rights" and not there.stands(2)
        pushes = there.client.pushes()
        async with asyncio.timeout(2):
            while not isinstance(push := await anext(pushes), Alarm):
                pass
        assert push.kind == "key"

    play(tmp_path, story)


def test_nothing_listens(tmp_path: Path) -> None:
    """A connection that can't be made was never sent."""

    async def story(there: World) -> None:
        assert isinstance(await there.ask(order(9)), Accepted)
        await there.venue.listen(False)
        answer = await there.ask(order())
        assert isinstance(answer, NotSent) and not there.stands()

    play(tmp_path, story)


BAD = ({"qty": "nan"}, {"qty": "inf"}, {"qty": "-1"}, {"qty": "0"}, {"qty": "0.000001"}, {"qty": "0.010001"},
       {"qty": "x"}, {"kind": "limit", "limit": "NaN"}, {"kind": "limit", "limit": "45000.001"}, {"kind": "odd"},
       {"side": "hold"}, {"symbol": "XYZ/USDT"}, {"purpose": "fun"}, {"kind": "stop"}, {"limit": "-5"})  # fmt: skip


def test_nonsense_never_leaves(tmp_path: Path) -> None:
    """Negative, NaN, infinite, off the grid, no such market: refused here, and the venue hears nothing of it."""

    async def story(there: World) -> None:
        await there.ask(Balances())
        for number, more in enumerate(BAD, start=1):
            answer = await there.ask(order(number, **more))
            assert isinstance(answer, Refused), more
        foreign = order()
        foreign = type(foreign)(**{**vars(foreign), "client_id": "f" * 32})
        assert isinstance(await there.ask(foreign), Refused)
        assert not [one for one in there.venue.requests if one["label"] == "place"]

    play(tmp_path, story)


def test_the_number_that_is_sent_is_ours(tmp_path: Path) -> None:
    """Quantity and price arrive as they were gridded; a market order carries no price."""

    async def story(there: World) -> None:
        for number, qty in enumerate(("0.00029", "0.07003", "0.1", "0.00057"), start=1):
            assert isinstance(await there.ask(order(number, qty=qty)), Accepted)
            assert str(there.stands(number)[0].qty) == qty
        assert isinstance(await there.ask(order(9, kind="post-only", limit="49999.07", qty="0.001")), Accepted)
        assert str(there.stands(9)[0].limit) == "49999.07"

    play(tmp_path, story)


def test_garbage_is_no_answer_to_a_question(tmp_path: Path) -> None:
    """An empty or cut answer isn't "nothing is there": the question failed."""

    async def story(there: World) -> None:
        await there.ask(order())
        lookup = Lookup(client_id=order().client_id, symbol=BTC)
        for kind in ("empty", "html", "braces", "truncate", "cut", "reset"):
            there.venue.faults.add(Fault(kind, label="lookup"))
            assert isinstance(await there.ask(lookup), Failed), kind
            there.venue.faults.add(Fault(kind, label="open-orders"), Fault(kind, label="open*"))
            assert isinstance(await there.ask(OpenOrders()), Failed), kind
            there.venue.faults.clear()
            there.venue.faults.add(Fault(kind, label="account"))
            assert isinstance(await there.ask(Balances()), Failed), kind
            there.venue.faults.clear()
        assert isinstance(await there.ask(lookup), Accepted)
        assert isinstance(await there.ask(Lookup(client_id=order(5).client_id, symbol=BTC)), NotFound)
        assert await there.ask(Ping())

    play(tmp_path, story)


CANCELS = {
    "timeout": (Fault("timeout", label="cancel"), Unknown),
    "reset": (Fault("reset", label="cancel"), Unknown),
    "503": (Fault("status", label="cancel", status=503), Unknown),
    "truncated": (Fault("truncate", label="cancel"), Unknown),
    "empty": (Fault("empty", label="cancel"), Unknown),
    "a fill first": (Fault("race-fill", label="cancel"), NotFound),
    "clock": (Fault("status", label="cancel", status=400, code=-1021, text="Timestamp.", accepted=False), Accepted),
}


@pytest.mark.parametrize("row", CANCELS.values(), ids=CANCELS)
def test_cancels(tmp_path: Path, row: tuple[Fault, type]) -> None:
    """A cancel's outcome is read like an order's; an order that the venue doesn't know is said to be so."""

    async def story(there: World) -> None:
        assert isinstance(await there.ask(order(kind="limit", limit="45000")), Accepted)
        there.venue.faults.add(row[0])
        answer = await there.ask(Cancel(client_id=order().client_id, symbol=BTC))
        assert type(answer) is row[1]
        if isinstance(answer, Accepted):
            assert answer.order.client_id == order().client_id and answer.order.status == "cancelled"

    play(tmp_path, story)


PARSED = (
    ("bybit", 200, '{"retCode":170131,"retMsg":"Insufficient balance."}', "funds"),
    ("bybit", 200, '{"retCode":10016,"retMsg":"Server error."}', None),
    ("bybit", 200, '{"retCode":110072,"retMsg":"OrderLinkedID is duplicate"}', None),
    ("okx", 200, '{"code":"1","data":[{"sCode":"51008","sMsg":"Insufficient balance"}],"msg":""}', "funds"),
    ("okx", 200, '{"code":"50011","data":[],"msg":"Too many requests"}', "limited"),
    ("okx", 200, '{"code":"1","data":[{"sCode":"51016","sMsg":"Client order ID already exists"}],"msg":""}', None),
    ("okx", 200, '{"code":"50004","data":[],"msg":"Endpoint request timeout"}', None),
    ("kraken", 200, '{"error":["EOrder:Insufficient funds"]}', "funds"),
    ("kraken", 200, '{"error":["EGeneral:Invalid arguments:volume"]}', "filters"),
    ("kraken", 200, '{"error":["EService:Unavailable"]}', None),
    ("kraken", 200, '{"error":["EGeneral:Internal error"]}', None),
    ("binance", 400, '{"code":-1006,"msg":"Unexpected"}', None),
    ("binance", 400, '{"code":-2021,"msg":"Order would immediately trigger."}', "passed"),
    ("bybit", 200, '{"retCode":110093,"retMsg":"expect Falling, but trigger_price[9] >= current[8]"}', "passed"),
    ("okx", 200, '{"code":"1","data":[{"sCode":"51280","sMsg":"SL trigger price"}],"msg":""}', "passed"),
)


@pytest.mark.parametrize("row", PARSED, ids=[f"{row[0]} {row[2][8:32]}" for row in PARSED])
def test_codes_of_other_venues(row: tuple[str, int, str, str | None]) -> None:
    """Each venue's own shape is read; what isn't on its list says nothing."""
    family, status, body, why = row
    code = parse(family, status, body)
    assert code is not None and code.why == why


@pytest.mark.parametrize(
    "body",
    ["", "<html>-2010</html>", "[]", "{}", '"x"', '{"code":"-2010","msg":"x"}', '{"code":-2010}', '{"retCode":0}'],
)
def test_texts_that_carry_no_code(body: str) -> None:
    """A code in the wrong shape isn't one."""
    assert parse("binance", 400, body) is None
    assert parse("", 400, '{"code":-2010,"msg":"x"}') is None
    assert parse("binance", 503, '{"code":-2010,"msg":"x"}') is None
