"""What a run is: strategy, markets, span, costs, limits. Plain and complete, so that a run is a function of it and the
facts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backtest.costs import FillModel
from data.times import HOUR_NS
from risk.limits import Limits, MarketSpec
from risk.policy import Execution
from signals.models import ModelCard
from strategies.base import Strategy

NEVER_RESUME, NEXT_DAY = -1, -2


PATIENCE_NS = 5 * 10**9


def bar_patience(bar_ns: int) -> int:
    """How long after a close, and a declared delay, its bars are waited for; one that comes later is no bar for it."""
    return min(PATIENCE_NS, bar_ns // 4)


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One run. Times in nanoseconds UTC; money in quote; `since_ns` to `until_ns` is the span that decisions fall into.

    inside_ns: length of finer bars that resolve the inside of a bar; resume_after_ns: NEVER_RESUME, NEXT_DAY, or a time
    after which a latch that waits for a person is cleared; size "equity", "notional" or "quantity" with its stake.
    """

    strategy: Strategy
    symbols: Sequence[str]
    bar_ns: int = HOUR_NS
    inside_ns: int | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    cash: float = 10_000.0
    market: str = "spot"
    leverage: float = 1.0
    size: str = "equity"
    stake: float = 0.0
    fills: FillModel = field(default_factory=FillModel)
    execution: Execution = field(default_factory=Execution)
    limits: Limits = field(default_factory=Limits)
    markets: Mapping[str, MarketSpec] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    decision_delay_ns: int = 0
    risk_bar_ns: int = 0
    resume_after_ns: int = NEVER_RESUME
    decide_on: str = "bar"
    every_ns: int = 60 * 10**9
    allow_revised: Sequence[str] = ()
    model: str = "vader"
    model_revision: str = ""
    model_card: ModelCard | None = None
    bar_source: str | None = None
    source_weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def perp(self) -> bool:
        """Whether the wallet trades perpetuals."""
        return self.market == "perp"

    def market_of(self, symbol: str) -> MarketSpec:
        """Filters of one market; the assumed ones where none are stated."""
        return self.markets.get(symbol, MarketSpec())


def coin_of(symbol: str) -> str:
    """Base asset of a symbol: "BTC" of "BTC/USDT" and of "BTC/USDT:USDT"."""
    return symbol.split("/", 1)[0]


def quote_of(symbol: str) -> str:
    """Quote asset of a symbol."""
    return symbol.partition("/")[2].split(":", 1)[0]
