"""Bars of several symbols on one grid of rows, and finer bars inside them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from data.bars import BarSeries
from data.errors import InputError
from risk.records import Array

PRICES = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Grid:
    """n rows of M symbols, C-contiguous, NaN where a symbol has no bar. A row of `decides` ends a decision bar."""

    open_ns: Array  # i8[n]
    close_ns: Array  # i8[n]
    open: Array  # f8[n, M]
    high: Array
    low: Array
    close: Array
    volume: Array
    known_ns: Array  # i8[n, M]
    decides: Array  # u1[n]

    @property
    def prices(self) -> tuple[Array, Array, Array, Array, Array]:
        """Open, high, low, close, volume."""
        return self.open, self.high, self.low, self.close, self.volume

    def cut(self, first: int) -> "Grid":
        """Rows from `first` on."""
        return replace(self, **{name: getattr(self, name)[first:] for name in self.__dataclass_fields__})


def coarse_grid(series: Sequence[BarSeries], bar_ns: int) -> Grid:
    """Every open time that any symbol has, one row each."""
    one = series[0]
    if len(series) == 1:
        # Writable, as signals take them: else they would copy, and nobody would know any more that both are the same.
        columns = {name: np.require(getattr(one, name), "f8", ["C", "W"]).reshape(-1, 1) for name in PRICES}
        opens = np.ascontiguousarray(one.open_ns)
        known = np.ascontiguousarray(one.known_ns).reshape(-1, 1)
    else:
        opens = np.unique(np.concatenate([each.open_ns for each in series]))
        shape = (len(opens), len(series))
        columns = {name: np.full(shape, np.nan) for name in PRICES}
        known = np.zeros(shape, np.int64)
        for k, each in enumerate(series):
            at = np.searchsorted(opens, each.open_ns)
            known[at, k] = each.known_ns
            for name in PRICES:
                columns[name][at, k] = getattr(each, name)
    return Grid(
        open_ns=opens, close_ns=opens + bar_ns, **columns, known_ns=known, decides=np.ones(len(opens), np.uint8)
    )


def refine(grid: Grid, inside: Sequence[BarSeries], inside_ns: int) -> tuple[Grid, int]:
    """Put finer bars in the place of each row where every symbol that has the row has all of them; how many rows that
    were.
    """
    step = int(grid.close_ns[0] - grid.open_ns[0])
    if inside_ns >= step or step % inside_ns:
        raise InputError(
            "finer bars don't divide the bar", key="run.inside", value=inside_ns, remedy="such as 1m inside 1h"
        )
    parts = step // inside_ns
    fine_ns = (grid.open_ns[:, None] + np.arange(parts) * inside_ns).ravel()
    shape = (len(fine_ns), len(inside))
    fine = {name: np.full(shape, np.nan) for name in PRICES}
    whole = np.ones(len(grid.open_ns), bool)
    for k, each in enumerate(inside):
        at = np.searchsorted(each.open_ns, fine_ns)
        found = np.zeros(len(fine_ns), bool)
        inner = at < len(each.open_ns)
        found[inner] = each.open_ns[at[inner]] == fine_ns[inner]
        for name in PRICES:
            fine[name][found, k] = getattr(each, name)[at[found]]
        present = np.isfinite(grid.close[:, k])
        whole &= ~present | found.reshape(-1, parts).all(axis=1)
        fine_absent = np.repeat(~present, parts)
        for name in PRICES:
            fine[name][fine_absent, k] = np.nan
    return _merged(grid, whole, fine_ns, fine, inside_ns, parts), int(whole.sum())


def _merged(grid: Grid, whole: Array, fine_ns: Array, fine: dict[str, Array], inside_ns: int, parts: int) -> Grid:
    """Fine rows where `whole`, else the coarse one."""
    counts = np.where(whole, parts, 1)
    ends = np.cumsum(counts)
    n = int(ends[-1])
    is_fine = np.repeat(whole, counts)
    opens = np.empty(n, np.int64)
    closes = np.empty(n, np.int64)
    chosen = np.repeat(whole, parts)
    opens[is_fine] = fine_ns[chosen]
    opens[~is_fine] = grid.open_ns[~whole]
    closes[is_fine] = fine_ns[chosen] + inside_ns
    closes[~is_fine] = grid.close_ns[~whole]
    columns = {}
    for name in PRICES:
        column = np.empty((n, grid.open.shape[1]))
        column[is_fine] = fine[name][chosen]
        column[~is_fine] = getattr(grid, name)[~whole]
        columns[name] = column
    decides = np.zeros(n, np.uint8)
    decides[ends - 1] = 1
    known = np.repeat(grid.known_ns, counts, axis=0)
    return Grid(open_ns=opens, close_ns=closes, **columns, known_ns=known, decides=decides)
