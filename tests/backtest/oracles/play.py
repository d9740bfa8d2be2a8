"""A scripted market and scripted weights, driven through the kernels one event at a time, as a live engine would."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backtest.costs import FillModel, fill_profile, policy_record
from backtest.loop import LOGS_FULL, act_on, before_decision, next_event
from backtest.tape import Tape
from risk.desk import Desk, make_desk
from risk.limits import Limits, MarketSpec
from risk.policy import Execution
from risk.records import Array

HOUR = 3600 * 10**9
DAY = 24 * HOUR
START = 1_704_067_200 * 10**9  # 2024-01-01 00:00 UTC
NAN = float("nan")
IDEAL = fill_profile("ideal")
COARSE = MarketSpec(tick=0.01, lot=0.001, min_notional=1.0)
OPEN_LIMITS = Limits(
    gross_leverage=1e9, asset_share=1e9, daily_loss=1e9, daily_loss_flatten=1e9, drawdown=1e9, loss_streak=10**6,
    price_collar=0.05, novelty_return_z=1e9, novelty_volume_z=1e9, orders_per_minute=10**6, orders_per_hour=4000,
    repeat_orders=400, bar_age_ns=365 * DAY,
)  # fmt: skip


@dataclass(frozen=True)
class Setup:
    """How a scripted run trades. protection: (stop loss, take profit, trailing stop: fractions or NaN; time exit in
    ns).
    """

    fills: FillModel = IDEAL
    execution: Execution = Execution(band=0.0)
    limits: Limits = OPEN_LIMITS
    market: MarketSpec = COARSE
    cash: float = 10_000.0
    perp: bool = False
    leverage: float = 1.0
    size: str = "quantity"
    stake: float = 1.0
    short: bool = False
    protection: tuple[float, float, float, int] = (NAN, NAN, NAN, 0)
    stale_exit_ns: int = 0
    resume_ns: int = -1
    delay_ns: int = 0
    tags: dict[str, str] = field(default_factory=dict)

    def policy(self) -> Array:
        """The POLICY[1] record."""
        return policy_record(
            fills=self.fills, execution=self.execution, perp=self.perp, leverage=self.leverage, size=self.size,
            stake=self.stake, short=self.short, protection=self.protection, stale_exit_ns=self.stale_exit_ns,
            resume_ns=self.resume_ns, decision_delay_ns=self.delay_ns,
        )  # fmt: skip

    def desk(self, symbols: int = 1) -> Desk:
        """A fresh desk."""
        names = tuple(f"C{k}/USDT" for k in range(symbols))
        return make_desk(
            symbols=names, cash=self.cash, limits=self.limits, markets=dict.fromkeys(names, self.market),
            tags=self.tags,
            policy=self.policy(),
        )  # fmt: skip


def bars(rows: Sequence[Sequence[float]]) -> tuple[Array, Array, Array, Array, Array]:
    """Open, high, low, close, volume, each f8[n, 1], of one symbol; volume is 1e9 where it isn't given."""
    table = np.array([[*row, 1e9][:5] for row in rows], float)
    return tuple(np.ascontiguousarray(table[:, [column]]) for column in range(5))  # type: ignore[return-value]


def flat_bars(prices: Sequence[float], volume: float = 1e9) -> tuple[Array, Array, Array, Array, Array]:
    """Bars of one symbol that open, stay and close at one price each."""
    return bars([(price, price, price, price, volume) for price in prices])


class Play:
    """One scripted run over prices (open, high, low, close, volume: f8[n, M]).

    weights: f8[d] or f8[d, M], NaN says HOLD, one row for each bar's close; states: u1[d, M], nonzero where a signal
    isn't known;
    funding: (ns, symbol, rate) in order of time.
    """

    def __init__(
        self, setup: Setup, prices: tuple[Array, Array, Array, Array, Array], weights: Any, *, states: Any = None,
        funding: Sequence[tuple[int, int, float]] = (), step: int = HOUR, start: int = START, risk_every: int = 1,
        decides: Any = None,
    ) -> None:  # fmt: skip
        n, symbols = prices[0].shape
        self.open_ns = start + np.arange(n) * step
        ends = np.ones(n, np.uint8) if decides is None else np.asarray(decides, np.uint8)
        close_ns = self.open_ns + step
        decide_ns = np.ascontiguousarray(close_ns[ends == 1])
        d = len(decide_ns)
        strange = np.zeros((d, symbols), np.uint8)
        self.wanted = np.asarray(weights, float).reshape(d, symbols)
        risk_bar = np.zeros(n, np.uint8)
        risk_bar[risk_every - 1 :: risk_every] = 1
        times = np.array([each[0] for each in funding], np.int64)
        places = np.array([each[1] for each in funding], np.int64)
        rates = np.array([each[2] for each in funding], float)
        self.tape = Tape(
            open_ns=self.open_ns, close_ns=close_ns, prices=prices, decides=ends, risk_bar=risk_bar,
            decide_ns=decide_ns,
            rows=np.zeros((d, symbols, 1)), params=np.zeros(1), funding=(times, places, rates),
            strange=strange,
            states=np.asarray(np.zeros((d, symbols)) if states is None else states, np.uint8).reshape(d, symbols),
        )  # fmt: skip
        self.desk = setup.desk(symbols)
        self.tape.start(0)

    def run(
        self, watch: Callable[["Play", str, int], None] | None = None, statuses: dict[int, int] | None = None
    ) -> "Play":
        """Walk to the end. watch(play, when, decision) is called around each decision: "before", "after"."""
        tape, desk = self.tape, self.desk
        while True:
            event = next_event(desk.ref, tape.ref)
            if event == LOGS_FULL:
                desk.grow_logs()
                continue
            if event < 0:
                return self
            j = int(tape.ref["decision"])
            if watch is not None:
                watch(self, "before", j)
            if before_decision(desk.ref, tape.ref):
                tape["weights"][j] = self.wanted[j]
                act_on(desk.ref, tape.ref, (statuses or {}).get(j, 0))
            if watch is not None:
                watch(self, "after", j)

    @property
    def accounts(self) -> dict[str, Array]:
        """The account at the closes of decision bars."""
        return self.tape.accounts(self.fills, float(self.desk.account["units"]))

    @property
    def fills(self) -> Array:
        """Fills in order."""
        return self.desk.fills

    def events_of(self, kind: int, rule: int | None = None) -> Array:
        """Events of one kind (and rule)."""
        events = self.desk.events
        chosen = events["kind"] == kind
        return events[chosen if rule is None else chosen & (events["rule"] == rule)]

    def moves(self) -> list[tuple[int, int, int]]:
        """Ladder moves: (rule, from, to)."""
        from risk.records import EV_LADDER

        return [(int(e["rule"]), int(e["was"]), int(e["level"])) for e in self.events_of(EV_LADDER)]

    def table(self) -> list[tuple[int, float, float]]:
        """Fills as (bar, signed quantity, price)."""
        first, step = int(self.open_ns[0]), int(self.open_ns[1] - self.open_ns[0])
        found = []
        for fill in self.fills:
            # Inside fills are stamped with the bar's close, fills at an open with that open.
            bar = (int(fill["ns"]) - first) // step
            found.append((bar, float(fill["qty"]), float(fill["price"])))
        return found
