"""Bars from a file: which symbol and interval, what is wrong with which row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.checks import OFF_GRID, SPIKE, bar_faults, off_grid, spike_faults
from data.errors import InputError
from data.facts import fact_table
from data.options import ImportOptions
from data.quality import common_step, usual_step
from data.sheet import Batch, Sheet
from data.stamps import I8
from data.times import MILLISECOND_NS, format_duration, format_time, parse_duration

DEFAULT_SOURCE = "file"
TELLING_ROWS = 10

# freqtrade and its like: BTC_USDT-1h.feather, XRP_USDT_USDT-8h-futures.json
_NAMED = re.compile(r"(?:^|[-.])([A-Z0-9]{2,})_([A-Z0-9]{2,})(?:_([A-Z0-9]{2,}))?-(\d+[smhdw])(?=[-.]|$)")


def named_symbol(path: Path) -> tuple[str, str] | None:
    """Symbol and interval from a file's name, as freqtrade writes it; None when it says neither."""
    match = _NAMED.search(path.name)
    if match is None:
        return None
    base, quote, settle, interval = match.groups()
    return f"{base}/{quote}" + (f":{settle}" if settle else ""), interval


def plain_symbol(text: str) -> str | None:
    """``BTC/USDT`` from the ways files write it (``BTC-USDT``, ``btc_usdt``); None when it can't be told."""
    match = re.fullmatch(r"([A-Z0-9]+)[/_-]([A-Z0-9]+)(:[A-Z0-9]+)?", text.strip().upper())
    return None if match is None else f"{match[1]}/{match[2]}{match[3] or ''}"


def bars_of(sheet: Sheet, options: ImportOptions, ingested_ns: int) -> Batch:
    """Facts and bad rows of a file of bars.

    Raises
    ------
    InputError
        Symbol or interval unknown or contradicted by the rows, columns missing, times that can't be told.
    """
    where = sheet.where
    quality = options.quality_or("assumed_lag", where)
    lag_ns = options.duration("lag", where) or 0
    stamps = sheet.times()
    prices = [sheet.floats(sheet.need(name))[0] for name in ("open", "high", "low", "close")]
    volume = sheet.floats(sheet.need("volume"))[0]
    symbols = _symbols(sheet, options)
    source = options.source or DEFAULT_SOURCE
    first_symbol = symbols[0]
    one = np.array([symbol == first_symbol for symbol in symbols])
    interval_ns = _interval(sheet, options, stamps.ns[sheet.good() & one])
    open_ns = _opens(sheet, options, stamps.ns, interval_ns)
    four = (prices[0], prices[1], prices[2], prices[3])
    faults = bar_faults(open_ns, four, volume, interval_ns, ingested_ns)
    for reason in sorted(set(faults) - {""}):
        sheet.blame(faults == reason, str(reason))
    if not options.keep_spikes:
        _blame_spikes(sheet, symbols, open_ns, four)
    good = sheet.good()
    _say_order(sheet, open_ns[good & one])
    facts = fact_table(
        "bars",
        {
            "source": source,
            "symbol": np.array(symbols, dtype=object)[good],
            "interval_ns": np.full(int(good.sum()), interval_ns),
            "event_ns": open_ns[good],
            "known_ns": open_ns[good] + interval_ns + lag_ns,
            "ingested_ns": ingested_ns,
            "quality": quality,
            **dict(zip(("open", "high", "low", "close"), (values[good] for values in prices), strict=True)),
            "volume": volume[good],
        },
    )
    if good.any():
        opens = int(open_ns[good].min())
        known = format_time(opens + interval_ns + lag_ns)
        sheet.notes.append(f"the bar that opens {format_time(opens)} is known at {known} ({quality})")
    rejects = sheet.rejects(lambda row: f"{source}|{symbols[row]}|{interval_ns}")
    return Batch("bars", facts, rejects, tuple(sheet.notes))


def _symbols(sheet: Sheet, options: ImportOptions) -> Sequence[str]:
    """The symbol of every row."""
    named = named_symbol(sheet.raw.path)
    name = sheet.find("symbol")
    if options.symbol is not None:
        wanted = plain_symbol(options.symbol)
        if wanted is None:
            raise InputError(
                "not a symbol", where=sheet.where, key="--symbol", value=options.symbol, remedy="Write it like BTC/USDT"
            )
        if name is not None and len(found := set(sheet.texts("symbol")) - {""}) > 1:
            raise InputError(
                f"the file holds several symbols: {', '.join(sorted(found)[:6])}",
                where=sheet.where,
                key="--symbol",
                value=options.symbol,
                remedy="Leave --symbol away to take them all, or split the file",
            )
        return [wanted] * sheet.rows
    if name is not None:
        texts = sheet.texts("symbol")
        plain = {text: plain_symbol(text) for text in set(texts)}
        unclear = sorted(text for text, symbol in plain.items() if symbol is None)
        if not unclear:
            return [plain[text] or "" for text in texts]
        if named is None:
            raise InputError(
                "can't tell base and quote apart",
                where=sheet.where,
                key=name,
                value=unclear[0],
                remedy="Give the symbol: --symbol BTC/USDT",
            )
    if named is None:
        raise InputError("whose bars are these?", where=sheet.where, remedy="Give the symbol: --symbol BTC/USDT")
    sheet.notes.append(f"symbol {named[0]} from the file's name")
    return [named[0]] * sheet.rows


def _interval(sheet: Sheet, options: ImportOptions, times: I8) -> int:
    """The bars' interval, declared or from the file's name, and not contradicted by the rows."""
    named = named_symbol(sheet.raw.path)
    declared = options.duration("interval", sheet.where)
    step_ns = usual_step(times)
    if declared is None and named is not None:
        declared = parse_duration(named[1])
        sheet.notes.append(f"interval {named[1]} from the file's name")
    if declared is None:
        seen = f"; rows are {format_duration(step_ns)} apart" if step_ns else ""
        raise InputError(
            f"the bars' interval is not known{seen}",
            where=sheet.where,
            key="--interval",
            remedy=f"Give it: --interval {format_duration(step_ns) if step_ns else '1h'}",
        )
    if declared <= 0:
        raise InputError("has to be longer than nothing", where=sheet.where, key="--interval", value=options.interval)
    if len(times) >= TELLING_ROWS and common_step(times) > declared:
        raise InputError(
            f"rows are {format_duration(step_ns)} apart; as bars of {format_duration(declared)} they would count as "
            "known before they were over",
            where=sheet.where,
            key="--interval",
            value=format_duration(declared),
            remedy=f"Give the interval they have: --interval {format_duration(step_ns)}",
        )
    return declared


def _opens(sheet: Sheet, options: ImportOptions, ns: I8, interval_ns: int) -> I8:
    """Open times; most of them have to lie on the grid."""
    if options.stamp not in (None, "start", "end"):
        raise InputError(
            "bars are stamped at their start or end", where=sheet.where, key="--stamp", value=options.stamp
        )
    open_ns = ns
    if options.stamp == "end":
        # Some exchanges stamp the last millisecond of a bar instead of its end.
        last = (ns + MILLISECOND_NS) % interval_ns == 0
        open_ns = np.where(last, ns + MILLISECOND_NS, ns) - interval_ns
    good = sheet.good()
    off = off_grid(open_ns[good], interval_ns)
    if good.any() and 2 * int(np.sum(off)) > int(good.sum()):
        example = format_time(int(open_ns[good][np.flatnonzero(off)[0]]))
        end = options.stamp != "end" and bool(((ns[good] + MILLISECOND_NS) % interval_ns == 0).mean() > 0.5)
        raise InputError(
            f"most bars open off the {format_duration(interval_ns)} grid (like {example})",
            where=sheet.where,
            key="time",
            remedy="These look like closing times: say --stamp end"
            if end
            else f"Check --interval, --tz and --map time=COLUMN; a few such rows would be set apart as '{OFF_GRID}'",
        )
    return open_ns


def _blame_spikes(sheet: Sheet, symbols: Sequence[str], open_ns: I8, prices: tuple[object, ...]) -> None:
    good = sheet.good()
    names = np.array(symbols, dtype=object)
    for symbol in sorted(set(symbols)):
        mine = np.flatnonzero(good & (names == symbol))
        four = tuple(np.asarray(values)[mine] for values in prices)
        spikes = np.zeros(sheet.rows, dtype=bool)
        spikes[mine[spike_faults(open_ns[mine], (four[0], four[1], four[2], four[3]))]] = True
        if spikes.any():
            sheet.blame(spikes, SPIKE)
            sheet.notes.append(
                f"bars of {symbol} that look like bad ticks: {int(spikes.sum())} (--keep-spikes takes them)"
            )


def _say_order(sheet: Sheet, open_ns: I8) -> None:
    steps = np.diff(open_ns)
    if (steps >= 0).all():
        return
    sheet.notes.append("newest first: sorted" if (steps <= 0).all() else "not in time order: sorted")
