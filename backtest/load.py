"""From the store to a run's inputs: bars on one grid, facts in the order they became known, and what each is worth.

Refuses rather than guesses: no bars, a second quote currency, revised facts that weren't allowed by name, a perpetual
without its funding.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from backtest.facts import (
    METRICS,
    SENTIMENT,
    check_metric,
    coins_of,
    join_tapes,
    marker_where,
    metric_names,
    metric_tape,
    metric_where,
    needs_posts,
    read_columns,
    read_gaps,
    sentiment_tape,
    sentiment_where,
    share_of,
    unknown_coins,
)
from backtest.funding import funding_due
from backtest.grid import Grid, coarse_grid, refine
from backtest.result import InputShare
from backtest.spec import RunSpec, bar_patience, quote_of
from data.bars import BarSeries
from data.errors import InputError
from data.gaps import POSTS_UP, Outages
from data.store import Store
from data.times import format_duration, format_time
from risk.records import Array
from signals.inputs import Inputs, MetricTape, SentimentTape


@dataclass(frozen=True)
class RunInputs:
    """All that a run sees. `bars`: execution rows; `signals`: what signals look at, warm-up before `first` included."""

    signals: Inputs
    bars: Grid
    first: int  # index of the first decision that counts
    late: Array  # bool[d, M]: the symbol's bar came later than the decision could wait
    funding: tuple[Array, Array, Array]  # (ns i8, symbol i8, rate f8), in order of time
    shares: list[InputShare]
    synthetic: bool
    doubts: list[str] = field(default_factory=list)  # what was assumed, and what nothing is known of
    notes: list[str] = field(default_factory=list)  # what else is to be said of them


def load_inputs(store: Store, spec: RunSpec) -> RunInputs:
    """Read everything a run needs.

    Raises
    ------
    InputError
        No bars of a symbol in the span, a second quote currency, revised facts without leave, funding missing, a fact
        that a signal needs and nobody has.
    """
    check_symbols(spec)
    shares: list[InputShare] = []
    doubts: list[str] = []
    notes: list[str] = []
    grid, bars, first = _bar_rows(store, spec, shares, doubts, notes)
    sentiment, metrics = _facts(store, spec, int(grid.close_ns[-1]), shares, notes)
    doubts += unknown_coins(spec, sentiment, metrics)
    times = _decisions(spec, grid, first, sentiment, metrics)
    inputs = Inputs(
        symbols=tuple(spec.symbols),
        coins=coins_of(spec),
        bar_ns=spec.bar_ns,
        close_ns=grid.close_ns,
        open=grid.open,
        high=grid.high,
        low=grid.low,
        close=grid.close,
        volume=grid.volume,
        decide_ns=times[0],
        decide_bar=times[1],
        cutoff_ns=times[2],
        sentiment=sentiment,
        metrics=metrics,
    )
    at = np.clip(inputs.decide_bar, 0, None)
    waited_ns = np.maximum(inputs.cutoff_ns, grid.close_ns[at]) + bar_patience(spec.bar_ns)
    late = grid.known_ns[at] > waited_ns[:, None]
    return RunInputs(
        signals=inputs,
        bars=bars,
        first=int(np.searchsorted(times[0], grid.close_ns[first])),
        late=late,
        funding=funding_due(store, spec, int(bars.open_ns[0]), int(bars.close_ns[-1]), shares, doubts),
        shares=shares,
        synthetic=any(share.source.startswith("synthetic") for share in shares),
        doubts=doubts,
        notes=notes,
    )


def _bar_rows(
    store: Store, spec: RunSpec, shares: list[InputShare], doubts: list[str], notes: list[str]
) -> tuple[Grid, Grid, int]:
    """(every bar that is read, the run's rows, the first bar of the run); with finer bars inside where there are."""
    borrowed: dict[str, str] = {}
    series = _all_bars(store, spec, borrowed)
    shares += [_bar_share(store, one) for one in series]
    grid = coarse_grid(series, spec.bar_ns)
    first = 0 if spec.since_ns is None else int(np.searchsorted(grid.open_ns, spec.since_ns))
    if first >= len(grid.open_ns):
        raise _empty(spec, grid)
    bars = grid.cut(first)
    if spec.inside_ns is not None:
        since = int(bars.open_ns[0])
        inside = [_bars(store, spec, symbol, spec.inside_ns, since, borrowed) for symbol in spec.symbols]
        shares += [_bar_share(store, one) for one in inside]
        bars, refined = refine(bars, inside, spec.inside_ns)
        whole = len(grid.open_ns) - first
        notes.append(f"{refined} of {whole} bars resolved by {format_duration(spec.inside_ns)} bars")
    if borrowed:
        doubts.append(f"assumed: bars of {', '.join(borrowed.values())} stand for those of {', '.join(borrowed)}")
    return grid, bars, first


def warm_since(spec: RunSpec) -> int | None:
    """From when on bars are read: as long before the span as the signals need to be warm; None: from the first."""
    on_bars = [signal for signal in spec.strategy.signals.values() if signal.kind in ("bar", "own")]
    warm = max((signal.lookback_ns(spec.bar_ns) for signal in on_bars), default=0)
    return None if spec.since_ns is None else spec.since_ns - warm


def cut_inputs(inputs: RunInputs, since_ns: int | None) -> RunInputs:
    """The same run's inputs as if bars had been read from then on only; not after the run's first one."""
    seen = inputs.signals
    skip = 0 if since_ns is None else int(np.searchsorted(seen.close_ns, since_ns + seen.bar_ns))
    if skip == 0:
        return inputs
    decisions = int(np.searchsorted(seen.decide_ns, seen.close_ns[skip]))
    bars = {name: getattr(seen, name)[skip:] for name in ("close_ns", "open", "high", "low", "close", "volume")}
    rest = replace(
        seen, **bars, decide_ns=seen.decide_ns[decisions:], decide_bar=seen.decide_bar[decisions:] - skip,
        cutoff_ns=seen.cutoff_ns[decisions:],
    )  # fmt: skip
    return replace(inputs, signals=rest, first=inputs.first - decisions, late=inputs.late[decisions:])


def _all_bars(store: Store, spec: RunSpec, borrowed: dict[str, str]) -> list[BarSeries]:
    """Bars of every symbol, warm-up included."""
    since = warm_since(spec)
    try:
        return [_bars(store, spec, symbol, spec.bar_ns, since, borrowed) for symbol in spec.symbols]
    except InputError:
        for symbol in spec.symbols:  # say it of the span that was asked for, not of the one with its warm-up
            _bars(store, spec, symbol, spec.bar_ns, spec.since_ns, borrowed)
        raise


def check_symbols(spec: RunSpec) -> None:
    """One wallet has one quote currency, and each coin once."""
    if not spec.symbols:
        raise InputError("a run needs a symbol", key="run.symbols", remedy="give at least one")
    quotes = sorted({quote_of(symbol) for symbol in spec.symbols})
    if len(quotes) > 1:
        raise InputError(
            "a run trades one wallet",
            key="run.symbols",
            value=", ".join(quotes),
            remedy="keep the symbols of one quote currency",
        )
    if not 0 <= spec.decision_delay_ns < spec.bar_ns:
        raise InputError(
            "a decision can't wait for a whole bar", key="run.decision_delay",
            value=format_duration(spec.decision_delay_ns), remedy=f"give less than {format_duration(spec.bar_ns)}",
        )  # fmt: skip
    if spec.strategy.short and not spec.perp:
        raise InputError(
            "the strategy sells short", key="run.market", value=spec.market, remedy="set run.market to 'perp'"
        )


def _empty(spec: RunSpec, grid: Grid) -> InputError:
    shown = f"{format_time(spec.since_ns or 0)} and after"
    remedy = f"stored bars end at {format_time(int(grid.close_ns[-1]))}" if len(grid.close_ns) else "import bars first"
    return InputError("no bars in the span", key="run.since", value=shown, remedy=remedy)


def _bars(
    store: Store, spec: RunSpec, symbol: str, interval_ns: int, since: int | None, borrowed: dict[str, str]
) -> BarSeries:
    """Bars of a symbol; a perpetual without bars of its own may borrow its coin's spot bars, which is said: `borrowed`
    gets the symbol they are of.
    """
    try:
        return store.bars(symbol, interval_ns, since, spec.until_ns, spec.bar_source)
    except InputError:
        spot = symbol.split(":", 1)[0]
        if spot == symbol:
            raise
        with suppress(InputError):
            series = store.bars(spot, interval_ns, since, spec.until_ns, spec.bar_source)
            borrowed[symbol] = spot
            return series
        raise


def _bar_share(store: Store, series: BarSeries) -> InputShare:
    return InputShare(
        kind="bars", name=f"{series.symbol} {format_duration(series.interval_ns)}", source=series.source,
        rows=len(series), first_ns=int(series.open_ns[0]), last_ns=int(series.close_ns[-1]), sha256=series.sha256,
        quality=store.bar_qualities(series),
    )  # fmt: skip


def _facts(
    store: Store, spec: RunSpec, until_ns: int, shares: list[InputShare], notes: list[str]
) -> tuple[SentimentTape, dict[str, MetricTape]]:
    """Tapes of all facts that the strategy's signals name, known before the end of the run."""
    coins = coins_of(spec)
    sentiment = SentimentTape.empty()
    if needs_posts(spec):
        sentiment = _sentiment(store, spec, coins, until_ns, shares, notes)
    return sentiment, {name: _metric(store, spec, name, coins, until_ns, shares) for name in metric_names(spec)}


def _sentiment(
    store: Store, spec: RunSpec, coins: Sequence[str], until_ns: int, shares: list[InputShare], notes: list[str]
) -> SentimentTape:
    where = sentiment_where(spec, coins)
    rows = read_columns(store, "sentiment", where, None, until_ns + 1, SENTIMENT)
    if not len(rows["known_ns"]):
        raise InputError(
            "the strategy needs sentiment and no score of this model is stored", key="run.model",
            value=f"{spec.model}@{spec.model_revision}",
            remedy="run 'tidegate score' first, or choose a model that has scored",
        )  # fmt: skip
    shares.append(share_of("sentiment", spec.model, rows, store.digest("sentiment", where, None, until_ns + 1)))
    _check_sources(spec, rows["source"])
    gaps = _gaps(store, spec, coins, until_ns, rows, shares, notes)
    return join_tapes(gaps, sentiment_tape(rows, coins, spec.source_weights))


def _gaps(
    store: Store, spec: RunSpec, coins: Sequence[str], until_ns: int, posts: Mapping[str, Any],
    shares: list[InputShare], notes: list[str],
) -> SentimentTape:  # fmt: skip
    """When feeds of these posts were down, by what was known of it at each time."""
    outages = Outages(spec.source_weights)
    gaps, markers = read_gaps(store, coins, posts, outages, until_ns + 1)
    if outages.count:
        shares.append(
            share_of("metrics", POSTS_UP, markers, store.digest("metrics", marker_where(), None, until_ns + 1))
        )
        times = "once" if outages.count == 1 else f"{outages.count} times"
        lost = f", {format_duration(outages.down_ns // 10**9 * 10**9)} in all" if outages.down_ns else ""
        notes.append(f"feeds of posts were down {times}{lost}: signals of posts held meanwhile")
    return gaps


def _check_sources(spec: RunSpec, sources: Sequence[str]) -> None:
    """Refuse a weight of a source that has no post."""
    there = set(sources)
    strange = sorted(set(spec.source_weights) - there)
    if strange:
        raise InputError(
            "no post of this source has a score", key="sources.weights", value=", ".join(strange),
            remedy=f"the scored posts come from {', '.join(sorted(there))}",
        )  # fmt: skip


def _metric(
    store: Store, spec: RunSpec, name: str, coins: Sequence[str], until_ns: int, shares: list[InputShare]
) -> MetricTape:
    where = metric_where(name, coins)
    rows = read_columns(store, "metrics", where, None, until_ns + 1, METRICS)
    if not len(rows["known_ns"]):
        raise InputError(
            "the strategy needs a metric that is not stored",
            key="metric",
            value=name,
            remedy="'tidegate import metrics' brings it in",
        )
    check_metric(name, rows, spec.allow_revised)
    shares.append(share_of("metrics", name, rows, store.digest("metrics", where, None, until_ns + 1)))
    return metric_tape(rows, coins)


def _decisions(
    spec: RunSpec, grid: Grid, first: int, sentiment: SentimentTape, metrics: Mapping[str, MetricTape]
) -> tuple[Array, Array, Array]:
    """(decide_ns, decide_bar, cutoff_ns): every bar's close, and with decide_on="facts" arrivals at most every so
    often, unless the last bar closed more than a bar ago.
    """
    closes = grid.close_ns
    bar_cut = closes + spec.decision_delay_ns
    if spec.decide_on != "facts":
        return closes, np.arange(len(closes)), bar_cut
    arrivals = np.unique(np.concatenate([sentiment.known_ns, *(tape.known_ns for tape in metrics.values())]))
    arrivals = arrivals[(arrivals >= grid.open_ns[first]) & (arrivals < closes[-1])]
    arrivals = np.setdiff1d(arrivals, closes)
    kept = []
    before = np.searchsorted(closes, arrivals, side="right") - 1
    last = -(2**62)
    for ns, bar in zip(arrivals.tolist(), before.tolist(), strict=True):
        closed = int(closes[bar]) if bar >= 0 else last
        last = max(last, closed)
        if ns - last >= spec.every_ns and (bar < 0 or ns < closed + spec.bar_ns):
            kept.append(ns)
            last = ns
    extra = np.array(kept, np.int64)
    decide = np.concatenate([closes, extra])
    cut = np.concatenate([bar_cut, extra])
    order = np.argsort(decide, kind="stable")
    decide = decide[order]
    return decide, np.searchsorted(closes, decide, side="right") - 1, cut[order]


def later_scores(inputs: RunInputs, factor: int) -> RunInputs:
    """The same inputs with every score known `factor` times as long after its post was written."""
    tape = inputs.signals.sentiment
    known = tape.event_ns + factor * (tape.known_ns - tape.event_ns)
    order = np.argsort(known, kind="stable")
    columns = {name: value[order] for name, value in vars(tape).items()}
    columns["known_ns"] = known[order]
    return replace(inputs, signals=replace(inputs.signals, sentiment=SentimentTape(**columns)))
