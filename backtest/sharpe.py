"""How much a Sharpe ratio is worth: its probability of being luck, by length, skew, tails and the number of tries.

All ratios here are per observation (a day), not annualised; returns are taken as independent of each other, which
flatters a strategy whose days are not.

Sources: Bailey & López de Prado, "The Sharpe Ratio Efficient Frontier" (2012), for the probabilistic Sharpe ratio and
the minimum track record length; "The Deflated Sharpe Ratio" (2014) for the deflation by the number of trials.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from backtest.figures import LEAST_DAYS, LEAST_SAMPLES

Array = npt.NDArray[Any]

_NORMAL = NormalDist()
_EULER = 0.5772156649015329


def sharpe(returns: Array) -> float | None:
    """Mean / standard deviation (n - 1) per observation; None for fewer than two or when nothing moved."""
    if len(returns) < 2:
        return None
    spread = float(np.std(returns, ddof=1))
    mean = float(np.mean(returns))
    if not math.isfinite(spread) or spread <= 1e-12 * max(abs(mean), 1e-3):
        return None
    return mean / spread


def tell_enough(returns: Array, days: float) -> bool:
    """Whether a span of `days` and its returns are long enough for a ratio."""
    return days >= LEAST_DAYS and len(returns) >= LEAST_SAMPLES


def yearly_sharpe(returns: Array, days: float, yearly: float) -> float | None:
    """The ratio of a year of `yearly` such returns; None where they are too few to tell, or nothing moved."""
    if not tell_enough(returns, days):
        return None
    ratio = sharpe(returns)
    return None if ratio is None else ratio * math.sqrt(yearly)


def skew_and_kurtosis(returns: Array) -> tuple[float, float]:
    """Third and fourth standardised moments (population; a normal law has 0 and 3)."""
    centred = np.asarray(returns, dtype=float) - np.mean(returns)
    variance = float(np.mean(centred**2))
    if variance <= 0.0:
        return 0.0, 3.0
    return float(np.mean(centred**3)) / variance**1.5, float(np.mean(centred**4)) / variance**2


def sharpe_spread(ratio: float, skew: float, kurtosis: float) -> float:
    """sqrt(1 - skew SR + (kurtosis - 1)/4 SR^2): the standard error of SR times sqrt(n - 1) (2012, eq. 4)."""
    return math.sqrt(max(1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio * ratio, 1e-12))


def probabilistic_sharpe(returns: Array, benchmark: float = 0.0) -> float | None:
    """Probability that the true ratio is above `benchmark` (per observation): the PSR of 2012, eq. 9.

    PSR = Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - g3 SR + (g4 - 1)/4 SR^2)).
    """
    ratio = sharpe(returns)
    if ratio is None:
        return None
    return chance_above(ratio, benchmark, len(returns), *skew_and_kurtosis(returns))


def chance_above(ratio: float, benchmark: float, observations: int, skew: float, kurtosis: float) -> float:
    """PSR from the moments: the probability that the ratio behind an observed `ratio` is above `benchmark`."""
    spread = sharpe_spread(ratio, skew, kurtosis)
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt(observations - 1) / spread)


def luckiest_sharpe(observations: int, trials: int, variance: float | None = None) -> float:
    """The ratio that the best of `trials` worthless strategies is expected to show (2014, eq. 6).

    SR0 = sqrt(V) ((1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e))), g the Euler-Mascheroni constant. V, the variance
    of the trials' ratios, is that of a worthless strategy's own estimate, 1/(n - 1), unless it is given.
    """
    if trials <= 1 or observations < 2:
        return 0.0
    if variance is None:
        variance = 1.0 / (observations - 1)
    best = (1.0 - _EULER) * _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    best += _EULER * _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * max(best, 0.0)


def deflated_sharpe(returns: Array, trials: int, variance: float | None = None) -> float | None:
    """Probability that the true ratio is above zero once the best of `trials` was picked: the DSR of 2014, eq. 9."""
    return probabilistic_sharpe(returns, luckiest_sharpe(len(returns), trials, variance))


def track_record_needed(returns: Array, benchmark: float = 0.0, confidence: float = 0.95) -> float | None:
    """Observations needed before PSR reaches `confidence` (2012, eq. 11); None when the ratio isn't above `benchmark`.

    MinTRL = 1 + (1 - g3 SR + (g4 - 1)/4 SR^2) (Phi^-1(confidence) / (SR - SR*))^2.
    """
    ratio = sharpe(returns)
    if ratio is None or ratio <= benchmark:
        return None
    spread = sharpe_spread(ratio, *skew_and_kurtosis(returns))
    return 1.0 + (spread * _NORMAL.inv_cdf(confidence) / (ratio - benchmark)) ** 2
