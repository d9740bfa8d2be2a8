"""The figures of a run: what each one is, its unit and its formula.

Shares are fractions (0.1 = 10 %), money is in the quote currency, times are nanoseconds UTC. What can't be said is None
and `notes` says why: a figure is never shown because a formula happened to return a number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from backtest.curve import Drawdown, Month

LEAST_DAYS = 30  # shorter spans are not annualised
LEAST_SAMPLES = 10  # fewer daily returns say nothing about their spread
LEAST_TRADES = 30  # fewer closed trades say nothing about a win rate
IN_MARKET = 1e-3  # gross exposure below this share of equity is dust
CONFIDENCE = 0.95  # probability above which luck is no longer the better explanation


@dataclass(frozen=True)
class Evidence:
    """What the Sharpe ratio is worth; ratios here are per observation."""

    observations: int
    trials: int
    skew: float | None = None
    kurtosis: float | None = None  # 3 for a normal law
    probabilistic: float | None = None  # P(true Sharpe > 0)
    deflated: float | None = None  # the same after picking the best of `trials`
    luckiest: float | None = None  # annualised Sharpe that the best of `trials` worthless runs is expected to show
    needed_days: float | None = None  # record length for PSR = 95 %; None: none would do
    skilled: bool = False  # deflated >= CONFIDENCE


@dataclass(frozen=True)
class TradeFigures:
    """Round trips, flat to flat; money in quote after fees and funding. Open ones are counted apart."""

    closed: int = 0
    open: int = 0
    long: int = 0
    short: int = 0
    win_rate: float | None = None  # closed trips with pnl > 0 / closed trips
    profit_factor: float | None = None  # sum of wins / sum of losses; None without a loss
    average_win: float | None = None
    average_loss: float | None = None  # below 0
    best: float | None = None
    worst: float | None = None
    average_return: float | None = None  # mean of pnl / notional entered
    average_bars: float | None = None
    open_pnl: float = 0.0
    by_exit: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LadderMove:
    """One move of the risk ladder."""

    ns: int
    was: str
    level: str
    rule: int
    limit: float
    observed: float


@dataclass(frozen=True)
class Metrics:
    """All figures of one run. `annual_*`, Sharpe, Sortino and Calmar are by calendar time: 365.25 days a year."""

    start_ns: int
    end_ns: int
    days: float
    bars: int
    decisions: int
    initial: float
    final: float
    total_return: float
    annual_return: float | None  # (1 + total) ** (365.25 / days) - 1
    hold_return: float  # equal weight bought at the first decision's close, cost paid once
    hold_annual: float | None
    hold_drawdown: Drawdown
    hold_sharpe: float | None
    hold_cost: float  # fraction paid once
    sampling: str
    volatility: float | None  # standard deviation of sampled returns x sqrt(samples a year)
    sharpe: float | None  # mean / standard deviation x sqrt(samples a year), zero risk-free rate
    sortino: float | None  # mean / sqrt(mean(min(r, 0)^2)) x sqrt(samples a year)
    calmar: float | None  # annual_return / drawdown.depth
    drawdown: Drawdown
    evidence: Evidence
    time_in_market: float  # share of bar closes with gross exposure
    mean_exposure: float  # mean of gross / equity over all closes
    max_exposure: float
    turnover: float  # notional traded / mean equity over the run
    annual_turnover: float | None  # the same a year
    traded: float  # notional
    fees: float
    slippage: float  # against the price at the decision; below 0 when prices came our way
    funding: float  # received; below 0 when paid
    cost_share: float | None  # (fees + slippage - funding) / profit before them; None when there was none
    trades: TradeFigures
    orders: int
    fills: int
    refusals: dict[int, int]  # rule -> count
    outcomes: dict[str, int]  # other events by name
    ladder: tuple[LadderMove, ...]
    time_at_level: dict[str, int]  # ns at each level other than ACTIVE
    idle_ns: int  # time at any level other than ACTIVE
    holds: dict[str, int]  # reason -> decisions x symbols held
    quality: dict[str, dict[str, float]]  # kind of input -> share of rows by quality
    contributions: dict[str, float]  # symbol -> quote
    months: tuple[Month, ...]
    liquidations: int
    bad_equity: int  # closes whose equity is not a number
    unexplained: float  # change of equity that fills, positions and funding don't account for, in quote
    notes: tuple[str, ...]
