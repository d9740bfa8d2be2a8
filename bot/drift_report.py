"""A drift in figures: the same for people's tables and for JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from bot.drift import Drift
from bot.drift_costs import fitted_costs, snippet
from bot.drift_pairs import Pair, Part, Side
from data.times import MILLISECOND_NS, format_time
from risk import orders as states
from risk import records as rec

ENDS = {states.REJECTED: "rejected", states.EXPIRED: "expired", states.CANCELLED: "cancelled", states.LOST: "lost"}
MEANINGS = {
    "price": "a better or worse price than the simulated one, against the open of its bar",
    "timing": "filled in another bar: what the market did in between",
    "fees": "of what both filled",
    "missed": "what only one side filled of what both wanted, its fees included",
    "size": "asked for more or less, since it held or owned something else by then",
    "funding": "paid on a perpetual",
    "other": "somebody's hand in the account, corrections, rounding",
}
LIMITS = (
    "One session is one draw: another market gives other figures, and few fills give wide intervals.",
    "What its own orders did to the price is in both bars and fills, and can't be told from the market's own moves.",
    "A bar has no inside here: prices are compared with opens, not with the book at the time.",
    "From a fill that only one side had, both sides hold something else: later pairs follow from it.",
)


def body_of(drift: Drift) -> dict[str, Any]:
    """All of it as JSON values; numbers that don't exist are NaN."""
    costs = fitted_costs(drift)
    traded = drift.traded
    return {
        "mode": drift.mode, "since": format_time(drift.since_ns), "until": format_time(drift.until_ns),
        "bars": drift.rows, "decisions": drift.decisions, "fills_after_the_last_bar": drift.left_out,
        "live": _side_body(drift.live, [pair.live for pair in drift.pairs]),
        "simulated": _side_body(drift.simulated, [pair.simulated for pair in drift.pairs]),
        "missed": sum(pair.missed for pair in drift.pairs), "unmatched": sum(pair.unmatched for pair in drift.pairs),
        "delay_ms": {
            "first_fill": _delays([pair.live for pair in drift.pairs], "first_ns"),
            "done": _delays([pair.live for pair in drift.pairs], "done_ns"),
            "assumed": drift.latency_ns / MILLISECOND_NS,
        },
        "equity": {"live": drift.live.equity, "simulated": drift.simulated.equity, "difference": drift.difference},
        "causes": {
            name: {"quote": amount, "bps": 1e4 * amount / traded if traded else float("nan"), "what": MEANINGS[name]}
            for name, amount in drift.causes.items()
        },
        "costs": [vars(cost) for cost in costs], "snippet": snippet(costs) if costs else "",
        "pairs": [_pair_body(pair, drift.symbols) for pair in drift.pairs], "limits": list(LIMITS),
        "same": is_same(drift),
    }  # fmt: skip


def is_same(drift: Drift) -> bool:
    """Fill for fill the same on both sides."""
    one, other = drift.live.fills, drift.simulated.fills
    names = [name for name in one.dtype.names or () if name != "row"]
    return len(one) == len(other) and all(np.array_equal(one[name], other[name], equal_nan=True) for name in names)


def _side_body(side: Side, parts: list[Part]) -> dict[str, Any]:
    asked, filled = [sum(getattr(part, name) * _unit(part) for part in parts) for name in ("asked", "filled")]
    at_decision, notional = (sum(getattr(part, name) for part in parts) for name in ("at_decision", "notional"))
    slipped, fees = sum(part.slipped for part in parts), sum(part.fee for part in parts)
    return {
        "orders": sum(part.orders for part in parts),
        "fills": len(side.fills),
        "traded": notional,
        "share_filled": filled / asked if asked else float("nan"),
        "partly_filled": sum(0.0 < part.share < 1.0 - 1e-9 for part in parts),
        "slippage": slipped,
        "slippage_bps": 1e4 * slipped / at_decision if at_decision else float("nan"),
        "fees": fees,
        "fees_bps": 1e4 * fees / notional if notional else float("nan"),
        "ended": _endings(side),
    }


def _unit(part: Part) -> float:
    """What a unit is worth, so that shares of different coins add up; nothing was filled: it doesn't matter much."""
    return part.at_decision / part.filled if part.filled else part.worth


def _endings(side: Side) -> dict[str, int]:
    """How orders ended that weren't filled, stops at the venue left out; and what the gate refused."""
    found: Counter[str] = Counter(dict.fromkeys([*ENDS.values(), "refused by the gate"], 0))
    for order in side.orders:
        if int(order["state"]) in ENDS and order["kind"] not in (rec.STOP, rec.TAKE):
            found[ENDS[int(order["state"])]] += 1
    found["refused by the gate"] = int(np.count_nonzero(side.events["kind"] == rec.EV_REFUSED))
    return dict(found)


def _delays(parts: list[Part], name: str) -> dict[str, float] | None:
    """Median, 90th percentile and most, of what was sent and filled, in milliseconds from the decision on."""
    waits = [getattr(part, name) - part.sent_ns for part in parts if part.sent_ns and part.filled]
    waits = [wait for wait in waits if wait > 0]
    if not waits:
        return None
    middle, high, most = np.percentile(np.array(waits) / MILLISECOND_NS, [50, 90, 100]).tolist()
    return {"median": middle, "p90": high, "most": most, "count": len(waits)}


def _pair_body(pair: Pair, symbols: tuple[str, ...]) -> dict[str, Any]:
    return {
        "decision": format_time(pair.decision_ns) if pair.decision_ns else "", "symbol": symbols[pair.symbol],
        "side": "buy" if pair.side > 0 else "sell", "purpose": rec.PURPOSES[pair.purpose],
        "live": _part_body(pair.live), "simulated": _part_body(pair.simulated),
        "effect": pair.effect, "effects": pair.effects,
    }  # fmt: skip


def _part_body(part: Part) -> dict[str, Any]:
    until = {name: getattr(part, f"{name}_ns") - part.sent_ns for name in ("first", "done")} if part.sent_ns else {}
    return {
        "orders": part.orders, "asked": part.asked, "filled": part.filled, "price": part.price,
        "slippage_bps": part.bps(part.slipped), "fees_bps": 1e4 * part.fee / part.notional if part.notional else None,
        **{f"{name}_ms": wait / MILLISECOND_NS for name, wait in until.items() if wait > 0},
    }  # fmt: skip
