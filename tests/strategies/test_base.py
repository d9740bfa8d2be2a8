"""Declaring a strategy: Params, signals, protection, and what is refused."""

import math
from typing import Any

import numpy as np
import pytest

from data.errors import InputError, InputErrors
from signals import EMA, Mood
from strategies.base import NO_PARAMS, Param, Strategy
from strategies.ema_cross import EmaCross
from strategies.mood_flow import MoodFlow


class Careful(Strategy):
    """Hold while the crowd cheers. And more words."""

    half_life = Param(6.0, low=1.0, high=48.0)
    size = Param(3, low=1, high=9, integer=True)
    mood = Mood(half_life)
    average = EMA(size)
    stop_loss = Param(0.08, low=0.01, high=0.5)
    take_profit = 0.2
    time_exit = "3d"
    stale_exit = half_life
    decide_on = "facts"
    every = "5m"

    @staticmethod
    def weigh(s: Any, p: Any) -> Any:
        """Weight."""
        return 1.0 if s.mood > 0 else 0.0


def test_params_signals_and_protection() -> None:
    made = Careful(half_life="12", stop_loss=0.1)
    assert made.params == {"half_life": 12.0, "size": 3.0, "stop_loss": 0.1}
    assert list(made.params) == ["half_life", "size", "stop_loss"]
    assert {name: repr(signal) for name, signal in made.signals.items()} == {"mood": "Mood(12.0)", "average": "EMA(3)"}
    stop, take, trail, time_exit_ns = made.protection
    assert (stop, take, time_exit_ns) == (0.1, 0.2, 3 * 86_400 * 10**9)
    assert math.isnan(trail)
    assert made.stale_exit_ns == 12 * 3600 * 10**9
    assert (made.decide_on, made.every_ns, made.form, made.short) == ("facts", 300 * 10**9, "weigh", False)
    assert made.function is Careful.weigh
    assert Careful.summary() == "Hold while the crowd cheers. And more words."


def test_records_hold_names_in_order_of_declaration() -> None:
    made = Careful()
    assert made.row_dtype.names == ("mood", "average", "held")
    assert made.param_dtype.names == ("half_life", "size", "stop_loss")
    record = made.param_record()
    assert record.shape == (1,)
    assert record["size"][0] == 3.0
    assert {made.row_dtype[name] for name in made.row_dtype.names or ()} == {np.dtype("f8")}

    class Bare(Strategy):
        @staticmethod
        def weigh(s: Any, p: Any) -> Any:
            return 0.5

    assert Bare().param_dtype.names == (NO_PARAMS,)
    assert Bare().row_dtype.names == ("held",)


def test_what_is_printed_is_what_one_would_type() -> None:
    assert repr(Careful()) == "Careful()"
    assert repr(Careful(size=5, half_life=2.5)) == "Careful(half_life=2.5, size=5)"
    assert repr(Param(3, low=1, high=9, integer=True)) == "Param(3, low=1, high=9, integer=True)"
    assert repr(Param(0.5)) == "Param(0.5)"


def test_a_derived_strategy_keeps_and_replaces() -> None:
    class Bolder(Careful):
        half_life = Careful.half_life
        extra = Param(1.0)
        stop_loss = None

    made = Bolder()
    assert list(made.params) == ["half_life", "size", "extra"]
    assert math.isnan(made.protection[0])


def test_identity_follows_source_params_and_signals() -> None:
    assert MoodFlow().identity() == MoodFlow().identity()
    assert MoodFlow(entry=0.4).identity() != MoodFlow().identity()
    assert MoodFlow().identity() != EmaCross().identity()
    space: dict[str, Any] = {}
    code = "class Typed(Strategy):\n    @staticmethod\n    def weigh(s, p):\n        return {}\n"
    identities = []
    for weight in (0.5, 0.25):
        exec(code.format(weight), {"Strategy": Strategy, "__name__": "typed_at_a_prompt"}, space)
        identities.append(space["Typed"]().identity())
    assert identities[0] != identities[1]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"entry": 2.0}, "MoodFlow: entry = 2.0: out of range. Use 0 to 1"),
        ({"entry": "much"}, "entry = 'much': not a number"),
        ({"entry": math.nan}, "entry = nan: not a number"),
        ({"entry": True}, "entry = True: not a number"),
        ({"entree": 0.3}, "entree = 0.3: no such parameter. Did you mean entry"),
        ({"zzz": 0.3}, "It has: entry, exit, pull"),
    ],
)
def test_values_a_param_can_not_have(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        MoodFlow(**values)
    assert said in str(caught.value)


def test_several_faults_are_told_at_once() -> None:
    with pytest.raises(InputErrors) as caught:
        EmaCross(fast_window=2.5, slow=1, weight=7)
    assert [error.key for error in caught.value.errors] == ["slow", "fast_window", "weight"]


def test_params_that_can_not_be() -> None:
    with pytest.raises(InputError, match="default.*out of range"):
        Param(2.0, low=0.0, high=1.0)
    with pytest.raises(InputError, match="low lies above"):
        Param(1.0, low=2.0, high=1.0)
    with pytest.raises(InputError, match="whole number"):
        Param(1.5, integer=True)


def made_with(**attributes: Any) -> Strategy:
    """An instance of a class with these attributes."""
    weigh = {"weigh": staticmethod(lambda s, p: 0.0)}
    cls: type[Strategy] = type("Made", (Strategy,), weigh | attributes)
    return cls()


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"weigh": None}, "neither weigh nor allocate"),
        ({"allocate": staticmethod(lambda s, p: s.held)}, "both weigh and allocate"),
        ({"weigh": lambda s, p: 0.0}, "has to be a @staticmethod"),
        ({"weigh": staticmethod(lambda s: 0.0)}, "weigh has to take two arguments, (s, p)"),
        ({"weigh": staticmethod(lambda s, p, q: 0.0)}, "weigh has to take two arguments, (s, p)"),
        ({"held": EMA(3)}, "held: Made can't call a signal or Param so"),
        ({"signals": EMA(3)}, "signals: Made can't call"),
        ({"identity": Param(1.0)}, "identity: Made can't call"),
        ({"_secret": Param(1.0)}, "_secret: Made can't call"),
        ({"decide_on": "tick"}, "decide_on = 'tick'"),
        ({"every": "often"}, "every = 'often'"),
        ({"stop_loss": 8}, "stop_loss = 8"),
        ({"stop_loss": 0.0}, "stop_loss = 0"),
        ({"stop_loss": "8%"}, "stop_loss = '8%': not a number"),
        ({"stop_loss": [0.1]}, "stop_loss = [0.1]: not a number"),
        ({"take_profit": math.inf}, "take_profit = inf"),
        ({"trailing_stop": -0.1}, "trailing_stop = -0.1"),
        ({"time_exit": "soon"}, "time_exit = 'soon'"),
        ({"stale_exit": -1}, "stale_exit = -1"),
        ({"short": "no"}, "short = 'no': has to be True or False"),
        ({"stoploss": -0.1}, "stoploss = -0.1: Made has no such setting. Did you mean stop_loss?"),
        ({"stopLoss": Param(0.1)}, "Did you mean stop_loss?"),
        ({"stop_loss_pct": 0.1}, "Did you mean stop_loss?"),
        ({"trailing_stop_loss": 0.1}, "Did you mean trailing_stop?"),
        ({"take_profits": 0.1}, "Did you mean take_profit?"),
        ({"timeexit": "3h"}, "Did you mean time_exit?"),
        ({f"s{i}": EMA(3) for i in range(32)}, "more than 31 signals"),
        ({"average": EMA(Param(3.0))}, "average"),
        (
            {"weigh": None, "allocate": staticmethod(lambda s, p: s.held), "mean": EMA(3)},
            "mean: Made has `allocate`, whose `s` is an array and has that of its own",
        ),
    ],
)
def test_strategies_that_can_not_be(attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        made_with(**attributes)
    assert said in str(caught.value)


def test_names_that_only_begin_alike_are_let_be() -> None:
    """A Param that a setting is made of, a number for a setting that is given, a window."""
    base = Param(0.1)
    assert made_with(stop_loss_base=base, stop_loss=base).protection[0] == 0.1
    assert made_with(stop_loss=0.2, STOP_LOSS_MOST=0.3).protection[0] == 0.2
    made_with(stop_loss_base=base, SHORT_WINDOW=5, every_n=1, shortlist=("BTC",))


def test_a_take_profit_may_be_more_than_the_price() -> None:
    assert made_with(take_profit=1.5).protection[1] == 1.5
