"""The funding that falls due in a run of perpetuals: stored or assumed, never taken for zero."""

import numpy as np

from backtest.facts import read_columns, share_of
from backtest.result import InputShare
from backtest.spec import RunSpec, coin_of
from data.errors import InputError
from data.store import Store
from data.times import format_time
from risk.records import Array

FUNDING = "funding_rate"
EIGHT_HOURS_NS = 8 * 3600 * 10**9


def funding_due(
    store: Store, spec: RunSpec, begin: int, end: int, shares: list[InputShare], doubts: list[str]
) -> tuple[Array, Array, Array]:
    """Every funding due from `begin` to `end`, in nanoseconds: (times, symbols' places, rates), in order of time.

    Raises
    ------
    InputError
        One is missing: it is never taken for zero.
    """
    none = np.zeros(0, np.int64)
    if not spec.perp:
        return none, none, np.zeros(0)
    due = np.arange(-(-begin // EIGHT_HOURS_NS) * EIGHT_HOURS_NS, end + 1, EIGHT_HOURS_NS)
    times, symbols, rates = [], [], []
    if np.isfinite(spec.fills.funding_rate):
        doubts.append(f"assumed: funding of {100.0 * spec.fills.funding_rate:.6g}% every 8h")
    for k, symbol in enumerate(spec.symbols):
        if np.isfinite(spec.fills.funding_rate):
            at, rate = due, np.full(len(due), spec.fills.funding_rate)
        else:
            at, rate = _stored_funding(store, coin_of(symbol), begin, end, shares)
        times.append(at)
        symbols.append(np.full(len(at), k))
        rates.append(rate)
    when = np.concatenate(times)
    order = np.argsort(when, kind="stable")
    return when[order], np.concatenate(symbols)[order].astype(np.int64), np.concatenate(rates)[order]


def _stored_funding(store: Store, coin: str, begin: int, end: int, shares: list[InputShare]) -> tuple[Array, Array]:
    where = {"name": [FUNDING], "coin": [coin]}
    names = ("source", "event_ns", "known_ns", "revision", "quality", "value")
    rows = read_columns(store, "metrics", where, None, end + 1, names)
    at, place = np.unique(np.asarray(rows["event_ns"], np.int64), return_index=True)
    rate = np.asarray(rows["value"], float)[place]
    inside = (at >= begin) & (at <= end)
    spacing = int(np.median(np.diff(at))) if len(at) > 1 else EIGHT_HOURS_NS
    due = np.arange(-(-begin // spacing) * spacing, end, spacing)
    missing = np.setdiff1d(due, at)
    if len(missing):
        raise InputError(
            "funding is missing", key=FUNDING,
            value=f"{coin}: {len(missing)} of {len(due)}, first {format_time(int(missing[0]))}",
            remedy="import it as the metric funding_rate, or state an assumed rate: [fill] funding = \"0.01%\"",
        )  # fmt: skip
    shares.append(share_of("metrics", f"{FUNDING} {coin}", rows, store.digest("metrics", where, None, end + 1)))
    return at[inside], rate[inside]
