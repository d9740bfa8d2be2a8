"""A second opinion: vectorbt keeps its own books over our fills, and makes its own fills by the same rules."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backtest.costs import fill_profile
from backtest.load import RunInputs
from backtest.result import Result
from backtest.run import run
from backtest.spec import RunSpec
from data.store import Store
from risk.limits import Limits, MarketSpec
from risk.policy import Execution
from signals import EMA
from strategies.base import Strategy
from tests.backtest.oracles.sampled import Everything, inputs_of, sampled, spec_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
WIDE = Limits(
    gross_leverage=1e6, asset_share=1e6, daily_loss=1e6, daily_loss_flatten=1e6, drawdown=1e6, loss_streak=10**6,
    price_collar=0.2, novelty_return_z=np.inf, novelty_volume_z=np.inf, repeat_orders=100, orders_per_hour=4000,
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A stretch of the sample."""
    return sampled(tmp_path_factory.mktemp("opinion"), hours=900)


def done(spec: RunSpec, inputs: RunInputs) -> Result:
    """A run."""
    return run(spec, inputs, created_ns=0, stress=False)


class Cross(Strategy):
    """EMA cross."""

    fast = EMA(10)
    slow = EMA(30)

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """One coin or none."""
        return 1.0 if s.fast > s.slow else 0.0


class LongShort(Strategy):
    """EMA cross both ways."""

    short = True
    fast = EMA(10)
    slow = EMA(30)

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """A tenth, long or short."""
        return 0.1 if s.fast > s.slow else -0.1


THIN = replace(fill_profile("default"), participation=0.001, fee_asset="received")
CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "five symbols, stops, fees in the coin": (Everything, {}, {}),
    "partial fills": (Everything, {"fills": THIN, "cash": 200_000.0}, {}),
    "fees in quote": (Everything, {"fills": replace(fill_profile("harsh"), fee_asset="quote")}, {}),
    "post-only": (Everything, {"execution": Execution(entry="post-only", then="market")}, {}),
    "perpetual without funding": (
        LongShort,
        {"market": "perp", "leverage": 3.0, "fills": replace(fill_profile("default"), funding_rate=0.0)},
        {"spare_cash": 50_000.0},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_our_fills_give_vectorbt_our_equity(case: str, store: Store) -> None:
    """To 1e-9 of it, at every bar."""
    made, changed, asked = CASES[case]
    spec = spec_of(made(), **changed)
    result = done(spec, inputs_of(store, spec))
    fills = result.fills
    assert len(fills) > 30
    if case == "partial fills":
        assert (np.bincount(fills["order"]) > 1).any()
    if case == "five symbols, stops, fees in the coin":
        assert (fills["fee_base"] > 0).any() and len(np.unique(fills["purpose"])) >= 3
    value = result.to_vectorbt(**asked).value()
    theirs = value.loc[~value.index.duplicated(keep="last")].to_numpy()
    spare = asked.get("spare_cash", 0.0)
    at = np.searchsorted(value.index[~value.index.duplicated(keep="last")].as_unit("ns").asi8, result.close_ns)
    np.testing.assert_allclose(theirs[at] - spare, result.equity, rtol=1e-9)


def test_an_ema_cross_of_fixed_quantity_trades_as_vectorbt_does(store: Store) -> None:
    """Signals at the close, trades at the next open, 0.1 % in quote: same trades, prices, final value and equity."""
    import pandas as pd
    import vectorbt as vbt

    fills = replace(fill_profile("ideal"), taker=0.001)
    spec = spec_of(
        Cross(), symbols=["ETH/USDT"], size="quantity", stake=1.0, cash=10_000.0, limits=WIDE, fills=fills,
        execution=Execution(band=0.0), markets={"ETH/USDT": MarketSpec(tick=0.01, lot=0.01, min_notional=1.0)},
    )  # fmt: skip
    inputs = inputs_of(store, spec)
    result = done(spec, inputs)
    bars = inputs.bars
    index = pd.to_datetime(bars.close_ns, utc=True)
    close, open_ = (pd.Series(column[:, 0], index) for column in (bars.close, bars.open))
    assert np.isfinite(close).all()
    fast, slow = (close.ewm(span=window, adjust=False, min_periods=window).mean() for window in (10, 30))
    above = (fast > slow).to_numpy()
    entries = pd.Series(np.r_[False, above[:-1]], index)
    exits = pd.Series(np.r_[False, (~above & slow.notna().to_numpy())[:-1]], index)
    theirs = vbt.Portfolio.from_signals(
        close, entries, exits, price=open_, size=1.0, fees=0.001, init_cash=10_000.0, freq="1h"
    )
    records = theirs.orders.records
    assert len(records) == len(result.fills) > 20
    np.testing.assert_allclose(records["price"], result.fills["price"], rtol=1e-12)
    np.testing.assert_allclose(records["size"], np.abs(result.fills["qty"]), rtol=1e-12)
    np.testing.assert_array_equal(records["idx"], result.fills["row"])
    np.testing.assert_array_equal(records["side"] == 0, result.fills["qty"] > 0)
    np.testing.assert_allclose(records["fees"], result.fills["fee"], rtol=1e-9)
    np.testing.assert_allclose(theirs.value().to_numpy(), result.equity, rtol=1e-9)
    assert len(result.trades()) == len(theirs.trades.records)
