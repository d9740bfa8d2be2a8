"""Our side: an ordinary strategy through public functions, behind a pointer or inlined, every gate check on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from backtest.costs import fill_profile
from backtest.grid import Grid
from backtest.load import RunInputs
from backtest.run import Prepared, execute, new_desk, prepare_run
from backtest.spec import RunSpec
from backtest.sweep import inlined_loop, sweep, walk
from benchmarks.contenders import Contender
from benchmarks.market import FEE, MINUTE_NS, QUANTITY, Walk, Work
from risk.desk import Desk
from risk.limits import Limits, MarketSpec
from signals import EMA
from signals.inputs import Inputs
from strategies.base import Param, Strategy

TAG = "walks"


class EmaCross(Strategy):
    """Hold a coin while its fast average lies above its slow one."""

    fast_window = Param(20, low=2, high=1000, integer=True)
    slow_window = Param(60, low=3, high=5000, integer=True)
    fast = EMA(fast_window)
    slow = EMA(slow_window)

    @staticmethod
    def weigh(s: Any, p: Any) -> Any:
        """Target weight of one symbol."""
        return 1.0 if s.fast > s.slow else 0.0


def limits(symbols: int) -> Limits:
    """Every control on, with a finite limit that this work doesn't reach."""
    much = 1e12
    return Limits(
        order_notional=much, orders_per_minute=100 * symbols, orders_per_hour=600 * symbols, repeat_orders=60,
        position_notional=much, gross_notional=much, net_notional=much, gross_leverage=1.0, asset_share=1.0,
        tag_share={TAG: 1.0}, daily_loss=0.5, daily_loss_flatten=0.6, drawdown=0.9, loss_streak=10**6,
        price_collar=0.05, novelty_return_z=12.0, novelty_volume_z=40.0, turnover_per_day=much, fees_per_day=much,
    )  # fmt: skip


def spec_of(work: Work) -> RunSpec:
    """The run: ideal fills but for the fee, a fixed quantity."""
    symbols = tuple(f"S{k}/USDT" for k in range(work.symbols))
    markets = {symbol: MarketSpec(tick=0.01, lot=1e-5, assumed=False) for symbol in symbols}
    return RunSpec(
        strategy=EmaCross(fast_window=work.fast[0], slow_window=work.slow[0]), symbols=symbols, bar_ns=MINUTE_NS,
        cash=work.cash, size="quantity", stake=QUANTITY, fills=replace(fill_profile("ideal"), taker=FEE),
        limits=limits(work.symbols), markets=markets,
        tags=dict.fromkeys(symbols, TAG),
    )  # fmt: skip


def inputs_of(spec: RunSpec, bars: Walk) -> RunInputs:
    """Inputs as `load_inputs` would give them, from arrays."""
    n, symbols = bars.close.shape
    close_ns = bars.open_ns + MINUTE_NS
    prices = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
    coins = [symbol.split("/")[0] for symbol in spec.symbols]
    none = np.zeros(0, np.int64)
    return RunInputs(
        signals=Inputs.at_closes(spec.symbols, coins, MINUTE_NS, close_ns, prices),
        bars=Grid(
            open_ns=bars.open_ns, close_ns=close_ns, **prices, known_ns=np.repeat(close_ns[:, None], symbols, axis=1),
            decides=np.ones(n, np.uint8),
        ),
        first=0, late=np.zeros((n, symbols), bool), funding=(none, none, np.zeros(0)), shares=[], synthetic=True,
    )  # fmt: skip


class Pointer(Contender):
    """The default form: the loop is compiled for all strategies, this one's function is called through a pointer."""

    name = "tidegate, pointer"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.spec = spec_of(work)

    def again(self) -> None:
        """Fresh inputs, so that nothing found out about the last ones helps."""
        self.inputs = inputs_of(self.spec, self.bars)

    def run(self, desk: Desk, prepared: Prepared) -> None:
        """Drive the tape through the desk."""
        execute(desk, prepared)

    def act(self) -> Any:
        """Signals, tape, desk, loop, final value."""
        prepared = prepare_run(self.spec, self.inputs, keep=False)
        desk = new_desk(self.spec)
        self.run(desk, prepared)
        return desk, float(prepared.tape["equity"][-1])

    def read(self, result: Any) -> tuple[list[int], list[float]]:
        """Fills and equity; a refusal or a ladder move would mean that other work was done."""
        desk, equity = result
        assert desk.account["n_events"] == 0 and desk.account["level"] == 0, "a limit did bind"
        return [int(desk.account["n_fills"])], [equity]


class Inlined(Pointer):
    """The strategy's function compiled into the loop, as sweeps have it."""

    name = "tidegate, inlined"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.loop = inlined_loop(self.spec.strategy, narrow=True)  # as `prepare_run` has its rows

    def run(self, desk: Desk, prepared: Prepared) -> None:
        """Drive the tape through the desk by the inlined loop."""
        walk(self.loop, desk, prepared.tape)


class Sweep(Pointer):
    """All combinations through `backtest.sweep`, in one thread."""

    name = "tidegate, sweep"

    def act(self) -> Any:
        """Every combination; the loop is compiled by the first call, which isn't timed."""
        grid = {"fast_window": self.work.fast, "slow_window": self.work.slow}
        return sweep(self.spec, self.inputs, grid, workers=1)

    def read(self, result: Any) -> tuple[list[int], list[float]]:
        """Fills and equity of each."""
        return [row.fills for row in result], [row.final_equity for row in result]
