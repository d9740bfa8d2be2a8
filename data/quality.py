"""Gaps, duplicates, late and revised rows, bad ticks: found, counted, reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from data.facts import KINDS
from data.layout import LISTED_BY, label
from data.times import format_duration

if TYPE_CHECKING:
    from data.store import Store

F8 = np.ndarray[Any, np.dtype[np.float64]]
I8 = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

ODD_FACTOR = 1.5
WRONG_FACTOR = 3.0
SPIKE_RANGES = 20.0
SOURCES_MAX = 12


@dataclass(frozen=True)
class Gap:
    """A hole in a series: the last time before it, the first after it, and how many grid steps are absent."""

    after_ns: int
    before_ns: int
    missing: int


@dataclass(frozen=True)
class CatalogRow:
    """One stored series as ``tidegate data`` lists it. Times are nanoseconds UTC.

    ``rows`` counts all stored rows, revisions included; ``late`` rows became known after a later event of the same
    series was known; ``bad_ticks`` are stored bars that look odd (see `find_spikes`); ``quarantined`` maps reason to
    count, ``quality`` maps quality to rows. A line with no rows stands for bad rows that belong to no stored series;
    its ``name`` is where they came from.
    """

    kind: str
    name: str
    source: str
    first_ns: int = 0
    last_ns: int = 0
    rows: int = 0
    known_last_ns: int = 0
    step_ns: int = 0
    gaps: int = 0
    missing: int = 0
    largest_gap_ns: int = 0
    duplicates: int = 0
    revised: int = 0
    late: int = 0
    bad_ticks: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)
    quality: Mapping[str, int] = field(default_factory=dict)


def find_gaps(event_ns: I8, step_ns: int, slack: float = 0.0) -> list[Gap]:
    """Holes in an ascending series.

    Parameters
    ----------
    event_ns : int64 array of shape (n,), ascending
    step_ns : int
        The grid's step.
    slack : float
        Share of a step by which a stamp may jitter without a hole (funding times are off by milliseconds).
    """
    steps = np.diff(event_ns)
    found = []
    for at in np.flatnonzero(steps > step_ns * (1 + slack)):
        missing = max(round(int(steps[at]) / step_ns), 2) - 1
        found.append(Gap(int(event_ns[at]), int(event_ns[at + 1]), missing))
    return found


def distinct(times: I8) -> I8:
    """The different values, ascending; by sorting, which is several times faster here than numpy's hashing."""
    ordered = np.sort(times)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def usual_step(event_ns: I8) -> int:
    """The commonest positive distance of neighbours; 0 for fewer than two times."""
    steps = np.diff(distinct(event_ns))
    if len(steps) == 0:
        return 0
    values, counts = np.unique(steps, return_counts=True)
    return int(values[np.argmax(counts)])


def common_step(event_ns: I8) -> int:
    """The largest step that all distances are multiples of; 0 for fewer than two times."""
    return int(np.gcd.reduce(np.diff(distinct(event_ns)))) if len(event_ns) > 1 else 0


def find_spikes(open: F8, high: F8, low: F8, close: F8, factor: float = ODD_FACTOR) -> Mask:
    """Bars with a price far off both neighbours' closes while those agree: a bad tick rather than a move.

    A bar is flagged when one of its prices lies ``factor`` times away from the neighbours' mid (geometric mean of the
    close before and the close after), which is also 20 times the median bar range, while the two neighbours differ by
    less than a third of that. At either end the one neighbour there is counts, together with the bar's own close.

    Parameters
    ----------
    open, high, low, close : float64 arrays of shape (n,), positive, in time order
    factor : float
        1.5 finds what is odd (thin books do print such wicks: it is reported), 3 what is hardly true (quarantined).

    Returns
    -------
    bool array of shape (n,)
    """
    count = len(close)
    if count < 3:
        return np.zeros(count, dtype=bool)
    logs = np.log(close)
    before = np.concatenate([logs[:1], logs[:-1]])
    after = np.concatenate([logs[1:], logs[-1:]])
    middle = (before + after) / 2
    top = np.log(np.maximum(high, open)) - middle
    bottom = middle - np.log(np.minimum(low, open))
    deviation = np.maximum(top, bottom)
    usual = float(np.median(np.log(high) - np.log(low)))
    far = deviation > max(np.log(factor), SPIKE_RANGES * usual)
    flagged: Mask = far & (np.abs(after - before) < deviation / 3)
    return flagged


def catalog(store: Store) -> list[CatalogRow]:
    """What is stored, one row per series, kinds in the order of `data.facts.KINDS`.

    News comes from hundreds of sources: beyond the largest `SOURCES_MAX` they share one line.

    Raises
    ------
    InputError
        When a stored file is damaged.
    """
    rows: list[CatalogRow] = []
    for kind in KINDS:
        rows.extend(_catalog_kind(store, kind))
    return rows


def _catalog_kind(store: Store, kind: str) -> list[CatalogRow]:
    manifest = store.manifest(kind)
    bad: dict[str, dict[str, int]] = {}
    strays: dict[str, dict[str, int]] = {}
    for reject in manifest.rejects:
        for series, reasons in reject.reasons.items():
            target = bad.setdefault(series, {}) if series else strays.setdefault(reject.origin, {})
            for reason, count in reasons.items():
                target[reason] = target.get(reason, 0) + count
    rows = []
    listed = store.query(_SQL[kind]).to_pylist() if manifest.parts else []
    for line in listed:
        series = label(kind, line)
        rows.append(_catalog_row(store, kind, line, bad.pop(series, {}), manifest.duplicates.get(series, {})))
    for series, reasons in bad.items():
        strays.setdefault(series.replace("|", " "), {}).update(reasons)
    if kind == "posts" and len(rows) > SOURCES_MAX:
        rows.sort(key=lambda row: (-row.rows, row.name))
        rows = sorted(rows[:SOURCES_MAX], key=lambda row: row.name) + [_together(rows[SOURCES_MAX:])]
    rows += [CatalogRow(kind, name, "", quarantined=reasons) for name, reasons in sorted(strays.items())]
    return rows


def _catalog_row(
    store: Store, kind: str, line: Mapping[str, Any], bad: Mapping[str, int], twice: Mapping[str, int]
) -> CatalogRow:
    step_ns, gaps, ticks = 0, list[Gap](), 0
    if kind == "bars":
        step_ns = line["interval_ns"]
        series = store.bars(line["symbol"], step_ns, source=line["source"])
        gaps = find_gaps(series.open_ns, step_ns)
        ticks = int(find_spikes(series.open, series.high, series.low, series.close).sum())
    elif kind == "metrics":
        where = {"source": [line["source"]], "name": [line["name"]], "coin": [line["coin"]]}
        events = distinct(store.table(kind, where, columns=["event_ns"])["event_ns"].to_numpy())
        step_ns = usual_step(events)
        gaps = find_gaps(events, step_ns, slack=0.5) if step_ns else []
    return CatalogRow(
        kind=kind,
        name=series_name(kind, line),
        source=line.get("source", ""),
        first_ns=line["first_ns"],
        last_ns=line["last_ns"],
        rows=line["rows"],
        known_last_ns=line["known_last_ns"],
        step_ns=step_ns,
        gaps=len(gaps),
        missing=sum(gap.missing for gap in gaps),
        largest_gap_ns=max((gap.before_ns - gap.after_ns for gap in gaps), default=0),
        duplicates=sum(twice.values()),
        revised=line["revised"],
        late=line["late"],
        bad_ticks=ticks,
        quarantined=dict(bad),
        quality={quality: count for quality, count in line["mix"].items() if count},
    )


def _together(rows: list[CatalogRow]) -> CatalogRow:
    """One line for many small sources."""
    quality: Counter[str] = Counter()
    quarantined: Counter[str] = Counter()
    for row in rows:
        quality.update(row.quality)
        quarantined.update(row.quarantined)
    return CatalogRow(
        kind=rows[0].kind,
        name=f"{len(rows)} smaller sources",
        source="",
        first_ns=min(row.first_ns for row in rows),
        last_ns=max(row.last_ns for row in rows),
        rows=sum(row.rows for row in rows),
        known_last_ns=max(row.known_last_ns for row in rows),
        duplicates=sum(row.duplicates for row in rows),
        revised=sum(row.revised for row in rows),
        late=sum(row.late for row in rows),
        quarantined=dict(quarantined),
        quality=dict(quality),
    )


def series_name(kind: str, line: Mapping[str, Any]) -> str:
    """A series by the columns of `data.layout.LISTED_BY`, for people to read: ``BTC/USDT 1h``."""
    if kind == "bars":
        return f"{line['symbol']} {format_duration(line['interval_ns'])}"
    if kind == "metrics":
        return f"{line['name']} {line['coin']}"
    if kind == "sentiment":
        return f"{line['model']}@{line['model_revision']}"
    return str(line["source"])


def _catalog_sql(kind: str) -> str:
    names = ", ".join(LISTED_BY[kind])
    apart = names if kind != "sentiment" else f"{names}, source"
    return f"""
        WITH arrivals AS (
            SELECT {names}, event_ns, known_ns, revision, quality,
                max(event_ns) OVER (
                    PARTITION BY {apart} ORDER BY known_ns, event_ns
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) > event_ns AND revision = 0 AS late
            FROM {kind}
        )
        SELECT {names}, count(*) AS rows, min(event_ns) AS first_ns, max(event_ns) AS last_ns,
            max(known_ns) AS known_last_ns, count(*) FILTER (revision > 0) AS revised,
            count(*) FILTER (late) AS late,
            {{'recorded': count(*) FILTER (quality = 'recorded'),
              'vendor_pit': count(*) FILTER (quality = 'vendor_pit'),
              'assumed_lag': count(*) FILTER (quality = 'assumed_lag'),
              'revised': count(*) FILTER (quality = 'revised')}} AS mix
        FROM arrivals GROUP BY {names} ORDER BY {names}
    """


_SQL = {kind: _catalog_sql(kind) for kind in KINDS}
