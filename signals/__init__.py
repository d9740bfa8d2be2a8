"""Signals: what a strategy may know, one fact at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signals.price import EMA, Close
from signals.signal import Signal

if TYPE_CHECKING:
    from signals.history import evaluate
    from signals.inputs import Inputs, MetricTape, SentimentTape

_LATER = {
    "evaluate": "signals.history",
    "Inputs": "signals.inputs",
    "MetricTape": "signals.inputs",
    "SentimentTape": "signals.inputs",
}
__all__ = ["EMA", "Close", "Inputs", "MetricTape", "SentimentTape", "Signal", "evaluate"]


def __getattr__(name: str) -> Any:
    # Compiling and arrays wait until somebody runs a signal: declaring one, and `tidegate --help`, stay quick.
    if name in _LATER:
        import importlib

        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'signals' has no attribute {name!r}")
