"""Round trips from fills: from flat to flat, so that scaling in and out is one trade and nothing is counted twice.

The law of this file: the profits of all trips add up to the change of equity, up to what dust gained after the last
trip. A trip's profit is its cash flow (quantity x price, less fees in quote), what it still holds at the last price,
and its funding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from risk.records import ENTRY, EV_FUNDING, PURPOSES

if TYPE_CHECKING:
    import pandas as pd

    from backtest.result import Result

Array = npt.NDArray[Any]

TRADE = np.dtype([
    ("symbol", "i8"), ("side", "i8"),  # +1 long, -1 short
    ("entry_ns", "i8"),  # first fill
    ("exit_ns", "i8"),  # last fill; -1 while open
    ("entry_price", "f8"), ("exit_price", "f8"),  # mean price by quantity, before fees; NaN when there was none
    ("qty", "f8"),  # base units entered, all entries together
    ("notional", "f8"),  # quote entered
    ("fees", "f8"), ("slippage", "f8"),  # quote
    ("funding", "f8"),  # quote received; below 0 when paid
    ("pnl", "f8"),  # quote, after fees and funding; an open trip is marked at the last close
    ("return", "f8"),  # pnl / notional
    ("bars", "i8"),  # decision-bar closes between entry and exit (or the end)
    ("purpose", "i8"),  # of the last fill; -1 while open
    ("open", "i8"),
])  # fmt: skip

SPENT = 1e-3  # a fill that leaves less than this share of what it found ends the trip: the rest is dust below a lot


def round_trips(result: Result) -> Array:
    """All trips as a TRADE array in order of entry. O(fills), no Python loop over fills."""
    fills = _split_turns(_by_symbol(result.fills))
    if len(fills) == 0:
        return np.zeros(0, TRADE)
    before = _held_before(fills)
    ends = _ends(result, fills, before)
    fresh = np.r_[True, ends[:-1] | (np.diff(fills["symbol"]) != 0)]
    starts = np.flatnonzero(fresh)
    trades = _aggregate(fills, before, starts)
    trades["open"] = ~ends[np.r_[starts[1:], len(fills)] - 1]
    _close_out(result, fills, starts, trades)
    _add_funding(result, trades)
    with np.errstate(divide="ignore", invalid="ignore"):
        trades["return"] = np.where(trades["notional"] > 0.0, trades["pnl"] / trades["notional"], np.nan)
    ordered: Array = trades[np.lexsort((trades["symbol"], trades["entry_ns"]))]
    return ordered


def trades_frame(result: Result) -> pd.DataFrame:
    """The trips with names and times for people and notebooks."""
    import pandas as pd

    trades = round_trips(result)
    frame = pd.DataFrame({name: trades[name] for name in TRADE.names or ()})
    frame["symbol"] = [result.symbols[k] for k in trades["symbol"]]
    frame["side"] = np.where(trades["side"] > 0, "long", "short")
    frame["entry_ns"] = trades["entry_ns"]
    frame["exit_ns"] = pd.array(trades["exit_ns"], dtype="Int64")
    frame.loc[trades["open"] == 1, "exit_ns"] = pd.NA
    frame["purpose"] = ["" if code < 0 else PURPOSES[code] for code in trades["purpose"]]
    frame["open"] = trades["open"] == 1
    return frame


def contributions(result: Result) -> dict[str, float]:
    """Quote that each symbol earned after all costs: its cash flow, what it holds at the end, its funding."""
    count = len(result.symbols)
    fills = result.fills
    total = np.bincount(fills["symbol"], weights=_cash_flow(fills), minlength=count)
    if len(result.held):
        held = np.nan_to_num(result.held[-1])
        total = total + np.where(held == 0.0, 0.0, held * _last_prices(result))
    symbols, received = _funding(result)
    total = total + np.bincount(symbols, weights=received, minlength=count)
    return {symbol: float(total[k]) for k, symbol in enumerate(result.symbols)}


def _by_symbol(fills: Array) -> Array:
    ordered: Array = fills[np.argsort(fills["symbol"], kind="stable")]
    return ordered


def _held_before(fills: Array) -> Array:
    before = np.r_[0.0, fills["held"][:-1]]
    before[np.r_[True, np.diff(fills["symbol"]) != 0]] = 0.0
    return np.asarray(before, float)


def _split_turns(fills: Array) -> Array:
    """Cut a fill that crosses zero in two. The gate sends a turn as two orders, so this is for foreign fills only."""
    before = _held_before(fills)
    was, left = np.abs(before), np.abs(fills["held"])
    turning = np.flatnonzero((before * fills["held"] < 0.0) & (was > SPENT * left) & (left > SPENT * was))
    if len(turning) == 0:
        return fills
    whole = np.repeat(fills, np.where(np.isin(np.arange(len(fills)), turning), 2, 1))
    for shift, place in enumerate(turning):
        first, second = place + shift, place + shift + 1
        share = -before[place] / fills["qty"][place]
        whole["qty"][first] = -before[place]
        whole["qty"][second] = fills["qty"][place] + before[place]
        whole["held"][first] = 0.0
        for name in ("fee", "fee_base", "slippage", "realised"):
            whole[name][first] = fills[name][place] * share
            whole[name][second] = fills[name][place] * (1.0 - share)
    return whole


def _ends(result: Result, fills: Array, before: Array) -> Array:
    """True where a fill leaves its symbol flat: nothing, dust, or less than the market's lot or least notional."""
    left = np.abs(fills["held"])
    markets = effective(result, "markets")
    lot = np.zeros(len(result.symbols))
    least = np.zeros(len(result.symbols))
    for k, symbol in enumerate(result.symbols):
        told = markets.get(symbol)
        if isinstance(told, dict):
            lot[k], least[k] = number(told.get("lot")), number(told.get("min_notional"))
    dust = left < lot[fills["symbol"]] * (1.0 - 1e-9)
    if result.market == "spot":
        dust |= (left * fills["price"] < least[fills["symbol"]]) & (fills["purpose"] != ENTRY)
    reducing = fills["qty"] * before < 0.0
    found: Array = reducing & (dust | (left <= SPENT * np.abs(before)))
    return found


def effective(result: Result, section: str) -> dict[str, Any]:
    """A section of the numbers that the run obeyed (`settings["effective"]`), or nothing."""
    told = result.settings.get("effective")
    found = told.get(section) if isinstance(told, dict) else None
    return found if isinstance(found, dict) else {}


def number(told: Any) -> float:
    """`told` as a finite number, 0 when it is none."""
    try:
        value = float(told)
    except (TypeError, ValueError):
        return 0.0
    return value if math.isfinite(value) else 0.0


def _cash_flow(fills: Array) -> Array:
    flow: Array = -fills["qty"] * fills["price"] - np.where(fills["fee_base"] != 0.0, 0.0, fills["fee"])
    return flow


def _last_prices(result: Result) -> Array:
    """The last close of each symbol, 0 where it never had one. f8[M]."""
    last = np.zeros(len(result.symbols))
    for k in range(len(result.symbols)):
        known = np.flatnonzero(np.isfinite(result.close[:, k]))
        if len(known):
            last[k] = result.close[known[-1], k]
    return last


def _aggregate(fills: Array, before: Array, starts: Array) -> Array:
    trades = np.zeros(len(starts), TRADE)
    lengths = np.diff(np.r_[starts, len(fills)])
    stops = starts + lengths - 1
    trades["symbol"] = fills["symbol"][starts]
    trades["side"] = np.where(fills["qty"][starts] > 0.0, 1, -1)
    entering = np.sign(fills["qty"]) == np.repeat(trades["side"], lengths)
    size = np.abs(fills["qty"])
    worth = size * fills["price"]
    entered = np.add.reduceat(size * entering, starts)
    left = np.add.reduceat(size * ~entering, starts)
    trades["qty"] = entered
    trades["notional"] = np.add.reduceat(worth * entering, starts)
    with np.errstate(divide="ignore", invalid="ignore"):
        trades["entry_price"] = trades["notional"] / entered
        trades["exit_price"] = np.where(left > 0.0, np.add.reduceat(worth * ~entering, starts) / left, np.nan)
    trades["entry_ns"] = fills["ns"][starts]
    trades["exit_ns"] = fills["ns"][stops]
    trades["purpose"] = fills["purpose"][stops]
    trades["fees"] = np.add.reduceat(fills["fee"], starts)
    trades["slippage"] = np.add.reduceat(fills["slippage"], starts)
    # Dust that an earlier trip left behind comes in at the price it was left at.
    carried = before[starts] * np.r_[0.0, fills["price"][:-1]][starts]
    trades["pnl"] = np.add.reduceat(_cash_flow(fills), starts) - np.where(before[starts] == 0.0, 0.0, carried)
    return trades


def _close_out(result: Result, fills: Array, starts: Array, trades: Array) -> None:
    """Value what each trip still holds: dust at its last fill, an open position at the last close."""
    stops = np.r_[starts[1:], len(fills)] - 1
    is_open = trades["open"] == 1
    marks = np.where(is_open, _last_prices(result)[trades["symbol"]], fills["price"][stops])
    left = fills["held"][stops]
    trades["pnl"] += np.where(left == 0.0, 0.0, left * marks)
    until = np.where(is_open, len(result.close_ns), fills["row"][stops])
    trades["bars"] = np.maximum(until - fills["row"][starts], 0)
    trades["exit_ns"][is_open] = -1
    trades["purpose"][is_open] = -1


def _funding(result: Result) -> tuple[Array, Array]:
    """Symbols and quote received (below 0: paid) of all funding events."""
    events = result.events[result.events["kind"] == EV_FUNDING]
    return events["symbol"], -events["observed"]


def _add_funding(result: Result, trades: Array) -> None:
    events = result.events[result.events["kind"] == EV_FUNDING]
    if len(events) == 0:
        return
    until = np.where(trades["open"] == 1, np.iinfo(np.int64).max, trades["exit_ns"])
    for k in range(len(result.symbols)):
        mine = np.flatnonzero(trades["symbol"] == k)
        paid = events[events["symbol"] == k]
        if len(mine) == 0 or len(paid) == 0:
            continue
        # The position at a stamp is the one entered before it; one entered at that very stamp only if none is left.
        place = np.searchsorted(trades["entry_ns"][mine], paid["ns"], side="left") - 1
        gone = (place < 0) | (until[mine[np.maximum(place, 0)]] < paid["ns"])
        place = np.clip(place + gone, 0, len(mine) - 1)
        received = np.bincount(place, weights=-paid["observed"], minlength=len(mine))
        trades["funding"][mine] += received
        trades["pnl"][mine] += received
