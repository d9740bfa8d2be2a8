"""Any indicator class of the package `ta` as a signal.

`ta` computes over a whole series. Here it is called over windows anchored at UTC days: from `lookback` bars before the
day's first bar up to the bar in question. That makes one call a day over history and the same values live, whenever the
bot was started. Rows with fewer than `lookback` bars before them are lost, and with them all that `ta` fills in at the
beginning of a series.

What `ta` 0.11 needs and does:

- Its classes index by position and by label alike (PSAR is silently wrong on a time index), so that it gets a plain
  index.
- KST fills its first rows from the mean of the whole series, the future included, which also leaves traces in the sums
  after them; it is handed a series whose mean isn't known.
- AccDistIndex, CumulativeReturn, NegativeVolumeIndex, OnBalanceVolume and VolumePriceTrend cumulate from the first bar:
  their level depends on where history happens to start, and they are refused.
- ADX and AverageTrueRange fail on a series shorter than their window: a window is never as short as that here.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import warnings
from difflib import get_close_matches
from typing import Any

import numpy as np

from data.errors import InputError
from data.times import DAY_NS
from signals.inputs import Array
from signals.own import BarFact, Bars, OwnSignal
from signals.signal import Setting, count_of

MODULES = ("momentum", "trend", "volatility", "volume", "others")
COLUMNS = ("open", "high", "low", "close", "volume")
CUMULATES = (
    "AccDistIndexIndicator",
    "CumulativeReturnIndicator",
    "NegativeVolumeIndexIndicator",
    "OnBalanceVolumeIndicator",
    "VolumePriceTrendIndicator",
)
FILLS_FROM_MEAN = ("KSTIndicator",)
REFUSED_SETTINGS = ("fillna", "dropnans")
TOLERANCE = 1e-6  # of the largest value
CHECKED_BARS = 10_000
LOOKBACK_LEAST = 100


@functools.cache
def classes() -> dict[str, Any]:
    """Indicator classes of `ta` by name."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = importlib.import_module("ta.utils").IndicatorMixin
        for module in (importlib.import_module(f"ta.{name}") for name in MODULES):
            for name, value in vars(module).items():
                if inspect.isclass(value) and issubclass(value, base) and value.__module__ == module.__name__:
                    found[name] = value
    return found


def outputs_of(name: str) -> tuple[str, ...]:
    """What an indicator class can give, in its own order."""
    return tuple(key for key, value in vars(classes()[name]).items() if inspect.isfunction(value) and key[0] != "_")


def settings_of(name: str) -> dict[str, Any]:
    """Settings of an indicator class with their defaults; `inspect.Parameter.empty` for one that has to be given."""
    parameters = inspect.signature(classes()[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in (*COLUMNS, *REFUSED_SETTINGS)}


class Technical(OwnSignal):
    """An indicator of the package `ta`.

    Parameters
    ----------
    name : str
        Class of `ta`, such as "RSIIndicator".
    output : str, optional
        Which of its series; needed when it has several.
    lookback : int, optional
        Bars before a UTC day's first one over which it is computed; by default 20 times the sum of its windows. It is
        checked against the whole history, and one that is too short is refused with the length that would do.
    on, seen
        As for every signal.
    **settings
        Settings of the class.

    Raises
    ------
    InputError
        For an unknown class, output or setting, an indicator that cumulates, or a lookback that is too short.

    Examples
    --------
    >>> Technical("MACD", output="macd_diff", window_slow=26)
    Technical('MACD', output='macd_diff', window_slow=26)
    """

    lookback: int

    def __init__(
        self,
        name: str,
        *,
        output: str | None = None,
        lookback: Setting = None,
        on: Setting = None,
        seen: Setting = None,
        **settings: Setting,
    ) -> None:
        self.settings = tuple(settings)
        self._declare(name=name, output=output, lookback=lookback, on=on, seen=seen, **settings)

    def settle(self) -> None:
        name = self.arguments["name"]
        _check_name(name)
        outputs = outputs_of(name)
        output = self.arguments["output"] or (outputs[0] if len(outputs) == 1 else None)
        if output not in outputs:
            said = "has several outputs" if output is None else "has no such output"
            raise InputError(f"{name} {said}", key="output", value=output, remedy=f"Use one of {', '.join(outputs)}")
        self.name, self.output = name, output
        self.chosen = self._chosen(settings_of(name))
        given = self.arguments["lookback"]
        self.lookback = _default_lookback(self.chosen) if given is None else count_of(given, f"{name}.lookback")

    def _chosen(self, known: dict[str, Any]) -> dict[str, Any]:
        for key in self.settings:
            value = self.arguments[key]
            if key not in known:
                remedy = f"It has: {', '.join(known) or 'none'}"
                raise InputError(f"{self.name} has no such setting", key=key, value=value, remedy=remedy)
            if not isinstance(value, bool) and not (
                isinstance(value, int | float) and math.isfinite(value) and value >= 0
            ):
                raise InputError("has to be a number, not below 0", where=self.name, key=key, value=value)
        chosen = known | {key: _whole(self.arguments[key]) for key in self.settings}
        for key, value in chosen.items():
            if value is inspect.Parameter.empty:
                raise InputError(f"{self.name} needs this setting", key=key)
        return {key: value for key, value in chosen.items() if value is not None}

    @property
    def lookback_bars(self) -> int:
        return self.lookback + 1

    # --- one bar at a time --------------------------------------------------------------------------------------------
    def start(self, symbol: str) -> dict[str, Any]:
        return {"bars": [], "value": math.nan, "fresh": True}

    def step(self, memory: Any, fact: BarFact) -> None:
        bars = memory["bars"]
        if bars and _day(fact.close_ns) != _day(bars[-1].close_ns):
            del bars[: -self.lookback]
        bars.append(fact)
        memory["fresh"] = False

    def value(self, memory: Any, now_ns: int) -> float:
        if not memory["fresh"]:  # what is kept here is no part of what it knows: reading twice reads the same
            columns = np.array(memory["bars"], dtype=float).T
            enough = columns.shape[1] > self.lookback
            memory["value"] = float(self.compute(Bars(*columns))[-1]) if enough else math.nan
            memory["fresh"] = True
        found: float = memory["value"]
        return found

    # --- history ------------------------------------------------------------------------------------------------------
    def over(self, symbol: str, bars: Bars) -> Array:
        found = self.by_days(bars, self.lookback)
        self._check_lookback(symbol, bars, found)
        return found

    def by_days(self, bars: Bars, lookback: int) -> Array:
        """Values over windows anchored at UTC days; NaN with fewer than `lookback` bars before."""
        found = np.full(len(bars), np.nan)
        starts = [0, *(np.flatnonzero(np.diff(_day(bars.close_ns))) + 1).tolist(), len(bars)]
        for begin, end in zip(starts[:-1], starts[1:], strict=True):
            first = max(begin - lookback, 0)
            ready = max(begin, first + lookback)
            if ready < end:
                found[ready:end] = self.compute(bars.part(first, end))[ready - first :]
        return found

    def compute(self, bars: Bars) -> Array:
        """The indicator over one window, by one call of `ta`.

        Raises
        ------
        InputError
            When `ta` can't compute it.
        """
        import pandas as pd

        cls = classes()[self.name]
        series = _meanless(pd) if self.name in FILLS_FROM_MEAN else pd.Series
        needed = [name for name in inspect.signature(cls).parameters if name in COLUMNS]
        columns = {name: series(np.array(getattr(bars, name)), dtype=float) for name in needed}
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                found = getattr(cls(**columns, **self.chosen), self.output)()
            except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"ta's {self.name} fails on {len(bars)} bars ({error})",
                    key="lookback",
                    value=self.lookback,
                    remedy="Use a longer lookback, or other settings",
                ) from error
        return np.asarray(found, dtype=float)

    def _check_lookback(self, symbol: str, bars: Bars, found: Array) -> None:
        """Compare with one call over the whole history, the last `CHECKED_BARS` of it when it is longer."""
        size = len(bars)
        begin = max(size - CHECKED_BARS - 3 * self.lookback, 0)
        if size - begin <= self.lookback:
            return
        tail = bars.part(begin, size)
        whole = self.compute(tail)
        if _agree(found[begin + self.lookback :], whole[self.lookback :]):
            return
        longer = 2 * self.lookback
        while longer < (size - begin) // 2:
            if _agree(self.by_days(tail, longer)[longer:], whole[longer:]):
                raise self._too_short(symbol, f"Use lookback={longer}")
            longer *= 2
        raise self._too_short(symbol, f"None up to {longer // 2} bars would do; it may never forget its first bar")

    def _too_short(self, symbol: str, remedy: str) -> InputError:
        return InputError(
            f"{self.name} of {symbol} differs from its value over the whole history",
            key="lookback",
            value=self.lookback,
            remedy=remedy,
        )


def _check_name(name: object) -> None:
    known = [key for key in classes() if key not in CUMULATES]
    if name in CUMULATES:
        raise InputError(
            f"{name} cumulates from the first bar: its level depends on where history starts, and no lookback would do",
            key="Technical",
            remedy="Use a windowed indicator such as ChaikinMoneyFlowIndicator or ForceIndexIndicator",
        )
    if name not in known:
        near = get_close_matches(str(name), known, n=3, cutoff=0.3)
        raise InputError(
            "ta has no such indicator class",
            key="Technical",
            value=name,
            remedy=f"Did you mean {' or '.join(near)}" if near else f"It has: {', '.join(known)}",
        )


def _default_lookback(chosen: dict[str, Any]) -> int:
    windows = [
        value for value in chosen.values() if isinstance(value, int) and not isinstance(value, bool) and value > 1
    ]
    return max(20 * sum(windows), LOOKBACK_LEAST)


def _whole(value: Any) -> Any:
    """A Param comes as a float, while `ta` wants whole windows as ints."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _day(close_ns: Any) -> Any:
    """UTC day of a bar: that of its last moment before the close."""
    return (close_ns - 1) // DAY_NS


def _agree(found: Array, whole: Array) -> bool:
    """Whether two series are the same but for rounding and a last trace of the beginning."""
    finite = np.isfinite(whole)
    if not bool((np.isfinite(found) == finite).all()):
        return False
    if not finite.any():
        return True
    return bool(np.abs(found[finite] - whole[finite]).max() <= TOLERANCE * np.abs(whole[finite]).max())


@functools.cache
def _meanless(pd: Any) -> Any:
    class Meanless(pd.Series):  # type: ignore[misc]
        """A series whose overall mean isn't known, since it would be made of the future."""

        @property
        def _constructor(self) -> Any:
            return Meanless

        def mean(self, *args: Any, **kwargs: Any) -> float:
            return math.nan

    return Meanless
