"""Gaps, duplicates, late and revised rows, bad ticks: found, counted, reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import InputError
from data.manifest import Part
from data.times import format_duration, format_time

if TYPE_CHECKING:
    from data.store import Store


@dataclass(frozen=True)
class CatalogRow:
    """One stored series as ``tidegate data`` lists it. Times are nanoseconds UTC."""

    kind: str
    name: str
    source: str
    first_ns: int
    last_ns: int
    rows: int
    known_last_ns: int
    gaps: int = 0
    missing: int = 0
    largest_gap_ns: int = 0
    duplicates: int = 0
    revised: int = 0
    late: int = 0
    bad_ticks: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)
    quality: Mapping[str, int] = field(default_factory=dict)


def catalog(store: Store) -> list[CatalogRow]:
    """What is stored, one row per series."""
    raise NotImplementedError


def empty_span(
    root: Path, parts: Sequence[Part], symbol: str, interval_ns: int, since_ns: int | None, until_ns: int | None
) -> InputError:
    """The error for a span without a single bar, naming the span there is."""
    first = format_time(min(part.event_min for part in parts))
    last = format_time(max(part.event_max for part in parts))
    since = "the start" if since_ns is None else format_time(since_ns)
    until = "the end" if until_ns is None else format_time(until_ns)
    return InputError(
        f"no bars of {symbol} {format_duration(interval_ns)} from {since} to {until}",
        where=root,
        key="since",
        remedy=f"Stored bars open from {first} to {last}: choose a span inside, or fetch more",
    )
