"""What hands outside move: coins that somebody sold are not bought back, and funding that was paid counts in full."""

import numpy as np
import pytest

from backtest.facts import coins_of
from backtest.run import new_desk
from bot.engine import Engine
from bot.events import Condition, Event, Funding, Operator, Outside, Report, Tick, Transfer, Withdraw
from bot.replay import replay_batch, replay_engine
from risk.limits import Limits
from risk.records import ACTIVE, ENTRY, NO_NEW_RISK, STOP
from tests.bot.engine_worlds import POST_ONLY, SECOND, T0, bar, journal_of, rows_told, spec_of, warmed
from tests.sim.plan import BAR_NS, SYMBOLS


def by_hand(share: float) -> list[Event]:
    """Both entries fill; a person sells `share` of the first coin at the venue, then resumes. The price goes on rising,
    falls until nothing is wanted, and rises again.
    """
    engine, _ = warmed(spec_of())
    events: list[Event] = [bar(s, 1, 101.5) for s in SYMBOLS]
    for event in events:
        engine.handle(event)
    ns = T0 + BAR_NS + SECOND
    for one in engine.desk.working.copy():
        told = {"order": int(one["id"]), "qty": float(one["qty"]), "price": 101.5, "trade": str(one["id"])}
        events.append(Report(ns=ns, what="filled", **told))
    left = round(float(engine.desk.working["qty"][0]) * (1.0 - share), 3)
    events += [
        Outside(ns=ns + 1, symbol=SYMBOLS[0], qty=left, price=101.5),
        Condition(ns=ns + 2, cause="reconciliation", on=True),
        Operator(ns=ns + SECOND, act="resume", person="ann", reason="I sold it"),
        Tick(ns=ns + 2 * SECOND),
    ]
    for number, close in enumerate((102.0, 102.5, 99.0, 95.0, 95.0, 95.0, 99.0), 2):
        events += [bar(s, number, close) for s in SYMBOLS]
    return events


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_what_a_person_sold_is_not_bought_back_until_the_strategy_wanted_nothing(share: float) -> None:
    """All of it or half: what is left is kept, no more is bought, and after a target of 0 all is as ever."""
    events = by_hand(share)
    engine, _ = warmed(spec_of())
    bought: list[int] = []  # closes at which the coin that was sold was entered, and left
    left: list[int] = []
    for event in events:
        steps = [engine.handle(event)]
        if isinstance(event, Outside):
            assert float(engine.desk.books["qty"][0]) == event.qty
        for one in engine.desk.working[engine.desk.working["asked_ns"] != 0].copy():
            steps.append(engine.handle(Report(ns=engine.now_ns, order=int(one["id"]), what="cancelled")))
        for step in steps:
            ours = step.sent[(step.sent["symbol"] == 0) & (step.sent["kind"] != STOP)]
            bought += [(event.ns - T0) // BAR_NS for one in ours if one["purpose"] == ENTRY]
            left += [(event.ns - T0) // BAR_NS for one in ours if one["purpose"] != ENTRY]
    assert bought == [1, 8], (bought, left)
    assert len(left) == (share < 1.0), left  # what was left went when the strategy wanted nothing, not before


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_sale_by_hand_replays_to_the_same_decisions(share: float) -> None:
    """By the engine and in the batch form."""
    spec = spec_of()
    _, facts = warmed(spec)
    journal = journal_of(spec, facts, by_hand(share))
    for found in (
        replay_engine(Engine(spec, new_desk(spec, outside=True), coins_of(spec)), journal),
        replay_batch(spec, coins_of(spec), journal, outside=True, stops=True),
    ):
        assert found.none and found.compared["decisions"] > 5, found.body()


def test_an_entry_that_stands_while_somebody_sells_goes_and_is_not_chased() -> None:
    """Half of it had filled. Its cancel is confirmed after its wait was over: that is no reason to place it anew."""
    engine, _ = warmed(spec_of(execution=POST_ONLY))
    entry = int(rows_told(engine, 1, 101.5).sent[0]["id"])
    half = round(float(engine.desk.working["qty"][0]) / 2, 3)
    ns = T0 + BAR_NS + 4 * SECOND + SECOND // 2
    engine.handle(Report(ns=ns, order=entry, what="filled", qty=half, price=101.5, trade="1"))
    told = engine.handle(Outside(ns=ns + 1, symbol=SYMBOLS[0], qty=0.0, price=101.5))
    assert Withdraw(order=entry, symbol=SYMBOLS[0]) in told.commands
    gone = engine.handle(Report(ns=ns + 2, order=entry, what="cancelled"))
    assert not len(gone.sent) and engine.desk.books["work_entry"][0] == 0.0


def test_an_entry_that_stands_while_its_stop_sells_goes_and_is_not_chased() -> None:
    """Half of it had filled, and the venue's stop has sold that half: the rest leaves now, not at the close."""
    engine, _ = warmed(spec_of(execution=POST_ONLY))
    entry = int(rows_told(engine, 1, 101.5).sent[0]["id"])
    half = round(float(engine.desk.working["qty"][0]) / 2, 3)
    ns = T0 + BAR_NS + 4 * SECOND + SECOND // 2
    filled = engine.handle(Report(ns=ns, order=entry, what="filled", qty=half, price=101.5, trade="1"))
    stop = next(int(one["id"]) for one in filled.sent if one["kind"] == STOP)
    told = engine.handle(Report(ns=ns + 1, order=stop, what="filled", qty=half, price=99.0, trade="2"))
    assert Withdraw(order=entry, symbol=SYMBOLS[0]) in told.commands
    gone = engine.handle(Report(ns=ns + 2, order=entry, what="cancelled"))
    assert not len(gone.sent) and engine.desk.books["work_entry"][0] == 0.0 and engine.desk.books["qty"][0] == 0.0


def perpetual(**changed: int) -> Engine:
    """An engine that holds both perpetuals."""
    spec = spec_of(market="perp", leverage=2.0, limits=Limits(flood_posts=10**6, **changed))
    engine, _ = warmed(spec)
    rows_told(engine, 1, 101.5)
    ns = T0 + BAR_NS + SECOND
    for one in engine.desk.working.copy():
        told = {"qty": float(one["qty"]), "price": 101.5, "fee": 0.1, "trade": str(one["id"])}
        engine.handle(Report(ns=ns, order=int(one["id"]), what="filled", **told))
    return engine


@pytest.mark.parametrize("rate", [0.002, -0.002, 0.4])
def test_funding_that_was_paid_counts_as_funding_that_was_reckoned(rate: float) -> None:
    """Cash, margin when the free cash is short, the trade's profit and the ladder: bit for bit."""
    desks = []
    for paid in (False, True):
        engine = perpetual(loss_streak=1000)
        ns, book = engine.now_ns, engine.desk.books[0]
        free = float(engine.desk.account["cash"])
        engine.handle(Transfer(ns=ns + 1, amount=10.0 - free, person="ann", reason="elsewhere"))
        margin = float(book["margin"])
        if paid:
            amount = float(book["qty"]) * float(book["last"]) * rate
            funding = Funding(ns=ns + 2, symbol=SYMBOLS[0], due_ns=ns, amount=amount, venue_id="f1")
        else:
            funding = Funding(ns=ns + 2, symbol=SYMBOLS[0], due_ns=ns, rate=rate)
        engine.handle(funding)
        assert (float(book["margin"]) < margin) == (rate > 0.1) and engine.desk.account["cash"] >= 0.0
        desks.append(engine.desk)
    for name in ("account", "books", "latches"):
        assert np.array_equal(desks[0].arrays[name], desks[1].arrays[name]), name


@pytest.mark.parametrize(("amount", "level"), [(50.0, NO_NEW_RISK), (0.5, ACTIVE)])
def test_a_gain_that_funding_ate_counts_as_a_loss(amount: float, level: int) -> None:
    """Control 13 sees what the trade brought, funding and fees included; what comes after its end is no trade's."""
    engine = perpetual(loss_streak=1)
    ns, qty = engine.now_ns, float(engine.desk.books["qty"][0])
    engine.handle(Funding(ns=ns + 1, symbol=SYMBOLS[0], due_ns=ns, amount=amount, venue_id="f1"))
    engine.handle(Outside(ns=ns + 2, symbol=SYMBOLS[0], qty=0.0, price=101.5 + 20.0 / qty))
    assert engine.desk.books["qty"][0] == 0.0 and engine.desk.account["level"] == level
    cash, losses = float(engine.desk.account["cash"]), int(engine.desk.account["losses"])
    engine.handle(Funding(ns=ns + 3, symbol=SYMBOLS[0], due_ns=ns, amount=1e6, venue_id="f2"))
    book = engine.desk.books[0]
    assert (float(book["margin"]), float(book["trade_pnl"])) == (0.0, 0.0)
    assert float(engine.desk.account["cash"]) == cash - 1e6 and engine.desk.account["losses"] == losses
