"""What simulated worlds found in the engine: each fault once more, by hand."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backtest.facts import coins_of
from backtest.run import new_desk
from bot.engine import Engine
from bot.events import POSTS, Condition, Event, Operator, Outside, Report, Tick, Withdraw, unpack
from bot.feeds.door import Door
from bot.frozen import freeze, thaw
from bot.journal.chain import JournalError
from bot.journal.memory import MemoryJournal
from bot.recover import recover, take_terms
from bot.replay import replay_batch, replay_engine
from bot.run import Bot
from bot.session.terms import terms_body
from bot.standing import order_facts
from data.errors import InputError, RefusedError, WorkError
from risk.limits import Limits
from risk.records import KINDS, PURPOSES, STOP
from tests.bot.engine_worlds import DELAY, POST_ONLY, SECOND, T0, bar, journal_of, rows_told, spec_of, warmed
from tests.sim.loop import SimClock, simulate
from tests.sim.plan import BAR_NS, SYMBOLS


def test_entries_leave_when_the_price_rises() -> None:
    """The fixture does what the other tests build on."""
    engine, _ = warmed(spec_of())
    step = rows_told(engine, 1, 101.5)
    assert len(step.commands) == 2 and len(step.decisions) == 1


def test_an_older_bar_does_not_throw_away_the_row_that_is_awaited() -> None:
    """A symbol's bar of the close before comes while the next close is gathered."""
    engine, _ = warmed(spec_of())
    engine.handle(bar(SYMBOLS[0], 2, 101.5))
    late = engine.handle(bar(SYMBOLS[1], 1, 101.0, after=5.3))
    assert not late.rows and "came after" in late.notes[0]
    step = engine.handle(replace(bar(SYMBOLS[1], 2, 101.5), ns=T0 + 2 * BAR_NS + SECOND))
    assert len(step.rows) == 1 and np.isfinite(step.rows[0].prices[3]).all()


def test_a_row_that_waited_longer_than_a_bar_is_history() -> None:
    """The process stood still after one symbol's bar: nobody decides on it."""
    engine, _ = warmed(spec_of())
    engine.handle(bar(SYMBOLS[0], 1, 101.5))
    step = engine.handle(Tick(ns=T0 + 2 * BAR_NS + DELAY + 1))
    assert len(step.rows) == 1 and not step.decisions and not step.commands


@pytest.mark.parametrize("event", [
    Condition(ns=0, cause="stream", on=True), Operator(ns=0, act="halt", person="ann", reason="test"),
])  # fmt: skip
def test_what_tightens_is_heard_before_a_row_whose_time_is_over(event: Event) -> None:
    """After a start the venue says first that it wasn't read; the row of before doesn't enter."""
    engine, _ = warmed(spec_of())
    engine.handle(bar(SYMBOLS[0], 1, 101.5))
    step = engine.handle(replace(event, ns=T0 + BAR_NS + DELAY + 1))
    assert len(step.rows) == 1 and not len(step.sent)


def test_a_refused_chase_that_latches_ends_no_order_twice() -> None:
    """Both entries' wait is over; the second one's chase breaches the repeat throttle, which cancels the first."""
    spec = spec_of(execution=POST_ONLY, limits=Limits(repeat_orders=1, repeat_window_ns=3600 * SECOND))
    engine, _ = warmed(spec, outside=False)
    assert len(rows_told(engine, 1, 101.5).sent) == 2
    for number in (2, 3):
        rows_told(engine, number, 101.6 + 0.1 * number)
    assert len(engine.desk.working) == 0
    assert not engine.desk.books["work_entry"].any() and not engine.desk.books["work_cost"].any()
    assert engine.desk.account["reserved"] == 0.0


def test_what_another_version_wrote_is_not_taken_for_state() -> None:
    """Records laid out otherwise would be read and written beside their places."""
    engine, _ = warmed(spec_of())
    state = engine.snapshot()
    with pytest.raises(InputError, match="written by another version"):
        engine.restore(state | {"version": "1"})
    terms = terms_body(engine.desk)
    take_terms(engine.desk, {"terms": terms})
    kinds = terms["limits"]["~array"][0]
    for name, odd in (
        ("limits", {"~array": [[*kinds[1:], kinds[0]], *terms["limits"]["~array"][1:]]}),
        ("markets", freeze(thaw(terms["markets"])[:1])),
        ("policy", "nothing"),
    ):
        with pytest.raises(RefusedError, match="Go back to the version that wrote them"):
            take_terms(engine.desk, {"terms": terms | {name: odd}})
    for body in ({"is": "Report"}, {"is": "Rumour", "ns": 1}, {"is": "Posts", "ns": 1, "rows": "AAA"}):
        with pytest.raises(WorkError, match="none that this version of Tidegate writes"):
            unpack(body)


def test_what_a_kernel_raises_ends_the_session() -> None:
    """Kernels that are called by their address can't raise by themselves: numba would print it and go on."""
    engine, _ = warmed(spec_of(execution=POST_ONLY), outside=False)
    rows_told(engine, 1, 101.5)
    engine.desk.arrays["orders"]["state"][:2] = 5  # cancelled, and still on the table
    with pytest.raises(ValueError, match="illegal order move"):
        for number in (2, 3, 4):
            rows_told(engine, number, 90.0)


@pytest.mark.parametrize("case", ["can't be", "older", "both late", "clock behind", "stopped"])
def test_odd_bars_replay_to_the_same_decisions(case: str) -> None:
    """Bars that can't be, that come after a newer one, after the cutoff, or before their close by our clock."""
    spec = spec_of()
    events: list[Event] = [bar(s, n, 101.0 + n) for n in (1, 2) for s in SYMBOLS]
    if case == "can't be":
        events.insert(2, replace(bar(SYMBOLS[0], 2, 102.0, after=0.05), low=-1.0))
    elif case == "older":
        events = [bar(SYMBOLS[0], 2, 101.5), bar(SYMBOLS[0], 1, 99.0, after=5.5), bar(SYMBOLS[1], 2, 101.5, after=0.6)]
    elif case == "both late":
        events = [bar(SYMBOLS[0], 1, 101.5, after=2.5), Tick(ns=T0 + BAR_NS + 3 * SECOND)]
    elif case == "clock behind":
        events = [replace(one, ns=one.ns - 60 * SECOND) for one in (*events[:1], *events[2:])]
    else:
        events = [events[0], Condition(ns=T0 + BAR_NS + DELAY + 1, cause="stream", on=True), *events[2:]]
    events += [bar(s, 3, 104.0) for s in SYMBOLS]
    _, facts = warmed(spec)
    journal = journal_of(spec, facts, events)
    fresh = Engine(spec, new_desk(spec, outside=True), coins_of(spec))
    for found in (
        replay_engine(fresh, journal),
        replay_batch(spec, coins_of(spec), journal, outside=True, stops=True),
    ):
        assert found.none and found.compared["decisions"] > 0, found.body()


def test_a_cancel_that_may_not_have_left_is_asked_for_again() -> None:
    """The desk wants an order gone; the process dies; the venue's side of the next one takes it up."""
    spec = spec_of(execution=POST_ONLY)
    engine, facts = warmed(spec)
    events = [bar(s, 1, 101.5) for s in SYMBOLS]
    halt = Operator(ns=T0 + BAR_NS + SECOND, act="halt", person="ann", reason="test")
    journal = journal_of(spec, facts, [*events, Report(ns=T0 + BAR_NS + SECOND // 2, order=1, what="acked"), halt])
    engine = Engine(spec, new_desk(spec, outside=True), coins_of(spec))
    found = recover(engine, journal)
    facts_of = order_facts(engine, found.sessions)
    assert [(one.order, one.leaving, one.session) for one in facts_of] == [(1, True, "s0"), (2, True, "s0")]


class Full(MemoryJournal):
    """Says no at a commit."""

    full = False

    def commit(self) -> None:
        """See `MemoryJournal`."""
        if self.full:
            self.rollback()
            raise JournalError("the disk is full", why="full")
        super().commit()


class Slow:
    """A venue that takes a while to cancel, and notes what it was sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.leaving = 0
        self.gone_s = 0.0
        self.stopped_s = 0.0

    async def start(self, put: Any) -> None:
        """Nothing to read."""

    async def send(self, commands: Any) -> None:
        """Begin."""
        self.sent += commands
        self.leaving = 1
        asyncio.get_running_loop().call_later(0.3, self._gone)

    def _gone(self) -> None:
        self.leaving = 0
        self.gone_s = asyncio.get_running_loop().time()

    async def stop(self) -> None:
        """End."""
        self.stopped_s = asyncio.get_running_loop().time()

    def health(self) -> dict[str, Any]:
        """What is under way."""
        return {"leaving": self.leaving}


def test_a_full_disk_cancels_what_stands_sends_nothing_and_waits_for_the_cancels() -> None:
    """Entries of the step that couldn't be written never leave, nor do cancels of them; those that stand go."""

    async def main(loop: Any) -> Slow:
        journal, venue = Full({"bot": "00c0ffee"}), Slow()
        engine, _ = warmed(spec_of(execution=POST_ONLY))
        clock, door = SimClock(loop, T0 + BAR_NS), Door(10)
        session = Bot(engine, journal, clock=clock, door=door, venue=venue, session="s0", tick_s=100.0)
        running = asyncio.create_task(session.run())
        await asyncio.sleep(0.1)
        for symbol in SYMBOLS:
            door.put(bar(symbol, 1, 101.5))
        await asyncio.sleep(5.0)
        assert [type(one).__name__ for one in venue.sent] == ["Submit", "Submit"]
        journal.full = True
        for symbol in SYMBOLS:
            door.put(bar(symbol, 2, 102.0))
        await running
        assert session.failed is not None
        return venue

    venue = simulate(1, main)
    assert sorted((type(one).__name__, one.order) for one in venue.sent[2:]) == [("Withdraw", 1), ("Withdraw", 2)]
    assert 0.0 < venue.gone_s <= venue.stopped_s


def test_large_arrays_are_frozen_by_their_blocks() -> None:
    """Bit for bit, of any length and type, and small where nothing is."""
    rng = np.random.default_rng(1)
    for size in (4096, 5001, 70_000):
        for kind in ("f8", "i8", "u1", POSTS):
            array = np.zeros(size, kind)
            array.view(np.uint8)[rng.integers(0, array.nbytes, 5)] = 200
            back = thaw(freeze(array))
            assert back.dtype == array.dtype and back.tobytes() == array.tobytes() and back.shape == array.shape
    assert len(str(freeze(np.zeros(100_000)))) < 200


def holding(**changed: Any) -> tuple[Engine, Any, int]:
    """(an engine that holds the first symbol, its stop at the venue, the time)."""
    engine, _ = warmed(spec_of(**changed))
    first = rows_told(engine, 1, 101.5).sent[0]
    ns = T0 + BAR_NS + 2 * SECOND
    engine.handle(Report(ns=ns, order=int(first["id"]), what="filled", qty=float(first["qty"]), price=101.5, trade="1"))
    stop = next(one for one in engine.desk.working if one["kind"] == STOP)
    engine.handle(Report(ns=ns + 1, order=int(stop["id"]), what="acked", venue_id="v"))
    return engine, stop.copy(), ns + 2


@pytest.mark.parametrize("how", ["refused", "cut off", "cut off after we asked"])
def test_a_stop_that_the_price_has_passed_is_sold_for_at_once(how: str) -> None:
    """Refused since it would trigger at once, or triggered where the book ran out: nobody waits for another stop."""
    engine, stop, ns = holding()
    number, part = int(stop["id"]), 0.0
    if how == "refused":
        engine, _, ns = holding()
        step = engine.handle(Report(ns=ns, order=number, what="rejected", passed=True, text="would trigger"))
    else:
        part = round(float(stop["qty"]) / 4, 3)
        if how == "cut off after we asked":
            engine.handle(Operator(ns=ns, act="halt", person="ann", reason="test", flatten=True))
        engine.handle(Report(ns=ns + 1, order=number, what="filled", qty=part, price=100.0, trade="2"))
        step = engine.handle(Report(ns=ns + 2, order=number, what="expired"))
    sale = step.sent[0]
    assert KINDS[int(sale["kind"])] == "market" and sale["side"] == -1
    assert float(sale["qty"]) == pytest.approx(float(stop["qty"]) - part)
    assert PURPOSES[int(sale["purpose"])] == PURPOSES[int(stop["purpose"])]
    assert engine.desk.books["blocked"][0] == 1.0


def test_a_stop_that_the_venue_lets_pass_is_sold_for_at_the_close() -> None:
    """A stop-limit that found nobody in a gap still stands: it is cancelled and the position sold, not before it had
    its time.
    """
    engine, stop, _ = holding()
    below = float(stop["stop"]) - 0.5
    early = rows_told(engine, 5, below)
    assert not early.commands and engine.desk.books["blocked"][0] == 0.0
    for number in range(6, 13):
        assert not rows_told(engine, number, float(stop["stop"]) + 0.5).commands
    step = rows_told(engine, 14, below)
    cancels = [one.order for one in step.commands if isinstance(one, Withdraw) and one.symbol == SYMBOLS[0]]
    assert cancels == [int(stop["id"])] and not len(step.sent)
    ns = T0 + 14 * BAR_NS + SECOND
    sale = engine.handle(Report(ns=ns, order=int(stop["id"]), what="cancelled")).sent[0]
    assert KINDS[int(sale["kind"])] == "market" and sale["qty"] == pytest.approx(float(stop["qty"]))


def test_a_refused_stop_that_may_still_stand_is_tried_again() -> None:
    """For another reason, twice; the third time the position is sold."""
    engine, stop, ns = holding()
    number = int(stop["id"])
    for turn in range(2):
        assert not len(engine.handle(Report(ns=ns, order=number, what="rejected", text="funds")).sent)
        ns += 11 * SECOND
        again = engine.handle(Tick(ns=ns)).sent[0]
        assert again["kind"] == STOP and engine.desk.books["refusals"][0] == turn + 1
        number, ns = int(again["id"]), ns + 1
    assert KINDS[int(engine.handle(Report(ns=ns, order=number, what="rejected")).sent[0]["kind"])] == "market"


@pytest.mark.parametrize("ending", ["expired", "cancelled"])
def test_a_sale_in_place_of_a_stop_goes_on_where_the_book_ran_out(ending: str) -> None:
    """Part of it was traded, and the venue gave up the rest: it is sent again at once, until all is sold."""
    engine, stop, ns = holding()
    sale = engine.handle(Report(ns=ns, order=int(stop["id"]), what="rejected", passed=True)).sent[0]
    left = float(sale["qty"])
    for turn in range(2):
        number, part = int(sale["id"]), round(left / 3, 3)
        engine.handle(Report(ns=ns + 1, order=number, what="filled", qty=part, price=99.0, trade=f"t{turn}"))
        step = engine.handle(Report(ns=ns + 2, order=number, what=ending))
        left, sale, ns = left - part, step.sent[0], ns + 10
        assert KINDS[int(sale["kind"])] == "market" and float(sale["qty"]) == pytest.approx(left)
        assert sale["purpose"] == stop["purpose"]
    engine.handle(Report(ns=ns, order=int(sale["id"]), what="filled", qty=float(sale["qty"]), price=99.0, trade="last"))
    assert engine.desk.books["qty"][0] == 0.0 and not len(engine.desk.working[engine.desk.working["symbol"] == 0])
    assert not len(engine.handle(Tick(ns=ns + 11 * SECOND)).sent)


def test_an_exit_that_sold_more_than_the_desk_still_held_ends() -> None:
    """Ours was cut while an exit was on its way: its fill books what was ours, and the order is over."""
    engine, _ = warmed(spec_of())
    orders = [int(one["id"]) for one in rows_told(engine, 1, 101.5).sent]
    ns = T0 + BAR_NS + 2 * SECOND
    qty = float(engine.desk.working["qty"][0])
    engine.handle(Report(ns=ns, order=orders[0], what="filled", qty=qty, price=101.5, trade="1"))
    stop = next(one for one in engine.desk.working if one["id"] not in orders)
    for cut in (round(qty / 2, 3), 0.0):
        twin = Engine(engine.spec, new_desk(engine.spec, outside=True), engine.coins)
        twin.restore(engine.snapshot())
        twin.handle(Outside(ns=ns + 1, symbol=SYMBOLS[0], qty=cut, price=101.5))
        twin.handle(Report(ns=ns + 2, order=int(stop["id"]), what="filled", qty=qty, price=100.0, trade="2"))
        assert twin.desk.books["qty"][0] == 0.0
        assert int(stop["id"]) not in twin.desk.working["id"] and twin.desk.books["protected"][0] == 0
