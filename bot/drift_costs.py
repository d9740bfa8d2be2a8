"""Costs that would have fitted a session's fills, each with an interval and what it rests on; few fills fit none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from bot.drift import Drift
from bot.drift_pairs import Side
from data.times import MILLISECOND_NS
from risk import records as rec
from risk.records import Array

FITTED_MIN = 10
SAMPLES = 1_000
INTERVAL = (2.5, 97.5)
Fitted = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Cost:
    """One key of [fill]: its value and 95% interval, None when too little was seen; `count` of `what` it rests on."""

    key: str
    value: float | None
    low: float | None
    high: float | None
    count: int
    what: str
    now: float
    remark: str = ""


def fitted_costs(drift: Drift) -> list[Cost]:
    """Costs by key of [fill]; none of a session whose fills were simulated."""
    if not drift.outside:
        return []
    side, policy = drift.live, drift.policy[0]
    fills = side.fills
    ours = (fills["order"] >= 0) & (fills["purpose"] != rec.OUTSIDE)
    notional = np.abs(fills["qty"]) * fills["price"]
    found = []
    for key, kind in (("taker", 0), ("maker", 1)):
        chosen = np.flatnonzero(ours & (fills["maker"] == kind))
        fitted = _resampled(len(chosen), partial(_ratio, fills["fee"][chosen], notional[chosen]))
        found.append(Cost(f"{key}_bps", *fitted, len(chosen), "fills", 1e4 * float(policy[key])))
    spreads, delays = _market_orders(drift, side)
    value, low, high = _resampled(len(spreads), lambda places: float(spreads[places].mean()))
    remark = ""
    if value is not None and value < 0.0:
        remark = f"the fit is {value:.2f}: prices were better than the open; 0 is the least that can be set"
        value = 0.0
    found.append(Cost("spread_bps", value, low, high, len(spreads), "market orders", 1e4 * policy["spread"], remark))
    fitted = _resampled(len(delays), lambda places: float(np.median(delays[places])))
    found.append(Cost("latency_ms", *fitted, len(delays), "market orders", drift.latency_ns / MILLISECOND_NS))
    return found


def _ratio(fees: Array, notional: Array, places: Array) -> float:
    return float(1e4 * fees[places].sum() / notional[places].sum())


def _market_orders(drift: Drift, side: Side) -> tuple[Array, Array]:
    """(bps lost against the open beyond the impact of size, milliseconds to the first fill), of entries and exits at
    market; the first of those alone that filled while the open stood for the price.
    """
    policy = drift.policy[0]
    orders = {int(order["id"]): order for order in side.orders if order["kind"] == rec.MARKET}
    spreads, delays = [], []
    for number, order in orders.items():
        places = np.flatnonzero(side.fills["order"] == number)
        sent = drift.sent_ns.get(number, 0)
        if not len(places) or not sent:
            continue
        first = side.fills[places[0]]
        delays.append((int(first["ns"]) - sent) / MILLISECOND_NS)
        bars = side.bars[places]
        if bars[0] < 0 or (bars != bars[0]).any():
            continue
        open_ns = drift.open_ns[bars[0]]
        if sent < open_ns or first["ns"] - open_ns > policy["grace_ns"]:
            continue
        size = np.abs(side.fills["qty"][places])
        paid = float((size * side.fills["price"][places]).sum() / size.sum())
        volume = float(side.volumes[places[0]])
        impact = float(policy["impact"]) * np.sqrt(float(size.sum()) / volume) if volume > 0.0 else 0.0
        spreads.append(1e4 * (int(order["side"]) * (paid / float(side.opens[places[0]]) - 1.0) - impact))
    return np.array(spreads), np.array(delays)


def _resampled(count: int, value_of: Callable[[Array], float]) -> Fitted:
    """(value, low, high) of a sample by its indices; the interval is that of samples drawn again from it."""
    if count < FITTED_MIN:
        return None, None, None
    rng = np.random.default_rng(1)
    low, high = np.percentile([value_of(rng.integers(0, count, count)) for _ in range(SAMPLES)], INTERVAL)
    return value_of(np.arange(count)), float(low), float(high)


def snippet(costs: list[Cost]) -> str:
    """The costs as lines of a configuration."""
    lines = ["[fill]"]
    for cost in costs:
        if cost.value is None:
            lines.append(f"# {cost.key}: {cost.count} {cost.what} are too few to fit; {FITTED_MIN} are needed")
            continue
        digits = 0 if cost.key == "latency_ms" else 2
        rests = f"{cost.count:,} {cost.what}, 95% {cost.low:.{digits}f} to {cost.high:.{digits}f}"
        lines.append(f"{cost.key} = {cost.value:.{digits}f}  # {rests}; it was {cost.now:.{digits}f}")
        if cost.remark:
            lines.append(f"# {cost.key}: {cost.remark}")
    return "\n".join(lines)
