"""The second caps, the rate budget and the ledger of client ids: each alone, and before a venue."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.exchange.budget import Budget, Pace, retry_after_s
from bot.exchange.caps import EXIT_ROOM, Breach, Caps, Limits, Reference, price_breach
from bot.exchange.once import Claim, Once, Spent
from bot.exchange.settings import read_settings
from bot.exchange.wire import Accepted, Refused
from data.errors import InputError
from tests.bot.exchange_worlds import BOT, CAPS, document, order, world

S = 10**9
HERE = Path(__file__).resolve().parents[2]


def caps(history: list[Spent] | None = None, **more: Any) -> Caps:
    """Caps of the tests, with some changed."""
    return Caps(Limits.read({**CAPS, **more}, "caps"), history or [])


def spend(one: Caps, number: int, now_ns: int, notional: str, is_exit: bool = False) -> Breach | None:
    """Check an order, and count it when it may leave."""
    breach = one.check(now_ns, Decimal(notional), is_exit)
    if breach is None:
        one.count(Spent(str(number), now_ns, Decimal(notional), is_exit))
    return breach


def test_each_cap_names_itself() -> None:
    """Order, minute, hour, day, and the two counts: cap, limit and what was observed."""
    one = caps(orders_per_minute=4, orders_per_hour=12)
    assert spend(one, 0, 0, "10000.01") == Breach("order_notional", Decimal(10000), Decimal("10000.01"))
    for number in range(4):
        assert spend(one, number, number * S, "1000") is None
    assert spend(one, 5, 5 * S, "1") == Breach("orders_per_minute", 4, 5)
    assert spend(one, 5, 61 * S, "1") is None  # the first has left the window; the minute slides
    one = caps()
    for number in range(5):
        assert spend(one, number, number, "10000") is None
    assert spend(one, 6, 6, "1") == Breach("minute_notional", Decimal(50000), Decimal(50001))
    for minute in (2, 4):
        for number in range(5 if minute == 2 else 0):
            assert spend(one, number, minute * 60 * S, "10000") is None
    assert spend(one, 6, 4 * 60 * S, "1") == Breach("hour_notional", Decimal(100000), Decimal(100001))
    one = caps(hour_notional="10000", day_notional="20000")
    for hour in range(2):
        assert spend(one, hour, hour * 3601 * S, "10000") is None
    assert spend(one, 9, 8000 * S, "1") == Breach("day_notional", Decimal(20000), Decimal(20001))
    assert spend(one, 9, 86_401 * S, "1") is None


def test_exits_are_counted_and_not_held_back_by_money() -> None:
    """A way out is always open; only a run of exits far beyond the numbers is a fault."""
    one = caps(orders_per_minute=2)
    assert spend(one, 1, 1, "999999999", is_exit=True) is None
    assert spend(one, 2, 2, "1") == Breach("minute_notional", Decimal(50000), Decimal(1000000000))
    for number in range(3, 2 * EXIT_ROOM + 2):
        assert spend(one, number, number, "1", is_exit=True) is None
    assert spend(one, 99, 99, "1", is_exit=True) == Breach("orders_per_minute", 2 * EXIT_ROOM, 2 * EXIT_ROOM + 1)


def test_a_clock_set_back_frees_nothing() -> None:
    """Windows go by the latest time seen."""
    one = caps(orders_per_minute=1)
    assert spend(one, 1, 1000 * S, "1") is None
    assert spend(one, 2, 5 * S, "1") is not None


def test_what_never_stood_frees_its_money_and_not_its_number() -> None:
    """A loop of refused orders is still a loop."""
    one = caps(orders_per_minute=2, minute_notional="1000")
    assert spend(one, 1, 1, "1000") is None
    one.release("1")
    assert spend(one, 2, 2, "1000") is None
    assert spend(one, 3, 3, "1") == Breach("orders_per_minute", 2, 3)


def test_prices_beyond_the_band() -> None:
    """An entry's worst price lies near this process's own reference, and the market not beyond it."""
    band, mid = Decimal("0.1"), Decimal(100)
    assert price_breach("buy", "limit", Decimal(111), mid, band) == Breach("price_band", Decimal("110.0"), Decimal(111))
    assert price_breach("sell", "limit", Decimal(89), mid, band) is not None
    assert price_breach("buy", "limit", Decimal(50), mid, band) is None
    assert price_breach("buy", "market", Decimal(99), mid, band) == Breach("worst_price", Decimal(99), mid)
    assert price_breach("sell", "market", Decimal(101), mid, band) is not None
    assert price_breach("buy", "market", Decimal(101), mid, band) is None
    assert price_breach("buy", "market", None, mid, band) is None


@pytest.mark.parametrize(
    "change", [{"order_notional": None}, {"order_notional": "0"}, {"order_notional": "nan"}, {"orders_per_hour": 1.5},
               {"odd": 1}, {"day_notional": True}]
)  # fmt: skip
def test_caps_have_to_be_given_and_sound(tmp_path: Path, change: dict[str, Any]) -> None:
    """A missing, unknown or senseless cap is refused by name."""
    body = document(tmp_path, {})
    body["caps"].update(change)
    if None in change.values():
        del body["caps"]["order_notional"]
    with pytest.raises(InputError, match=next(iter(change))):
        read_settings(json.dumps(body))


def test_caps_before_a_venue(tmp_path: Path) -> None:
    """Entries beyond the cap are refused at this process's own price, whatever the bot says; exits leave."""

    async def run() -> None:
        async with world(tmp_path, caps={"order_notional": "1000", "minute_notional": "1500"}) as there:
            answer = await there.ask(order(1, qty="0.03", limit=None))
            assert isinstance(answer, Refused) and (answer.why, answer.code) == ("caps", "order_notional")
            assert "1000" in answer.text and "1500" in answer.text
            assert isinstance(await there.ask(order(2, qty="0.019")), Accepted)
            answer = await there.ask(order(3, qty="0.019"))
            assert isinstance(answer, Refused) and answer.code == "minute_notional"
            answer = await there.ask(order(4, qty="0.001", kind="limit", limit="80000"))
            assert isinstance(answer, Refused) and answer.code == "price_band"
            exits = {"side": "sell", "purpose": "exit", "limit": "49000"}
            assert isinstance(await there.ask(order(5, qty="1", **exits)), Accepted)
            answer = await there.ask(order(6, qty="1", side="buy", purpose="exit"))  # spot: a buy is no exit
            assert isinstance(answer, Refused) and answer.why == "caps"
            assert len(there.venue.orders(BOT)) == 2

    asyncio.run(run())


def test_no_reference_no_entry(tmp_path: Path) -> None:
    """Without a price of its own the process lets no entry out; exits go."""

    async def run() -> None:
        from tests.venue.faults import Fault

        async with world(tmp_path) as there:
            there.venue.faults.add(Fault("status", label="ticker", times=99), Fault("status", label="klines", times=99))
            there.process.clerk.reference._known.clear()
            answer = await there.ask(order(1))
            assert isinstance(answer, Refused) and answer.why == "caps" and "no reference price" in answer.text
            assert isinstance(await there.ask(order(2, side="sell", purpose="exit", limit="49000")), Accepted)

    asyncio.run(run())


def test_reference_is_shared_and_checked() -> None:
    """Many who ask at once make one request; nonsense is no price."""
    asked: list[str] = []

    async def ask(symbol: str) -> Decimal | None:
        asked.append(symbol)
        await asyncio.sleep(0)
        return {"A": Decimal(5), "B": Decimal("NaN")}.get(symbol)

    async def run() -> None:
        reference = Reference(ask)
        assert set(await asyncio.gather(*(reference.price("A") for _ in range(5)))) == {Decimal(5)}
        assert await reference.price("A") == 5 and asked == ["A"]
        assert await reference.price("B") is None and await reference.price("C") is None

    asyncio.run(run())


# --- the rate budget --------------------------------------------------------------------------------------------------
class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def budget(self, per_minute: float = 100) -> Budget:
        """A budget by this clock; its wall clock shows the same."""
        return Budget(per_minute, monotonic=lambda: self.now, wall_ns=lambda: int(self.now * 1e9))


def test_room_is_kept_for_cancels_and_exits() -> None:
    """Questions stop at three quarters; what is urgent goes on to the limit; the minute slides."""
    clock = Clock()
    budget = clock.budget()
    assert all(budget.take(25) == 0 for _ in range(3))
    assert budget.take(1) == int(1060e9)
    assert budget.take(25, urgent=True) == 0
    assert budget.take(1, urgent=True) == int(1060e9)
    clock.now += 60
    assert budget.take(75) == 0


def test_the_venues_own_count_is_believed() -> None:
    """Somebody else behind the same address uses it up, too."""
    budget = Clock().budget()
    budget.told(74)
    assert budget.take(1) == 0 and budget.take(1) > 0


def test_waits() -> None:
    """Retry-After in seconds or as a date; without one longer each time; -1015 stops new orders only; bans by text."""
    clock = Clock()
    budget = clock.budget()
    assert budget.refused(429, {"Retry-After": "7"}, "") == int(1007e9)
    assert budget.take(1, urgent=True) == int(1007e9)
    clock.now += 7
    assert budget.take(1) == 0
    budget = clock.budget()
    waits = [round(budget.refused(429, {}, "") / 1e9 - clock.now) for _ in range(6)]
    assert waits == [10, 20, 40, 80, 160, 300]
    budget.answered()
    budget = clock.budget()
    assert budget.refused(429, {}, "", orders_only=True) > 0
    assert budget.take(1, placing=True) > 0 and budget.take(1, urgent=True) == 0
    budget = clock.budget()
    assert round(budget.refused(418, {}, "") / 1e9 - clock.now) == 120
    budget = Budget(100, monotonic=lambda: 0.0, wall_ns=lambda: 1_700_000_000 * S)
    assert round(budget.refused(418, {}, "IP banned until 1700000500000") / 1e9) == 1_700_000_500
    assert retry_after_s({"retry-after": "Tue, 14 Nov 2023 22:14:20 GMT"}, 1_700_000_000 * S) == 60.0
    assert retry_after_s({"Retry-After": "soon"}, 0) is None and retry_after_s({"Retry-After": "nan"}, 0) is None
    assert retry_after_s({"Retry-After": "-5"}, 0) == 0.0


def test_pace_spreads_what_isnt_urgent() -> None:
    """A burst goes at once, then one by one."""
    pace = Pace(0.1, burst=2)
    assert [round(pace.delay_s(1), 1) for _ in range(4)] == [0.0, 0.0, 0.0, 0.1]


# --- once -------------------------------------------------------------------------------------------------------------
def claim_of(client_id: str, ns: int = 1) -> Claim:
    """A client id to be taken."""
    return Claim(client_id, ns, "BTC/USDT", "buy", "entry", False, Decimal("12.5"))


def claim(once: Once, client_id: str, ns: int = 1) -> bool:
    """Take a client id."""
    return once.take([claim_of(client_id, ns)])[0]


def test_once(tmp_path: Path) -> None:
    """An id is taken once, also after a restart; what is settled keeps its id and its history."""
    once = Once(tmp_path / "x.sqlite")
    assert claim(once, "a") and not claim(once, "a")
    once.settle("a", "NotSent", left=False)
    assert claim(once, "b", 2)
    once.settle("b", "Accepted", "v7")
    once.close()
    once = Once(tmp_path / "x.sqlite")
    assert not claim(once, "a") and not claim(once, "b")
    assert [(one.client_id, one.notional) for one in once.since(0)] == [("a", Decimal(0)), ("b", Decimal("12.5"))]
    assert once.client_of("v7") == "b" and once.client_of("") == "" and once.purpose("b") == "entry"
    assert once.purpose("c") is None
    once.close()
    assert (tmp_path / "x.sqlite").stat().st_mode & 0o777 == 0o600


def test_ids_that_come_together_share_one_sync(tmp_path: Path) -> None:
    """Each is taken once, those of one decision by one commit; all are durable when they are told."""
    once = Once(tmp_path / "x.sqlite")
    said: list[str] = []
    once._base.set_trace_callback(said.append)

    async def run() -> None:
        taken = await asyncio.gather(*(once.claim(claim_of(name)) for name in ("a", "b", "a", "c")))
        assert taken == [True, True, False, True] and said.count("COMMIT") == 1
        other = sqlite3.connect(tmp_path / "x.sqlite")
        assert [row[0] for row in other.execute("SELECT client_id FROM placed ORDER BY client_id")] == ["a", "b", "c"]
        other.close()
        assert not await once.claim(claim_of("b")) and await once.claim(claim_of("d"))

    asyncio.run(run())
    once.close()


def test_a_damaged_ledger_refuses_to_open(tmp_path: Path) -> None:
    """Without it, an order could be placed twice."""
    file = tmp_path / "x.sqlite"
    file.write_bytes(b"this is no database, whatever it is" * 200)
    with pytest.raises(InputError, match="damaged"):
        Once(file)


CLAIMS = """
import sys
from tests.bot.test_exchange_caps import claim
from bot.exchange.once import Once
from pathlib import Path
once = Once(Path(sys.argv[1]))
for number in range(10**9):
    assert claim(once, f"{number:032x}")
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_claims_outlive_a_kill(tmp_path: Path) -> None:
    """What was claimed before SIGKILL is refused after it, down to the last one that was told."""
    file = tmp_path / "x.sqlite"
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    child = subprocess.Popen([sys.executable, "-c", CLAIMS, str(file)], stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    with child.stdout as out:
        last = [int(out.readline()) for _ in range(40)][-1]
        child.send_signal(signal.SIGKILL)
        rest = out.read().split()
    child.wait()
    last = int(rest[-1]) if rest else last
    once = Once(file)
    assert not any(claim(once, f"{number:032x}") for number in range(last + 1))
    assert claim(once, "f" * 32)
    once.close()


def test_a_placed_id_is_refused_after_a_restart(tmp_path: Path) -> None:
    """The venue gets it once; a new process knows it, and its caps too."""

    async def run() -> None:
        async with world(tmp_path, caps={"orders_per_hour": 2}) as there:
            assert isinstance(await there.ask(order(1)), Accepted)
            answer = await there.ask(order(1))
            assert isinstance(answer, Refused) and answer.why == "duplicate"
        async with world(tmp_path, caps={"orders_per_hour": 2}) as there:
            answer = await there.ask(order(1))
            assert isinstance(answer, Refused) and answer.why == "duplicate"
            assert not there.stands(1)
            assert isinstance(await there.ask(order(2)), Accepted)
            answer = await there.ask(order(3))
            assert isinstance(answer, Refused) and answer.code == "orders_per_hour"
            answer = await there.ask(order(2))  # also when other checks would refuse it: it stands
            assert isinstance(answer, Refused) and answer.why == "duplicate"

    asyncio.run(run())


def test_a_ledger_that_cant_be_written_stops_orders(tmp_path: Path) -> None:
    """No durable claim, no order."""

    async def run() -> None:
        async with world(tmp_path) as there:
            await there.ask(order(1))
            blocker = sqlite3.connect(there.folder / "exchange.sqlite", isolation_level=None)
            there.process.once._base.execute("PRAGMA busy_timeout = 10")
            blocker.execute("BEGIN IMMEDIATE")
            answer = await there.ask(order(2))
            assert isinstance(answer, Refused) and answer.code == "ledger" and not there.stands(2)
            blocker.close()

    asyncio.run(run())


def test_orders_that_come_together_share_the_caps(tmp_path: Path) -> None:
    """One is counted before the next is checked, also while none of them has left; the same one comes once."""

    async def run() -> None:
        async with world(tmp_path, caps={"orders_per_minute": 2}) as there:
            answers = await asyncio.gather(*(there.ask(order(number)) for number in (1, 2, 3, 4)))
            assert sum(isinstance(one, Accepted) for one in answers) == 2
            codes = {one.code for one in answers if isinstance(one, Refused)}
            assert codes == {"orders_per_minute"}
        async with world(tmp_path / "b") as there:
            answers = await asyncio.gather(*(there.ask(order(1)) for _ in range(3)))
            assert sum(isinstance(one, Accepted) for one in answers) == 1
            assert {one.why for one in answers if isinstance(one, Refused)} == {"duplicate"}

    asyncio.run(run())
