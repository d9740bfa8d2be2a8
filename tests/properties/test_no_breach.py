"""No sequence of bars, wishes and limits breaches a limit, loses a cent or keeps an exit from getting out."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backtest.loop import act_on, before_decision, close_row, open_row
from risk.records import (
    ACTIVE,
    ENTRY,
    EV_FUNDING,
    EV_LADDER,
    EV_LIQUIDATED,
    EV_REFUSED,
    HALTED,
    LIQUIDATION,
    REDUCE_ONLY,
    RULES,
)
from tests.backtest.oracles.play import Play
from tests.backtest.oracles.scenes import Scene, play_of, scenes

CENT = 0.01


class Watch:
    """Looks at the desk after every event and remembers what it was before."""

    def __init__(self, play: Play, scene: Scene) -> None:
        self.play, self.scene, self.desk = play, scene, play.desk
        self.start = float(self.desk.account["cash"])
        self.limits = self.desk.arrays["limits"][0]
        self.halted = False
        self.remember()

    def remember(self) -> None:
        """What stands now."""
        account = self.desk.account
        self.equity, self.level, self.next_id = float(account["equity"]), int(account["level"]), int(account["next_id"])

    def look(self) -> None:
        """All that has to hold after any event."""
        self.cash()
        self.entries()
        self.halted |= int(self.desk.account["level"]) == HALTED
        self.remember()

    def cash(self) -> None:
        """Settled cash of spot stays at 0 or more, and what is reserved can be paid."""
        account = self.desk.account
        assert account["reserved"] >= 0.0
        if not self.scene.perp:
            assert account["cash"] >= -1e-9
            assert account["reserved"] <= account["cash"] + 1e-6
            assert (self.desk.books["qty"] >= 0.0).all()

    def entries(self) -> None:
        """What was approved since the last look keeps every cap at its worst price; none above ACTIVE."""
        desk, working = self.desk, self.desk.working
        fresh = working[(working["id"] >= self.next_id) & (working["purpose"] == ENTRY)]
        if self.level != ACTIVE and int(desk.account["level"]) != ACTIVE:
            assert len(fresh) == 0
        if not len(fresh):
            return
        waiting = working[working["purpose"] == ENTRY]
        cost = np.bincount(
            waiting["symbol"],
            weights=(waiting["qty"] - waiting["filled"]) * waiting["limit"],
            minlength=self.scene.symbols,
        )
        assert (fresh["qty"] * fresh["limit"] <= self.limits["order_notional"] * (1 + 1e-6)).all()
        books = desk.books
        position = np.abs(books["qty"]) * books["last"] + cost
        equity = max(self.equity, float(desk.account["equity"])) * (1 + 1e-6)
        slack = 1 + 1e-6
        touched = np.unique(fresh["symbol"])
        assert (position[touched] <= self.limits["position_notional"] * slack).all()
        assert (position[touched] <= self.limits["asset_share"] * equity).all()
        assert position.sum() <= self.limits["gross_notional"] * slack
        assert position.sum() <= self.limits["gross_leverage"] * equity
        for side in np.unique(fresh["side"]):
            mine = waiting["side"] == side
            worst = ((waiting["qty"] - waiting["filled"]) * waiting["limit"])[mine].sum()
            assert side * (books["qty"] * books["last"]).sum() + worst <= self.limits["net_notional"] * slack
        if self.scene.limits["tag_share"] and (touched < 2).any():
            assert position[:2].sum() <= 0.5 * equity

    def balance(self) -> None:
        """Equity = start - what fills cost - fees - funding + what is held, recomputed from the fills alone."""
        fills, books = self.desk.fills, self.desk.books
        paid = self.play.events_of(EV_FUNDING)["observed"].sum()
        in_quote = np.where(fills["fee_base"] > 0.0, 0.0, fills["fee"]).sum()
        held = np.bincount(fills["symbol"], weights=fills["qty"] - fills["fee_base"], minlength=self.scene.symbols)
        np.testing.assert_allclose(held, books["qty"], atol=1e-9)
        worth = self.start - (fills["qty"] * fills["price"]).sum() - in_quote - paid + (held * books["last"]).sum()
        account = self.desk.account
        assert abs(account["equity"] - worth) < CENT
        open_profit = (books["qty"] * (books["last"] - books["avg"])).sum()
        assert abs(account["equity"] - (self.start + account["realised"] + open_profit - account["funding"])) < CENT


def walk(play: Play, watch: Watch) -> None:
    """Every event one by one, with a look after each."""
    tape, desk = play.tape, play.desk
    for row in range(len(tape["close_ns"])):
        assert open_row(desk.ref, tape.ref)
        watch.look()
        assert close_row(desk.ref, tape.ref)
        watch.look()
        if before_decision(desk.ref, tape.ref):
            tape["weights"][row] = play.wanted[row]
            act_on(desk.ref, tape.ref, 0)
        watch.look()


@settings(max_examples=300)
@given(scene=scenes)
def test_limits_cash_and_cents(scene: Scene) -> None:
    """Over every event of a wild market; and once the market is calm and nothing is wanted, everything is sold."""
    play = play_of(scene)
    watch = Watch(play, scene)
    walk(play, watch)
    watch.balance()
    desk = play.desk
    books, market = desk.books, desk.arrays["markets"][0]
    dust = np.abs(books["qty"]) < market["lot"] * (1 - 1e-9)
    if not scene.perp:
        dust |= np.abs(books["qty"]) * books["last"] < market["min_notional"]
    assert dust.all(), books["qty"]
    fills = desk.fills
    before = np.zeros(scene.symbols)
    for fill in fills:
        k = int(fill["symbol"])
        assert before[k] * fill["held"] >= -1e-9  # nothing turns in one fill
        before[k] = fill["held"]
    plain = fills[fills["purpose"] != LIQUIDATION]
    steps = np.abs(plain["qty"]) / market["lot"]
    assert (np.abs(steps - np.rint(steps)) < 1e-6).all()
    done = desk.done
    assert (done["filled"] <= done["qty"] * (1 + 1e-9)).all() and len(np.unique(done["id"])) == len(done)


@settings(max_examples=120)
@given(scene=scenes)
def test_everything_that_was_refused_or_tightened_is_on_record(scene: Scene) -> None:
    """Rule, limit and observed are there, observed lies on the wrong side of its limit, and moves follow each other."""
    play = play_of(replace(scene, limits={**scene.limits, "drawdown": 0.1, "orders_per_minute": 2})).run()
    level = ACTIVE
    for event in play.desk.events:
        if event["kind"] == EV_REFUSED:
            assert int(event["rule"]) in RULES and np.isfinite(event["observed"]) and event["qty"] != 0.0
        if event["kind"] == EV_LADDER:
            assert event["was"] == level and event["level"] != level and int(event["rule"]) in RULES
            level = int(event["level"])
    assert level == play.desk.account["level"]


@settings(max_examples=120)
@given(scene=scenes)
def test_after_halted_nothing_is_new(scene: Scene) -> None:
    """Whatever is wished for: with a policy of never resuming, no entry is sent or filled after the halt."""
    play = play_of(replace(scene, resume_ns=-1, limits={**scene.limits, "drawdown": 0.05})).run()
    halts = [e["ns"] for e in play.events_of(EV_LADDER) if e["level"] == HALTED]
    flat = [e["ns"] for e in play.events_of(EV_LADDER) if e["level"] >= REDUCE_ONLY]
    orders = np.concatenate([play.desk.done, play.desk.working])
    for since in (*halts, *flat):
        assert not ((orders["purpose"] == ENTRY) & (orders["decided_ns"] > since)).any()
        assert not ((play.fills["purpose"] == ENTRY) & (play.fills["ns"] > since)).any()


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), perp=st.booleans(), code=st.integers(1, 6), signal=st.integers(0, 3))
def test_not_knowing_leaves_the_position_as_it_is(seed: int, perp: bool, code: int, signal: int) -> None:
    """From some bar on every symbol is unknown, for whatever reason: quantities stay to the bit, wishes go unread."""
    wide = {
        "order_notional": np.inf, "position_notional": np.inf, "gross_notional": np.inf, "net_notional": np.inf,
        "gross_leverage": 1e9, "asset_share": 1e9, "turnover_per_day": np.inf, "orders_per_minute": 1000,
        "repeat_orders": 300, "daily_loss": 1e9, "drawdown": 1e9, "loss_streak": 10**6, "price_collar": 0.05,
        "tag_share": {},
    }  # fmt: skip
    none = (np.nan, np.nan, np.nan, 0)
    scene = Scene(seed, 2, perp, 1.0, True, False, 1.0, none, wide, 0.0)
    play = play_of(scene)
    play.wanted[-8:] = play.wanted[:8]
    since = 20
    play.tape["states"][since:] = code | signal << 3
    seen: list[Any] = []

    def look(run: Play, when: str, decision: int) -> None:
        if when == "after" and decision >= since:
            orders = len(run.desk.working) + len(run.desk.done)
            seen.append((run.desk.books["qty"].tolist(), orders, int(run.desk.account["errors"])))

    play.run(look)
    assume(not len(play.events_of(EV_LIQUIDATED)))  # the venue asks nobody
    settled = [each for each in seen if each[1] == seen[-1][1]]
    assert len(settled) > 15 and all(each == settled[-1] for each in settled[3:])
