"""The other libraries, each doing the same work in the way that is quickest for it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.contenders import Contender
from benchmarks.market import FEE, MINUTE_NS, QUANTITY, START_NS, Array, Work


class VectorbtNumba(Contender):
    """vectorbt, numba engine, as its documentation writes it: averages, their comparison, `from_signals`, value.

    The level instead of the cross makes the same trades (an entry while in position is ignored) and takes the
    first one after the warm-up, as ours does. Shared cash comes with `call_seq="auto"`: sells before buys, as ours.
    """

    name = "vectorbt, numba"
    needs = "vectorbt"
    engine = "numba"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        import vectorbt

        self.vbt: Any = vectorbt
        index = pd.date_range(pd.Timestamp(START_NS), periods=work.rows, freq=pd.Timedelta(MINUTE_NS))
        wide = work.symbols > 1
        self.close: Any = pd.DataFrame(self.bars.close, index) if wide else pd.Series(self.bars.close[:, 0], index)
        self.open: Any = pd.DataFrame(self.bars.open, index) if wide else pd.Series(self.bars.open[:, 0], index)
        self.options: dict[str, Any] = {"cash_sharing": True, "group_by": True, "call_seq": "auto"} if wide else {}

    def average(self, windows: tuple[int, ...]) -> Any:
        """Exponential averages of the closes."""
        return self.vbt.MA.run(
            self.close, windows[0] if len(windows) == 1 else list(windows), ewm=True, engine=self.engine
        )

    def orders(self) -> tuple[Any, Any]:
        """(entries, exits), told at a close and acted on at the next bar."""
        fast, slow = self.average(self.work.fast), self.average(self.work.slow)
        entries, exits = fast.ma_above(slow).vbt.signals.fshift(1), fast.ma_below(slow).vbt.signals.fshift(1)
        for frame in (entries, exits):  # named after the windows, which no price is
            if self.work.symbols > 1:
                frame.columns = self.close.columns
            else:
                frame.name = None
        return entries, exits

    def act(self) -> Any:
        """Averages, signals on the next bar, simulation, final value."""
        entries, exits = self.orders()
        portfolio = self.vbt.Portfolio.from_signals(
            self.close, entries, exits, price=self.open, size=QUANTITY, fees=FEE, init_cash=self.work.cash,
            freq=pd.Timedelta(MINUTE_NS), engine=self.engine, **self.options,
        )  # fmt: skip
        return portfolio, portfolio.final_value()

    def read(self, result: Any) -> tuple[list[int], list[float]]:
        """Orders and final values."""
        portfolio, value = result
        counts = np.atleast_1d(np.asarray(portfolio.orders.count()))
        return [int(count) for count in counts], [float(each) for each in np.atleast_1d(np.asarray(value))]


class VectorbtRust(VectorbtNumba):
    """The same with vectorbt-rust installed and the engine left to vectorbt."""

    name = "vectorbt, rust"
    needs = "vectorbt vectorbt_rust"
    engine = "auto"


class VectorbtNumbaByHand(VectorbtNumba):
    """The same, as quick as a patient user can make it: signals compared and moved on as plain arrays."""

    name = "  by hand, numba"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        if len(work.combinations) > 1:  # its default is room for an order of each bar and column: gigabytes
            self.options["max_orders"] = work.rows * len(work.combinations) // 8

    def orders(self) -> tuple[Any, Any]:
        """Every combination of windows, a column each."""
        fast, slow = (self.average(windows).ma.to_numpy() for windows in (self.work.fast, self.work.slow))
        if len(self.work.combinations) > 1:
            above = (fast[:, :, None] > slow[:, None, :]).reshape(self.work.rows, -1)
        else:
            above = fast > slow
        entries = np.empty(above.shape, bool)
        entries[0] = False
        entries[1:] = above[:-1]
        return entries, ~entries


class VectorbtRustByHand(VectorbtNumbaByHand):
    """The same with vectorbt-rust installed and the engine left to vectorbt."""

    name = "  by hand, rust"
    needs = "vectorbt vectorbt_rust"
    engine = "auto"


def averages(work: Work, close: Array) -> tuple[Array, Array]:
    """Both averages by pandas, NaN before the window is full; for libraries that seed theirs otherwise."""
    series = pd.Series(close)
    fast, slow = (series.ewm(span=span, adjust=False, min_periods=span).mean() for span in (work.fast[0], work.slow[0]))
    return fast.to_numpy(), slow.to_numpy()


class BacktestingPy(Contender):
    """backtesting.py. It trades whole units, so its price is that of the quantity: one unit is 0.01 coins."""

    name = "backtesting.py"
    needs = "backtesting"

    def act(self) -> Any:
        """Its `Backtest` over a frame, the averages as its indicators."""
        from backtesting import Backtest, Strategy  # type: ignore[import-not-found]

        fast, slow = averages(self.work, self.bars.close[:, 0])

        class Cross(Strategy):  # type: ignore[misc]
            def init(self) -> None:
                self.fast = self.I(lambda: fast)
                self.slow = self.I(lambda: slow)

            def next(self) -> None:
                if self.fast[-1] > self.slow[-1]:
                    if not self.position:
                        self.buy(size=1)
                elif self.position:
                    self.position.close()

        columns = {name.title(): getattr(self.bars, name)[:, 0] for name in ("open", "high", "low", "close", "volume")}
        frame = pd.DataFrame(columns, pd.to_datetime(self.bars.open_ns))
        frame[["Open", "High", "Low", "Close"]] *= QUANTITY
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a trade is still open at the end
            return Backtest(frame, Cross, cash=self.work.cash, commission=FEE).run()

    def read(self, result: Any) -> tuple[list[int], list[float]]:
        """Closed trades are two fills each; one left open is one."""
        broker = result["_strategy"]._broker
        return [2 * len(broker.closed_trades) + len(broker.trades)], [float(result["Equity Final [$]"])]


class Backtrader(Contender):
    """backtrader, bar by bar; the averages are handed to it, since its own begins with a plain mean."""

    name = "backtrader"
    needs = "backtrader"

    def act(self) -> Any:
        """Its Cerebro over a pandas feed."""
        import backtrader  # type: ignore[import-not-found]

        fast, slow = averages(self.work, self.bars.close[:, 0])
        above = fast > slow

        class Cross(backtrader.Strategy):  # type: ignore[misc]
            fills = 0

            def next(self) -> None:
                if above[len(self) - 1]:
                    if not self.position:
                        self.buy(size=QUANTITY)
                elif self.position:
                    self.close()

            def notify_order(self, order: Any) -> None:
                self.fills += order.status == order.Completed

        columns = {name: getattr(self.bars, name)[:, 0] for name in ("open", "high", "low", "close", "volume")}
        frame = pd.DataFrame(columns, pd.to_datetime(self.bars.open_ns))
        cerebro = backtrader.Cerebro(stdstats=False)
        cerebro.adddata(backtrader.feeds.PandasData(dataname=frame))
        cerebro.addstrategy(Cross)
        cerebro.broker.setcash(self.work.cash)
        cerebro.broker.setcommission(commission=FEE)
        return cerebro.run()[0].fills, cerebro.broker.getvalue()

    def read(self, result: Any) -> tuple[list[int], list[float]]:
        """Completed orders and the broker's value."""
        return [int(result[0])], [float(result[1])]
