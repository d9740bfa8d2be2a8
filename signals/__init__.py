"""Signals: what a strategy may know, one fact at a time."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from signals.metric import Change, Level, Staleness, ZScore
from signals.mood import Attention, Disagreement, Mood, MoodAge, MoodChange, MoodNovelty, post_weight
from signals.price import ATR, EMA, RSI, SMA, Close, Donchian, Momentum, Volatility
from signals.signal import Signal

if TYPE_CHECKING:
    from signals.given import Given
    from signals.history import evaluate
    from signals.inputs import Inputs, MetricTape, SentimentTape
    from signals.own import OwnSignal
    from signals.stream import Stream
    from signals.technical import Technical

# Arrays and compiled code wait until somebody runs a signal: declaring one, and `tidegate --help`, stay quick.
_LATER = {
    "Given": "signals.given",
    "Inputs": "signals.inputs",
    "MetricTape": "signals.inputs",
    "OwnSignal": "signals.own",
    "SentimentTape": "signals.inputs",
    "Stream": "signals.stream",
    "Technical": "signals.technical",
    "evaluate": "signals.history",
}
__all__ = [
    "ATR",
    "EMA",
    "RSI",
    "SMA",
    "Attention",
    "Change",
    "Close",
    "Disagreement",
    "Donchian",
    "Given",
    "Inputs",
    "Level",
    "MetricTape",
    "Momentum",
    "Mood",
    "MoodAge",
    "MoodChange",
    "MoodNovelty",
    "OwnSignal",
    "SentimentTape",
    "Signal",
    "Staleness",
    "Stream",
    "Technical",
    "Volatility",
    "ZScore",
    "evaluate",
    "post_weight",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'signals' has no attribute {name!r}")
