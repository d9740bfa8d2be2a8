"""Metrics from a file: on-chain and market series, wide (a column each) or long (a name in each row)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from data.errors import InputError, raise_all
from data.facts import MARKET_WIDE, fact_table
from data.intake_posts import DEFAULT_SOURCE, FUTURE, event_times, known_times, say_known
from data.options import ImportOptions
from data.quality import usual_step
from data.sheet import Batch, Sheet
from data.stamps import I8
from data.times import format_duration


def metrics_of(sheet: Sheet, options: ImportOptions, ingested_ns: int) -> Batch:
    """Facts and bad rows of a file of metrics. An empty cell is no observation, and no fault.

    Raises
    ------
    InputError or InputErrors
        Stamp, lag, interval, coin or values not stated; an interval the rows contradict; columns missing.
    """
    _check_stated(sheet, options)
    event_ns = event_times(sheet, options)
    _check_interval(sheet, options, event_ns)
    known_ns, quality = known_times(sheet, options, event_ns, lag_required=True)
    coins = _coins(sheet, options)
    sheet.blame(event_ns > ingested_ns, FUTURE)
    named = _values(sheet, options)
    for _, values, empty in named:
        sheet.blame(~empty & ~np.isfinite(values), "value is not finite")
    good = sheet.good()
    source = options.source or DEFAULT_SOURCE
    tables, empties = [], 0
    for names, values, empty in named:
        here = good & ~empty
        empties += int((good & empty).sum())
        tables.append(
            fact_table(
                "metrics",
                {
                    "source": source,
                    "name": _at(names, here),
                    "coin": _at(coins, here),
                    "event_ns": event_ns[here],
                    "known_ns": known_ns[here],
                    "ingested_ns": ingested_ns,
                    "quality": quality,
                    "value": values[here],
                },
            )
        )
    what = "the value of" if options.stamp == "published" else "the value of the interval that ends"
    say_known(sheet, what, event_ns, known_ns, quality)
    whole = pa.concat_tables(tables)
    one = len(named) == 1
    rejects = sheet.rejects(lambda row: f"{source}|{named[0][0][row]}|{coins[row]}" if one else "")
    return Batch("metrics", whole, rejects, tuple(sheet.notes), empties)


def _check_stated(sheet: Sheet, options: ImportOptions) -> None:
    """What a metric can't do without; all that is missing is said at once."""
    errors = []
    if options.stamp is None:
        errors.append(
            InputError(
                "what is a row's time the time of?",
                where=sheet.where,
                key="--stamp",
                remedy="Say --stamp start (of the interval measured), end, or published",
            )
        )
    if options.stamp == "start" and options.interval is None:
        errors.append(
            InputError(
                "a stamp at the start of an interval needs the interval",
                where=sheet.where,
                key="--interval",
                remedy="For daily rows say --interval 1d",
            )
        )
    if options.lag is None and "known" not in options.columns:
        errors.append(
            InputError(
                "a metric without its lag could be used before it was known",
                where=sheet.where,
                key="--lag",
                remedy="Say how long after its interval's end (or its stamp) it is known: --lag 6h, or 0s for at once",
            )
        )
    if options.coin is None and sheet.find("coin") is None:
        errors.append(
            InputError(
                "which coin is it about?",
                where=sheet.where,
                key="--coin",
                remedy="Say --coin BTC, or --coin '*' for all",
            )
        )
    raise_all(errors)


def _check_interval(sheet: Sheet, options: ImportOptions, event_ns: I8) -> None:
    """Rows further apart than their declared interval would be known before their own was over."""
    if options.stamp != "start":
        return
    interval_ns = options.duration("interval", sheet.where) or 0
    step_ns = usual_step(event_ns[sheet.good()])
    if step_ns > interval_ns:
        raise InputError(
            f"rows are {format_duration(step_ns)} apart: their values would count as known before their interval ended",
            where=sheet.where,
            key="--interval",
            value=options.interval,
            remedy=f"Say --interval {format_duration(step_ns)}",
        )


def _coins(sheet: Sheet, options: ImportOptions) -> list[str]:
    if options.coin is not None:
        return [options.coin.strip().upper() or MARKET_WIDE] * sheet.rows
    coins = [text.upper() for text in sheet.texts("coin")]
    sheet.blame(np.array([not coin for coin in coins], dtype=bool), "no coin")
    return coins


def _values(sheet: Sheet, options: ImportOptions) -> list[tuple[list[str], Any, Any]]:
    """For each metric: its name in every row, its values, and the mask of empty cells."""
    if options.values:
        found = []
        for name, expression in options.values.items():
            values, empty = sheet.total(expression, "--values")
            found.append(([name] * sheet.rows, values, empty))
        return found
    if sheet.find("name") is not None and sheet.find("value") is not None:
        values, empty = sheet.floats(sheet.need("value"))
        names = sheet.texts("name")
        sheet.blame(np.array([not name for name in names], dtype=bool), "no name")
        return [(names, values, empty)]
    others = [name for name in sheet.raw.rows.column_names if name != sheet.find("time")]
    raise InputError(
        f"which columns are the metrics? There are {', '.join(others[:30])}",
        where=sheet.where,
        key="--values",
        remedy=f"Name them: --values {others[0] if others else 'COLUMN'}, --values my_name=COLUMN or "
        "--values netflow=IN-OUT",
    )


def _at(texts: list[str], mask: Any) -> list[str]:
    return [texts[at] for at in np.flatnonzero(mask)]
