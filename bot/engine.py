"""The engine: one event in, one step out. It reads no clock, no network, no disk, and can't tell its mode.

Bars of one close are gathered until all symbols have theirs, or the run's decision delay is over; then the desk is told
of the row and the strategy is asked, through the kernels of the backtest's loop. Facts go to the signals as they come.
Reports of a venue, conditions and a person's word go to the desk as messages. Every order passes the gate on the way.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from backtest.crowd import guard_limits, looked_at
from backtest.spec import RunSpec
from bot.events import Bar, Command, Condition, Event, Observation, Operator, Posts, Tick, Withdraw
from bot.frozen import freeze, thaw
from bot.hearing import Ear
from bot.rows import Gathering, RowRunner
from bot.step import Decision, Row, Step, submit_of
from data.errors import InputError
from risk.desk import Desk
from risk.novelty import FLOODED
from risk.records import ACCOUNT, BOOK, LATCH, LIMITS, MARKETS, NOVELTY, ORDER, POLICY, Array
from signals.ops import OWN_COIN, scope_of
from signals.stream import Stream

DESK_LOGS = ("fills", "events", "done")


@cache
def snapshot_version() -> str:
    """What a snapshot of this version says of itself: its form, and a hash of the records it keeps, field by field."""
    kinds = (ACCOUNT, BOOK, ORDER, LIMITS, MARKETS, POLICY, LATCH, NOVELTY)
    return f"2 {hashlib.sha256(repr([kind.descr for kind in kinds]).encode()).hexdigest()[:16]}"


class Engine:
    """All that decides, in memory.

    Parameters
    ----------
    spec : RunSpec
        The run, with every market's grid settled.
    desk : Desk
        The wallet, with the policy of its venue.
    coins : tuple of str
        The symbols' coins, then further ones that signals name.
    """

    def __init__(self, spec: RunSpec, desk: Desk, coins: tuple[str, ...]) -> None:
        self.spec, self.desk, self.coins = spec, desk, coins
        self.symbols = tuple(spec.symbols)
        self.names = tuple(spec.strategy.signals)
        self._places = {symbol: k for k, symbol in enumerate(self.symbols)}
        self._coins = {coin: k for k, coin in enumerate(coins)} | {"*": -1}
        self._guard = guard_limits(spec.limits)
        age = spec.limits.signal_age_ns
        bound = spec.strategy.signals
        self.stream = Stream(bound, self.symbols, coins, spec.bar_ns, max_age_ns=age, guard=self._guard)
        self.rows = RowRunner(spec, desk)
        self.ear = Ear(desk, self.symbols)
        self._gathering = Gathering(spec)
        self._scopes = [scope_of(coin, coins) for coin in looked_at(spec)]
        self._floods: list[tuple[int, int]] = []  # (known_ns, coin index) since the last row
        self._row_ns = 0  # close of the last row
        self._decided_ns = -(2**62)
        self._asked: set[int] = set()
        self.now_ns = self._before_ns = 0  # of this event, and of the one before: all that it brought is known
        self.last: tuple[Decision, ...] = ()

    @property
    def row_ns(self) -> int:
        """Close of the last row that the desk was told of; 0 before the first."""
        return self._row_ns

    # --- events -------------------------------------------------------------------------------------------------------
    def handle(self, event: Event) -> Step:
        """Take one event; what came of it. `ns` never goes back.

        Raises
        ------
        ValueError
            Time went back, or an order made a move that its life cycle doesn't have.
        """
        if event.ns < self.now_ns:
            raise ValueError(f"time goes back, from {self.now_ns} to {event.ns}")
        with _loud_kernels():
            return self._handle(event)

    def _handle(self, event: Event) -> Step:
        self._before_ns, self.now_ns = self.now_ns, event.ns
        first = int(self.desk.account["next_id"])
        rows: list[Row] = []
        decisions: list[Decision] = []
        notes: list[str] = []
        tightened = is_tightening(event)
        if tightened:  # before a row whose time is over: after a start nobody decides ahead of the venue's word
            self._reserve()
            notes += self.ear.hear(event)
        self._finish_due(event.ns, rows, decisions)
        if tightened:
            pass
        elif isinstance(event, Bar):
            self._on_bar(event, rows, decisions, notes)
        elif isinstance(event, Posts):
            self._on_posts(posts_now(event))
        elif isinstance(event, Observation):
            self._on_metric(observed_now(event))
        elif not (isinstance(event, Tick) and not self.ear.needs_tick()):
            self._reserve()
            notes += self.ear.hear(event)
        if isinstance(event, Posts | Observation):
            self._on_fact(event.ns, decisions)
        return self._step(event.ns, first, rows, decisions, notes)

    def learn(self, event: Bar | Posts | Observation) -> None:
        """Take a fact of the past, before the first event: signals warm up on it, and nobody decides."""
        if isinstance(event, Bar):
            self._learn_bar(event)
            k = self._places[event.symbol]
            close, volume = np.full(len(self.symbols), np.nan), np.full(len(self.symbols), np.nan)
            close[k], volume[k] = event.close, event.volume
            self.rows.unusual(close, volume)
            self._row_ns = max(self._row_ns, event.close_ns)
        elif isinstance(event, Posts):
            for post in event.rows:
                self._learn_post(post)
            self._floods.clear()
        else:
            self._on_metric(event)

    def _learn_bar(self, bar: Bar) -> None:
        prices = (bar.open, bar.high, bar.low, bar.close, bar.volume)
        self.stream.on_bar(self._places[bar.symbol], bar.close_ns, *prices)

    def _learn_post(self, post: Any) -> bool:
        return self.stream.on_sentiment(
            int(post["coin"]), int(post["event_ns"]), int(post["known_ns"]), float(post["score"]),
            float(post["weight"]), int(post["author"]), int(post["source"]), int(post["revision"]),
            bool(post["trusted"]), int(post["cluster"]), int(post["flags"]),
        )  # fmt: skip

    def _on_bar(self, bar: Bar, rows: list[Row], decisions: list[Decision], notes: list[str]) -> None:
        if bar.symbol not in self._places:
            return
        if not is_sound(bar, self.spec.bar_ns):
            notes.append(f"a bar of {bar.symbol} that can't be one was left out")
            return
        if self._gathering.close_ns and bar.close_ns > self._gathering.close_ns:
            self._finish(min(self._awaited_ns, bar.ns - 1), rows, decisions)
        self._learn_bar(bar)
        if bar.close_ns <= self._row_ns or bar.close_ns < self._gathering.close_ns:
            if not bar.caught_up:
                notes.append(f"a bar of {bar.symbol} came after its row was closed: signals learn it, nobody decides")
            return
        self._gathering.add(bar)
        if self._gathering.whole:
            self._finish(bar.ns, rows, decisions)

    def _on_posts(self, event: Posts) -> None:
        for post in event.rows:
            if self._learn_post(post):
                self._floods.append((int(post["known_ns"]), int(post["coin"])))

    def _on_metric(self, event: Observation) -> None:
        coin = self._coins.get(event.coin)
        if coin is not None:
            self.stream.on_metric(event.name, coin, event.event_ns, event.known_ns, event.value, event.revision)

    def _on_fact(self, ns: int, decisions: list[Decision]) -> None:
        """Decide on facts, where the run does, at most every so often; what comes after a close waits for its row."""
        spec = self.spec
        if spec.decide_on != "facts" or self._gathering.close_ns or not self._row_ns:
            return
        last = max(self._decided_ns, self._row_ns)
        if self._row_ns < ns < self._row_ns + spec.bar_ns and ns - last >= spec.every_ns:
            decisions.append(self._decide(ns, ns))

    # --- rows ---------------------------------------------------------------------------------------------------------
    def _finish_due(self, ns: int, rows: list[Row], decisions: list[Decision]) -> None:
        """Close the awaited row when its time is over."""
        if self._gathering.close_ns and ns > self._awaited_ns:
            self._finish(self._awaited_ns, rows, decisions)

    @property
    def _awaited_ns(self) -> int:
        """Until when the bars of the row are waited for."""
        return self._gathering.close_ns + self.spec.decision_delay_ns

    def _finish(self, cutoff_ns: int, rows: list[Row], decisions: list[Decision]) -> None:
        """Close the row. The decision knows what was told up to the cutoff, which is never before what was told."""
        cutoff_ns = max(cutoff_ns, self._before_ns)
        gathered = self._gathering
        # A row that waited for longer than a bar is history: the process was gone, or stood still.
        caught_up = gathered.caught_up or self.now_ns > self._awaited_ns + self.spec.bar_ns
        close_ns = gathered.close_ns
        prices = gathered.prices.copy()
        gathered.clear()
        strange = self.rows.unusual(prices[3], prices[4]) | self._flooded(close_ns)
        open_ns = close_ns - self.spec.bar_ns
        row = Row(
            open_ns=open_ns, close_ns=close_ns, prices=tuple(prices), strange=strange,  # type: ignore[arg-type]
            risk_bar=self.rows.is_risk_bar(close_ns, open_ns),
        )  # fmt: skip
        self._reserve()
        self.rows.close(row)
        self._row_ns = close_ns
        rows.append(row)
        if not caught_up:
            decisions.append(self._decide(close_ns, cutoff_ns))

    def _flooded(self, close_ns: int) -> Array:
        """u1[M]: symbols whose coins' posts breached control 21 up to this close; later ones wait for the next."""
        marks = np.zeros(len(self.symbols), np.uint8)
        for known, coin in self._floods:
            if known > close_ns:
                continue
            for scope in self._scopes:
                if scope == OWN_COIN and 0 <= coin < len(marks):
                    marks[coin] |= FLOODED
                elif scope == coin:
                    marks[:] |= FLOODED
        self._floods = [(known, coin) for known, coin in self._floods if known > close_ns]
        return marks

    def _decide(self, ns: int, cutoff_ns: int) -> Decision:
        self._reserve()
        values, states = self.stream.read(ns)
        self._decided_ns = ns
        return self.rows.decide(ns, cutoff_ns, values, states)

    # --- what came of it ----------------------------------------------------------------------------------------------
    def _reserve(self) -> None:
        if self.desk.logs_are_full:
            self.desk.grow_logs()

    def _step(self, ns: int, first: int, rows: list[Row], decisions: list[Decision], notes: list[str]) -> Step:
        desk = self.desk
        account = desk.account
        if decisions:
            self.last = tuple(decisions)
        sent = desk.working[desk.working["id"] >= first]
        if int(account["n_done"]):
            over = desk.done[desk.done["id"] >= first]
            sent = np.concatenate([over, sent])
            sent = sent[np.argsort(sent["id"])]
        step = Step(
            ns=ns, rows=tuple(rows), decisions=tuple(decisions), sent=sent.copy(), ended=desk.done.copy(),
            fills=desk.fills.copy(), events=desk.events.copy(), commands=self._commands(sent, ns), notes=tuple(notes),
        )  # fmt: skip
        self.ear.remember(sent)
        for log in DESK_LOGS:
            account[f"n_{log}"] = 0  # all of it stands in the step: a week takes no more memory than an hour
        return step

    def _commands(self, sent: Array, ns: int) -> tuple[Command, ...]:
        if not self.desk.arrays["policy"]["outside"][0]:
            return ()
        commands: list[Command] = [submit_of(order, self.symbols, ns) for order in sent]
        working = self.desk.working
        asked = working[working["asked_ns"] != 0]
        for order in asked:
            if int(order["id"]) not in self._asked:
                commands.append(Withdraw(order=int(order["id"]), symbol=self.symbols[order["symbol"]]))
        self._asked = set(asked["id"].tolist())
        return tuple(commands)

    # --- state --------------------------------------------------------------------------------------------------------
    def snapshot(self) -> dict[str, Any]:
        """All state, as JSON values."""
        gathered = self._gathering
        return {
            "version": snapshot_version(),
            "identity": self._identity(),
            "desk": freeze({name: array for name, array in self.desk.arrays.items() if name not in DESK_LOGS}),
            "stream": freeze(self.stream.snapshot()),
            "novelty": freeze(self.rows.memory),
            "risk_part": self.rows.risk_part,
            "gathering": freeze([gathered.close_ns, gathered.caught_up, gathered.prices]),
            "floods": freeze(self._floods),
            "times": [self._row_ns, self._decided_ns, self.now_ns],
            "asked": sorted(self._asked),
            "ear": freeze(self.ear.memory()),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot.

        Raises
        ------
        InputError
            It was taken by another version, or of another strategy, other symbols, markets or bars.
        """
        if state.get("version") != snapshot_version():
            raise InputError(
                "the state of this session was written by another version of Tidegate", key="journal",
                remedy="Go back to that version, or begin a new session under another live.name",
            )  # fmt: skip
        if state["identity"] != self._identity():
            raise InputError(
                "this session was begun with another strategy, other symbols, bars, model or markets",
                key="journal",
                remedy="Go back to that configuration, or begin a new session under another live.name",
            )
        for name, array in thaw(state["desk"]).items():
            if name in (*DESK_LOGS, "limits", "policy", "markets", "tag_shares"):
                continue  # empty between steps; the present configuration's, checked by whoever restores
            self.desk.replace(name, array)
        self.stream.restore(thaw(state["stream"]))
        self.rows.memory[:] = thaw(state["novelty"])
        self.rows.risk_part = int(state["risk_part"])
        gathered = thaw(state["gathering"])
        self._gathering.close_ns, self._gathering.caught_up = gathered[0], gathered[1]
        self._gathering.prices[:] = gathered[2]
        self._floods = thaw(state["floods"])
        self._row_ns, self._decided_ns, self.now_ns = state["times"]
        self._asked = set(state["asked"])
        self.ear.recall(thaw(state["ear"]))

    def last_close(self, symbol: str) -> int:
        """When the newest bar that signals know of a symbol closed, in nanoseconds; -1 when they know none."""
        return self.stream.last_close(self._places[symbol])

    def _identity(self) -> str:
        spec = self.spec
        model = (spec.model, spec.model_revision)
        return repr((spec.strategy.identity(), self.symbols, self.coins, spec.bar_ns, spec.market, model))


@contextlib.contextmanager
def _loud_kernels() -> Iterator[None]:
    """Raise what a kernel raised that was called by its address: numba prints it and goes on, with half a desk."""
    raised: list[BaseException] = []
    hook = sys.unraisablehook

    def keep(told: Any) -> None:
        if "numba" in repr(told.object) and told.exc_value is not None:
            raised.append(told.exc_value)
        else:
            hook(told)

    sys.unraisablehook = keep
    try:
        yield
    finally:
        sys.unraisablehook = hook
    if raised:
        raise raised[0]


def posts_now(event: Posts) -> Posts:
    """Posts of a running session are known when the engine is told of them: scored, stored, through the queue."""
    rows = event.rows.copy()
    rows["known_ns"] = event.ns
    return replace(event, rows=rows)


def observed_now(event: Observation) -> Observation:
    """The same of one value of a metric."""
    return replace(event, known_ns=event.ns)


def is_tightening(event: Event) -> bool:
    """Whether it can only take freedom away: then it is heard before anything that was due."""
    return (isinstance(event, Condition) and event.on) or (isinstance(event, Operator) and event.act == "halt")


def is_sound(bar: Bar, bar_ns: int) -> bool:
    """Whether it can be a bar of that length: one that can't is nobody's fact."""
    if bar.close_ns - bar.open_ns != bar_ns:
        return False
    prices = (bar.open, bar.high, bar.low, bar.close)
    whole = all(np.isfinite(price) and price > 0.0 for price in prices) and np.isfinite(bar.volume)
    return bool(whole and bar.volume >= 0.0 and bar.low <= min(prices) and bar.high >= max(prices))


__all__ = ["Engine", "is_sound", "is_tightening", "observed_now", "posts_now"]
