"""Bars that the test gives the venue, as they are: also those that no honest venue would have."""

from __future__ import annotations

from typing import Any

Row = list[Any]
STEP_MS = {
    "1s": 1_000, "1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000, "1h": 3_600_000,
    "2h": 7_200_000, "4h": 14_400_000, "6h": 21_600_000, "8h": 28_800_000, "12h": 43_200_000, "1d": 86_400_000,
}  # fmt: skip


class Candles:
    """Bars by symbol and interval, values kept as the text that they were given as (so "NaN" and "-1" too)."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], list[Row]] = {}

    def put(self, symbol: str, interval: str, open_ms: int, values: list[str], *, twice: bool = False) -> Row:
        """Keep a bar (open, high, low, close, volume); one with the same open time is replaced, unless `twice`."""
        if interval not in STEP_MS or len(values) != 5:
            raise ValueError(f"no such bar: {interval} {values}")
        rows = self.rows.setdefault((symbol, interval), [])
        row: Row = [open_ms, *values, open_ms + STEP_MS[interval] - 1, "0", 1, "0", "0", "0"]
        if not twice:
            rows[:] = [one for one in rows if one[0] != open_ms]
        rows.append(row)
        rows.sort(key=lambda one: int(one[0]))
        return row

    def get(self, symbol: str, interval: str, start: int | None, end: int | None, limit: int) -> list[Row]:
        """Bars in order: the first ones from `start`, else the newest."""
        rows = [
            one for one in self.rows.get((symbol, interval), [])
            if (start is None or one[0] >= start) and (end is None or one[0] <= end)
        ]  # fmt: skip
        return rows[:limit] if start is not None else rows[-limit:]
