"""A strategy says what to hold, never how to trade: it declares signals and maps their values to target weights."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from data.errors import InputError, raise_all
from data.times import parse_duration
from signals.ops import SIGNALS_MAX
from signals.signal import Signal, Span, span_ns

NAN = float("nan")
PROTECTION = ("stop_loss", "take_profit", "trailing_stop")
EXITS = (*PROTECTION, "time_exit", "stale_exit")
SETTINGS = (*EXITS, "short", "decide_on", "every")
HELD = "held"
NO_PARAMS = "none_"  # numba knows no record without a field


@dataclass(frozen=True, eq=False)
class Param:
    """A number of a strategy that can be set, swept and fitted.

    Parameters
    ----------
    default : float
    low, high : float
        Range it has to lie in, both ends included.
    integer : bool
        Whole numbers only.

    Raises
    ------
    InputError
        When the default lies outside of the range.

    Examples
    --------
    >>> Param(0.3, low=0.0, high=1.0)
    Param(0.3, low=0.0, high=1.0)
    """

    default: float
    low: float = -math.inf
    high: float = math.inf
    integer: bool = False

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise InputError("a Param's low lies above its high", key="low", value=self.low)
        self.check("default", self.default)

    def check(self, name: str, value: object, where: str | None = None) -> float:
        """The value as a float, if it is one that this Param can have; else an InputError naming `name`."""
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError("not a number", where=where, key=name, value=value)
        if self.integer and not float(value).is_integer():
            raise InputError("not a whole number", where=where, key=name, value=value)
        if not self.low <= value <= self.high:
            raise InputError(
                "out of range", where=where, key=name, value=value, remedy=f"Use {self.low:g} to {self.high:g}"
            )
        return float(value)

    def __repr__(self) -> str:
        pieces = [f"{self.default!r}"]
        pieces += [f"{name}={getattr(self, name)!r}" for name in ("low", "high") if math.isfinite(getattr(self, name))]
        return f"Param({', '.join(pieces)}{', integer=True' if self.integer else ''})"


class Strategy:
    """Base of all strategies.

    A subclass declares signals and Params as class attributes, in the order `weigh` sees them, and gives one of

    - ``weigh(s, p)``: the target weight of one symbol; ``s`` holds the values of its signals and ``s.held``, the weight
      held now; ``p`` holds the Params;
    - ``allocate(s, p)``: target weights of all symbols, one array; ``s.mood`` is then an array over symbols.

    Both are pure static functions that numba can compile; NaN as a weight means HOLD in `allocate` and is an error in
    `weigh`. Neither decides for a symbol one of whose signals isn't ready, fresh and finite: it is held as it is.

    Attributes
    ----------
    stop_loss, take_profit, trailing_stop : float, Param or None
        Protective exits, as fractions of the entry price (of the best price since, for the trailing stop).
    time_exit, stale_exit : duration or None
        Leave after this long in a position, or after this long of not knowing.
    short : bool
        Whether negative weights are meant; without it they are cut to 0.
    decide_on : {"bar", "facts"}
        Decide at bar closes, or also when facts arrive, at most once per `every`.
    """

    stop_loss: ClassVar[float | Param | None] = None
    take_profit: ClassVar[float | Param | None] = None
    trailing_stop: ClassVar[float | Param | None] = None
    time_exit: ClassVar[Span] = None
    stale_exit: ClassVar[Span] = None
    short: bool = False
    decide_on: ClassVar[str] = "bar"
    every: ClassVar[str] = "60s"

    def __init__(self, **values: Any) -> None:
        declared, its_signals = self.declared_params(), self.declared_signals()
        self._check_shape(declared, its_signals)
        self.params: dict[str, float] = _chosen(type(self).__name__, declared, values)
        # An integer Param is handed on as an int, so that a bound signal prints as one would type it.
        self._values = {
            param: int(self.params[name]) if param.integer else self.params[name] for name, param in declared.items()
        }
        its_signals = its_signals | self.own_signals()
        self.signals: dict[str, Signal] = {name: signal.bind(self._values) for name, signal in its_signals.items()}
        for name, signal in self.signals.items():
            if not signal.is_bound:
                raise InputError(
                    f"a Param in this signal isn't one of {type(self).__name__}'s", key=name, value=signal,
                    remedy="Make it a class attribute of its own: window = Param(20), then EMA(window)",
                )  # fmt: skip
        self._check_protection()

    # --- what the class declares --------------------------------------------------------------------------------------
    @classmethod
    def _declared(cls, kind: type) -> dict[str, Any]:
        """Class attributes of one kind in order of declaration, a base class's first."""
        bases = reversed(cls.__mro__)
        names = dict.fromkeys(name for base in bases for name, value in vars(base).items() if isinstance(value, kind))
        return {name: getattr(cls, name) for name in names if isinstance(getattr(cls, name, None), kind)}

    @classmethod
    def declared_params(cls) -> dict[str, Param]:
        """Params by name; one that stands in two places (`stale_exit = half_life`) goes by its first."""
        found: dict[str, Param] = {}
        for name, param in cls._declared(Param).items():
            if all(param is not other for other in found.values()):
                found[name] = param
        return found

    @classmethod
    def declared_signals(cls) -> dict[str, Signal]:
        """Signals by name, not bound yet."""
        return cls._declared(Signal)

    def own_signals(self) -> dict[str, Signal]:
        """Signals of this instance besides those its class declares."""
        return {}

    @classmethod
    def summary(cls) -> str:
        """First sentence of the docstring."""
        return (inspect.getdoc(cls) or "").strip().split("\n")[0]

    # --- what a run needs ---------------------------------------------------------------------------------------------
    @property
    def form(self) -> str:
        """ "weigh" or "allocate"."""
        return "allocate" if callable(getattr(type(self), "allocate", None)) else "weigh"

    @property
    def function(self) -> Callable[[Any, Any], Any]:
        """The pure function of that form."""
        chosen: Callable[[Any, Any], Any] = getattr(type(self), self.form)
        return chosen

    @property
    def protection(self) -> tuple[float, float, float, int]:
        """(stop_loss, take_profit, trailing_stop, time_exit_ns); NaN or 0 where none is declared."""
        stop, take, trail = (self._fraction(name) for name in PROTECTION)
        return stop, take, trail, self._duration("time_exit")

    @property
    def stale_exit_ns(self) -> int:
        """Leave after this long of not knowing; 0 = never."""
        return self._duration("stale_exit")

    @property
    def every_ns(self) -> int:
        """Least time between two decisions when it decides on facts."""
        return parse_duration(self.every, key="every")

    @cached_property
    def row_dtype(self) -> np.dtype[Any]:
        """Record of one symbol's signal values, in order of declaration, and the weight held."""
        return np.dtype([(name, "f8") for name in (*self.signals, HELD)])

    @cached_property
    def param_dtype(self) -> np.dtype[Any]:
        """Record of the Params in order of declaration; one unused field when there are none."""
        return np.dtype([(name, "f8") for name in (self.params or {NO_PARAMS: 0.0})])

    def param_record(self) -> np.ndarray[Any, np.dtype[Any]]:
        """The Params as an array of one such record."""
        record = np.zeros(1, self.param_dtype)
        for name, value in self.params.items():
            record[name] = value
        return record

    def identity(self) -> str:
        """sha256 over the source it was read from and all it was set to: the same strategy has the same."""
        digest = hashlib.sha256()
        stated = [_source_of(type(self)), type(self).__qualname__, repr(self.params), repr(self.signals)]
        stated += [repr(self.protection), repr((self.stale_exit_ns, self.short, self.decide_on, self.every))]
        for text in (*stated, *self._more_identity()):
            digest.update(text.encode() + b"\0")
        return digest.hexdigest()

    def _more_identity(self) -> tuple[str, ...]:
        return ()

    def __repr__(self) -> str:
        declared = self.declared_params()
        told = [f"{name}={_short(value)}" for name, value in self.params.items() if value != declared[name].default]
        return f"{type(self).__name__}({', '.join(told)})"

    # --- checks -------------------------------------------------------------------------------------------------------
    def _fraction(self, name: str) -> float:
        value = getattr(self, name)
        if value is None:
            return NAN
        chosen = self._values.get(value, value) if isinstance(value, Param) else value
        if isinstance(chosen, bool) or not isinstance(chosen, Real):
            raise InputError("not a number", key=name, value=chosen)
        return float(chosen)

    def _duration(self, name: str) -> int:
        value = getattr(self, name)
        return 0 if value is None else span_ns(self._values.get(value, value), name)

    def _check_shape(self, declared: Mapping[str, Param], its_signals: Mapping[str, Signal]) -> None:
        cls = type(self).__name__
        forms = [form for form in ("weigh", "allocate") if callable(getattr(type(self), form, None))]
        if len(forms) != 1:
            said = "both weigh and allocate" if forms else "neither weigh nor allocate"
            raise InputError(f"{cls} has {said}", remedy="Give the one pure function that says what to hold")
        if not isinstance(inspect.getattr_static(type(self), forms[0]), staticmethod):
            raise InputError(f"{cls}.{forms[0]} has to be a @staticmethod of (s, p)")
        if not _takes_two(getattr(type(self), forms[0])):
            raise InputError(f"{cls}.{forms[0]} has to take two arguments, (s, p), and no more")
        self._check_names()
        for name in (*declared, *its_signals):
            if name in _taken() or name.startswith("_"):
                raise InputError(f"{cls} can't call a signal or Param so", key=name, remedy="Choose another name")
        for name in its_signals if forms == ["allocate"] else ():
            if hasattr(np.ndarray, name):  # s.mean would be the array's own, in some of the forms
                raise InputError(f"{cls} has `allocate`, whose `s` is an array and has that of its own", key=name,
                                 remedy="Choose another name")  # fmt: skip
        if len(its_signals) > SIGNALS_MAX:
            raise InputError(f"{cls} declares more than {SIGNALS_MAX} signals")
        if self.decide_on not in ("bar", "facts"):
            raise InputError("unknown choice", key="decide_on", value=self.decide_on, remedy="Use bar or facts")

    def _check_names(self) -> None:
        """A class attribute that is almost called as a protective exit or a choice would do nothing, without a word."""
        if not isinstance(self.short, bool):
            raise InputError("has to be True or False", key="short", value=self.short)
        own = type(self)
        unset = {_plain(name): name for name in SETTINGS if getattr(own, name) is getattr(Strategy, name)}
        for name, value in vars(own).items():
            if name in SETTINGS or name.startswith("_") or callable(value) or hasattr(value, "__get__"):
                continue
            # A Param may well be called stop_loss_base: only a number as such stands for nothing else.
            loose = not isinstance(value, Param | Signal)
            near = get_close_matches(_plain(name), unset, n=1, cutoff=0.92 if loose else 1.0)
            near += [one for one in map(_plain, EXITS) if loose and one in unset and _plain(name).startswith(one)]
            if near:
                raise InputError(f"{own.__name__} has no such setting", key=name, value=value,
                                 remedy=f"Did you mean {unset[near[0]]}? Else choose another name")  # fmt: skip

    def _check_protection(self) -> None:
        for name in PROTECTION:
            value = self._fraction(name)
            if not (math.isnan(value) or 0 < value < math.inf) or (name != "take_profit" and value >= 1):
                raise InputError("has to be a fraction of the price between 0 and 1, or None", key=name, value=value)
        _ = self.protection, self.stale_exit_ns, self.every_ns  # durations that are none raise here


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # written in C: nothing is known of its arguments
        return True
    return True


@cache
def _taken() -> frozenset[str]:
    """Names that mean something else in every strategy."""
    return frozenset({*dir(Strategy), "params", "signals", HELD} - set(EXITS))


def _short(value: float) -> str:
    return repr(int(value)) if value.is_integer() else repr(value)


def _chosen(cls: str, declared: Mapping[str, Param], values: Mapping[str, Any]) -> dict[str, float]:
    """Every Param's value, checked; all faults at once."""
    faults = []
    for name in values:
        if name not in declared:
            near = get_close_matches(name, declared, n=1)
            known = f"Did you mean {near[0]}" if near else f"It has: {', '.join(declared) or 'none'}"
            faults.append(InputError("no such parameter", where=cls, key=name, value=values[name], remedy=known))
    chosen = {}
    for name, param in declared.items():
        try:
            chosen[name] = param.check(name, values.get(name, param.default), where=cls)
        except InputError as fault:
            faults.append(fault)
    raise_all(faults)
    return chosen


def _source_of(cls: type) -> str:
    """Text of the file a class was read from; its own functions' code where there is no file."""
    try:
        return inspect.getsource(inspect.getmodule(cls) or cls)
    except (OSError, TypeError):
        functions = (getattr(cls, form, None) for form in ("weigh", "allocate"))
        return "".join(repr((f.__code__.co_code, f.__code__.co_consts)) for f in functions if f is not None)
