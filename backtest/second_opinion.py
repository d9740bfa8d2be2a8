"""A run's fills in a `vectorbt.Portfolio`: an independent account of the same orders, for notebooks and doubt.

The only file that imports vectorbt (Apache-2.0 with Commons Clause), and only when asked. Our bars and fills go in as
they are; vectorbt keeps its own cash and positions, so its value agreeing with our equity means both ledgers are right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backtest.curve import filled
from data.errors import InputError
from risk.records import EV_FUNDING

if TYPE_CHECKING:
    from backtest.result import Result

Array = npt.NDArray[Any]


def portfolio(result: Result, *, spare_cash: float = 0.0, without_funding: bool = False) -> Any:
    """`vectorbt.Portfolio.from_orders` over this run's fills, all symbols in one cash-sharing group.

    One row per bar, at its close; a bar in which a symbol filled more than once has extra rows before it, at those
    fills. Size is the net quantity received (bought less the fee taken in the coin), `fixed_fees` the whole fee in
    quote, so that `portfolio.value()` at `pd.to_datetime(result.close_ns, utc=True)` is `result.equity` (plus
    `spare_cash`).

    vectorbt knows neither margin nor funding. A run with leverage needs `spare_cash` (added to its initial cash, so
    that it can pay the full notional); one that paid funding needs `without_funding=True`, and its value then differs
    by it. Raises InputError when one of the two is needed and not given.
    """
    if not without_funding and bool((result.events["kind"] == EV_FUNDING).any()):
        raise InputError(
            "vectorbt has no funding payments, so its value would differ by them",
            key="without_funding",
            remedy="Call to_vectorbt(without_funding=True) to leave them out",
        )
    import pandas as pd
    import vectorbt as vbt

    layers = _layers(result)
    index, close = _rows(result, layers)
    size, price, fees = (np.full(close.shape, np.nan), np.full(close.shape, np.nan), np.zeros(close.shape))
    fills, columns = result.fills, result.fills["symbol"]
    size[layers, columns] = fills["qty"] - fills["fee_base"]
    price[layers, columns] = fills["price"]
    fees[layers, columns] = fills["fee"]
    _check_cash(result, spare_cash)
    names = pd.Index(result.symbols, name="symbol")
    return vbt.Portfolio.from_orders(
        pd.DataFrame(close, index=pd.to_datetime(index, utc=True), columns=names),
        size=size,
        price=price,
        fixed_fees=fees,
        init_cash=result.initial_cash + spare_cash,
        cash_sharing=True,
        group_by=np.zeros(len(result.symbols), int),
        call_seq=_call_order(result, layers, close.shape),
        freq=pd.Timedelta(result.bar_ns, "ns"),
    )


def _bars(result: Result) -> Array:
    """Bar of each fill. What filled after the last close counts to the last bar."""
    return np.asarray(np.minimum(result.fills["row"], len(result.close_ns) - 1))


def _layers(result: Result) -> Array:
    """Row of each fill among the bars and the extra rows: at most one fill of a symbol in a row, in order of time."""
    extra = 0
    rows = np.zeros(len(result.fills), np.int64)
    bar, taken = -1, set[int]()
    for place, (row, symbol) in enumerate(zip(_bars(result).tolist(), result.fills["symbol"].tolist(), strict=True)):
        if row != bar:
            bar, taken = row, set()
        if symbol in taken:
            extra += 1
            taken = set()
        taken.add(symbol)
        rows[place] = row + extra
    return rows


def _rows(result: Result, layers: Array) -> tuple[Array, Array]:
    """Times and closes of all rows; extra rows stand at their first fill, with the prices of the bar before."""
    bars = _bars(result)
    extra = layers - bars
    added = int(extra[-1]) if len(extra) else 0
    # Every bar's own row is its last one: bar b lies at b plus all extras of fills up to it.
    shift = np.zeros(len(result.close_ns), np.int64)
    np.maximum.at(shift, bars, extra)
    place = np.arange(len(result.close_ns)) + np.maximum.accumulate(shift)
    close = np.full((len(result.close_ns) + added, len(result.symbols)), np.nan)
    index = np.zeros(len(close), np.int64)
    known = np.column_stack([filled(result.close[:, k]) for k in range(len(result.symbols))])
    close[place], index[place] = known, result.close_ns
    between = np.setdiff1d(np.arange(len(close)), place)
    for row in between:
        first = int(np.searchsorted(layers, row))
        close[row] = close[row - 1] if row else known[0]
        # At the fill, but strictly between its bar's close and the one before: every row has a time of its own.
        bar = int(np.searchsorted(place, row))
        index[row] = min(int(result.fills["ns"][first]), int(result.close_ns[bar]) - (int(place[bar]) - row))
        index[row] = max(int(index[row]), int(index[row - 1]) + 1 if row else 0)
    return index, np.where(np.isfinite(close), close, 1.0)


def _call_order(result: Result, layers: Array, shape: tuple[int, ...]) -> Array:
    """Columns in order of their fills within each row: sells that pay for buys come first, as they did. i8[rows, M]."""
    order = np.tile(np.arange(shape[1]), (shape[0], 1))
    together = np.flatnonzero(np.bincount(layers, minlength=shape[0]) > 1)
    for row in together:
        first, last = np.searchsorted(layers, [row, row + 1])
        traded = result.fills["symbol"][first:last].tolist()
        order[row] = traded + [k for k in range(shape[1]) if k not in traded]
    return order


def _check_cash(result: Result, spare_cash: float) -> None:
    """vectorbt pays every buy in full; refuse rather than let it fill less and differ silently."""
    flow = np.where(result.fills["fee_base"] != 0.0, 0.0, result.fills["fee"])
    cash = result.initial_cash + spare_cash - np.cumsum(result.fills["qty"] * result.fills["price"] + flow)
    least = float(cash.min()) if len(cash) else 0.0
    if least < -1e-9 * max(result.initial_cash, 1.0):
        raise InputError(
            "vectorbt pays the full notional, and this run used leverage",
            key="spare_cash",
            value=spare_cash,
            remedy=f"Give at least spare_cash={spare_cash - least:.2f}; it is added to the value",
        )
