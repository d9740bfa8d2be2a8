"""The other libraries, each doing the same work in the way that is quickest for it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

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
        if len(work.combinations) > 1:  # its default is room for an order of each bar and column: gigabytes
            self.options["max_orders"] = work.rows * len(work.combinations) // 8

    def average(self, windows: Sequence[int], name: str = "ma") -> Any:
        """Exponential averages of the closes."""
        chosen = windows[0] if len(windows) == 1 else list(windows)
        return self.vbt.MA.run(self.close, chosen, ewm=True, short_name=name, engine=self.engine)

    def orders(self) -> tuple[Any, Any]:
        """(entries, exits), told at a close and acted on at the next bar; every combination of windows a column."""
        windows = zip(*self.work.combinations, strict=True)
        fast, slow = (self.average(each, name) for each, name in zip(windows, ("fast", "slow"), strict=True))
        entries, exits = fast.ma_above(slow).vbt.signals.fshift(1), fast.ma_below(slow).vbt.signals.fshift(1)
        for frame in (entries, exits):  # named after the windows, which no price is
            if self.work.symbols > 1:
                frame.columns = self.close.columns
            elif len(self.work.combinations) == 1:
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


class Freqtrade(Contender):
    """freqtrade's `Backtesting` over a frame, from loaded candles to the final balance; its set-up isn't counted.

    No exchange is asked: the market is made up, without steps of price or amount. It buys for an amount of quote, so
    that is the quantity at the open. On its last bar it buys nothing and sells what it holds at the open, with the fee;
    so it gets a bar more, which opens at the last close, and what it sells there isn't counted.
    """

    name = "freqtrade"
    needs = "freqtrade"
    pair = "S0/USDT"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        from freqtrade.strategy import IStrategy  # type: ignore[import-not-found]

        class Cross(IStrategy):  # type: ignore[misc]
            timeframe = "1m"
            stoploss = -0.99  # it insists on one; this is never reached
            order_types = {"entry": "market", "exit": "market", "stoploss": "market", "stoploss_on_exchange": False}

            def populate_indicators(self, dataframe: Any, metadata: Any) -> Any:
                dataframe["fast"], dataframe["slow"] = averages(work, dataframe["close"])
                return dataframe

            def populate_entry_trend(self, dataframe: Any, metadata: Any) -> Any:
                dataframe["enter_long"] = (dataframe["fast"] > dataframe["slow"]).astype(int)
                return dataframe

            def populate_exit_trend(self, dataframe: Any, metadata: Any) -> Any:
                dataframe["exit_long"] = 1 - dataframe["enter_long"]
                return dataframe

            def custom_stake_amount(self, current_rate: float, **_: Any) -> float:
                return QUANTITY * current_rate

        self.strategy = Cross

    def again(self) -> None:
        """A new `Backtesting`, with a strategy that comes from no file and an exchange that needs no network."""
        from freqtrade.enums import RunMode  # type: ignore[import-not-found]
        from freqtrade.exchange import Exchange  # type: ignore[import-not-found]
        from freqtrade.optimize.backtesting import Backtesting  # type: ignore[import-not-found]
        from freqtrade.resolvers import StrategyResolver  # type: ignore[import-not-found]

        any_size = {"amount": {"min": None, "max": None}, "cost": {"min": None, "max": None}}
        market = {"symbol": self.pair, "base": "S0", "quote": "USDT", "spot": True, "active": True, "limits": any_size}

        class Offline(Exchange):  # type: ignore[misc]
            markets = {self.pair: market | {"precision": {"amount": None, "price": None}}}

        config = {
            "runmode": RunMode.BACKTEST, "dry_run": True, "dry_run_wallet": self.work.cash, "stake_currency": "USDT",
            "stake_amount": "unlimited", "max_open_trades": 1, "fee": FEE, "strategy": "Cross",
            "exchange": {"name": "binance", "pair_whitelist": [self.pair]}, "pairlists": [{"method": "StaticPairList"}],
            "entry_pricing": {"price_side": "other"}, "exit_pricing": {"price_side": "other"},
        }  # fmt: skip
        with patch.object(StrategyResolver, "_load_strategy", lambda *_, config, **__: self.strategy(config)):
            self.backtesting = Backtesting(config, Offline(config, validate=False))

    def act(self) -> Any:
        """One strategy over one frame: indicators, signals, its loop, trades and balance."""
        names = ("open", "high", "low", "close", "volume")
        frame = pd.DataFrame({name: getattr(self.bars, name)[:, 0] for name in names})
        frame.insert(0, "date", pd.to_datetime(self.bars.open_ns, utc=True))
        last = frame["close"].iat[-1]
        frame.loc[len(frame)] = [frame["date"].iat[-1] + pd.Timedelta(MINUTE_NS), last, last, last, last, 0.0]
        strategy = self.backtesting.strategylist[0]
        self.backtesting.backtest_one_strategy(strategy, {self.pair: frame}, self.backtesting.timerange)
        content = self.backtesting.all_bt_content[strategy.get_strategy_name()]
        return content["results"], content["final_balance"], frame["date"].iat[-1]

    def read(self, result: Any) -> tuple[list[int], list[float]]:
        """Trades are two fills each, but for one that was sold on the bar more: that sale and its fee are undone."""
        trades, balance, end = result
        left = trades[trades["close_date"] == end]
        fees = FEE * float((left["amount"] * left["close_rate"]).sum())
        return [2 * len(trades) - len(left)], [float(balance) + fees]
