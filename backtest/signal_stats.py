"""How well a signal ranks what comes after it: rank correlation, its uncertainty, a placebo, and the price's share.

Everything is a correlation of ranks (Spearman 1904). Uncertainty comes from the stationary bootstrap (Politis & Romano
1994, package arch) over time, all symbols at once, with blocks at least as long as the horizon, since forward returns
overlap. The placebo pairs the same signal with the wrong times: whole blocks of it in another order, so that what it
remembers and the hour of the day stay as they are. Many tests are corrected by Holm (1979).

Shapes: N slots of time on a regular grid, M symbols, K ranked variables: signal, forward return, then price controls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BATCH = 256  # resamples that are summed by one matrix product
PHASES_MOST = 12
LEAST_BLOCKS = 12  # fewer can't be put in enough orders
FADED = 0.1  # an autocorrelation below it counts as forgotten
NOTHING_LEFT = 1e-9  # share of a variance below which the controls explain all of it
EXPLAINS, PRICE_ONLY, BEYOND = range(3)  # what `correlations` gives: the signal's, the price's, the signal's beyond it


def ranks(values: Array) -> Array:
    """Ranks from 1 on, equal values sharing their mean rank, f8[n]; as `scipy.stats.rankdata`.

    Examples
    --------
    >>> ranks(np.array([10.0, 30.0, 20.0, 20.0]))
    array([1. , 4. , 2.5, 2.5])
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    shared: Array = (ends - (counts - 1) / 2.0)[place]
    return shared


def rank_ic(x: Array, y: Array) -> float:
    """Spearman's rank correlation of two series over the times at which both are finite; NaN when one is constant.

    Examples
    --------
    >>> rank_ic(np.array([1.0, 2.0, 3.0, np.nan]), np.array([2.0, 8.0, 4.0, 1.0]))
    0.5
    """
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < 2:
        return math.nan
    u, v = _standard(x[both]), _standard(y[both])
    return float(np.round(np.mean(u * v), 12)) if u.any() and v.any() else math.nan


def _standard(values: Array) -> Array:
    """Ranks with mean 0 and variance 1; zeros when all are equal."""
    ranked = ranks(values)
    ranked = ranked - ranked.mean()
    spread = float(np.sqrt(np.mean(ranked**2)))
    standard: Array = ranked / spread if spread > 0.0 else ranked
    return standard


@dataclass(frozen=True)
class Ranked:
    """Standardised ranks of K variables where all are known, zeros elsewhere. u: f8[N, M, K]; mask: bool[N, M]."""

    u: Array
    mask: Array

    @classmethod
    def of(cls, x: Array, y: Array, controls: Sequence[Array] = ()) -> Ranked:
        """Rank signal, forward return and controls, each f8[N, M], over the rows of each symbol that have them all."""
        raw = np.stack([x, y, *controls], axis=2)
        mask = np.isfinite(raw).all(axis=2)
        u = np.zeros(raw.shape)
        for k in range(raw.shape[1]):
            rows = mask[:, k]
            if rows.any():
                u[rows, k] = np.column_stack([_standard(raw[rows, k, i]) for i in range(raw.shape[2])])
        return cls(u, mask)

    @property
    def counts(self) -> Array:
        """Rows of each symbol, i8[M]."""
        found: Array = self.mask.sum(axis=0)
        return found

    def features(self) -> Array:
        """What sums over rows are made of, f8[N, M, 1 + K + K(K+1)/2]: the mask, each variable, each product of two."""
        upper = np.triu_indices(self.u.shape[2])
        products = self.u[:, :, upper[0]] * self.u[:, :, upper[1]]
        return np.concatenate([self.mask[:, :, None].astype(float), self.u, products], axis=2)


def correlations(sums: Array, variables: int) -> Array:
    """Three rank correlations from sums of `Ranked.features`, f8[..., 3].

    The signal's with the return; the first control's with the return; and the signal's with the return when what every
    control explains is taken out of both (partial correlation, by pivoting on the covariance of the ranks). A signal
    that the controls explain wholly has nothing beyond them: 0. NaN without rows or where something is constant.

    Parameters
    ----------
    sums : f8[..., 1 + K + K(K+1)/2]
    variables : int
        K.
    """
    count = sums[..., :1]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums[..., 1 : 1 + variables] / count
        cov = np.empty((*sums.shape[:-1], variables, variables))
        upper = np.triu_indices(variables)
        cov[..., upper[0], upper[1]] = sums[..., 1 + variables :] / count
        cov[..., upper[1], upper[0]] = cov[..., upper[0], upper[1]]
        cov = cov - means[..., :, None] * means[..., None, :]
        found = np.full((*sums.shape[:-1], 3), np.nan)
        found[..., EXPLAINS] = _correlation(cov, 0, 1)
        if variables > 2:
            found[..., PRICE_ONLY] = _correlation(cov, 2, 1)
        found[..., BEYOND] = _correlation(_cleared(cov), 0, 1, of=cov)
    return found


def _correlation(cov: Array, i: int, j: int, of: Array | None = None) -> Array:
    """Correlation of two variables; `of`: the covariance before, to tell what is nothing from what is little."""
    a, b = cov[..., i, i], cov[..., j, j]
    before = cov if of is None else of
    there = (before[..., i, i] > 0.0) & (before[..., j, j] > 0.0)
    left = (a > NOTHING_LEFT * before[..., i, i]) & (b > NOTHING_LEFT * before[..., j, j])
    value = np.where(left, cov[..., i, j] / np.sqrt(np.where(left, a * b, 1.0)), 0.0)
    return np.where(there, value, np.nan)


def _cleared(cov: Array) -> Array:
    """The covariance when the controls (variables from 2 on) are known; one that others explain adds nothing."""
    left = cov.copy()
    for c in range(2, cov.shape[-1]):
        pivot = left[..., c, c]
        usable = pivot > NOTHING_LEFT * np.maximum(cov[..., c, c], 1e-300)
        share = left[..., :, c] / np.where(usable, pivot, 1.0)[..., None]
        left = left - np.where(usable, 1.0, 0.0)[..., None, None] * share[..., :, None] * left[..., None, c, :]
    return left


def block_length(ranked: Ranked, horizon_slots: int) -> int:
    """Mean block of the bootstrap, in slots: the horizon at least, else what the products of the ranks ask for.

    The optimal length of the stationary bootstrap (Politis & White 2004, corrected by Patton, Politis & White 2009) for
    the series whose mean the correlation is; the longest among the symbols, an eighth of the rows at most.
    """
    from arch.bootstrap import optimal_block_length

    longest = float(horizon_slots)
    for k in range(ranked.u.shape[1]):
        product = (ranked.u[:, k, 0] * ranked.u[:, k, 1])[ranked.mask[:, k]]
        if len(product) > 8 and product.std() > 0.0:
            asked = float(optimal_block_length(product)["stationary"].iloc[0])
            longest = max(longest, asked) if math.isfinite(asked) else longest
    return max(min(math.ceil(longest), int(ranked.counts.max()) // 8), horizon_slots, 1)


def bootstrap(ranked: Ranked, block: int, draws: int, seed: Sequence[int]) -> Array:
    """`correlations` of resampled time, f8[draws, M, 3], by the stationary bootstrap with blocks of that mean length.

    Time is drawn for all symbols at once, so that gaps and what symbols share stay. The ranks are those of the whole
    sample: ranking each draw anew spreads them as widely and costs a sort each.
    """
    from arch.bootstrap import StationaryBootstrap

    features = ranked.features()
    slots, symbols, width = features.shape
    flat = features.reshape(slots, -1)
    sampler = StationaryBootstrap(block, np.arange(slots), seed=np.random.default_rng(list(seed)))
    sums = np.empty((draws, symbols * width))
    weights = np.empty((BATCH, slots))
    for r, ((picked,), _) in enumerate(sampler.bootstrap(draws)):
        weights[r % BATCH] = np.bincount(picked, minlength=slots)
        if r % BATCH == BATCH - 1 or r == draws - 1:
            begin = r - r % BATCH
            sums[begin : r + 1] = weights[: r + 1 - begin] @ flat
    return correlations(sums.reshape(draws, symbols, width), ranked.u.shape[2])


def interval(draws: Array, level: float) -> tuple[float, float]:
    """The middle `1 - level` of the draws; NaN without any that are finite."""
    known = draws[np.isfinite(draws)]
    if len(known) < len(draws) / 2 or not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, [level / 2.0, 1.0 - level / 2.0])
    return float(low), float(high)


# --- placebo ----------------------------------------------------------------------------------------------------------


def memory(x: Array) -> int:
    """Slots until a series has forgotten itself: the first lag at which its ranks' autocorrelation is below a tenth."""
    known = np.isfinite(x)
    u = np.zeros(len(x))
    if known.sum() < 2:
        return 1
    u[known] = _standard(x[known])
    size = 2 ** math.ceil(math.log2(2 * len(x)))
    spectrum = np.abs(np.fft.rfft(u, size)) ** 2
    pairs = np.fft.irfft(np.abs(np.fft.rfft(known.astype(float), size)) ** 2, size)[: len(x)]
    auto = np.fft.irfft(spectrum, size)[: len(x)] / np.maximum(pairs, 1.0)
    below = np.flatnonzero(auto < FADED)
    return int(below[0]) if len(below) else len(x)


def placebo_block(slots: int, horizon_slots: int, memory_slots: int, day_slots: int) -> int:
    """Slots of a placebo's block: four of the longest horizon, twice the signal's memory, in whole days.

    No more than a twelfth of the span: fewer blocks can't be put in enough orders.
    """
    wanted = max(4 * horizon_slots, 2 * memory_slots, day_slots)
    most = max(slots // LEAST_BLOCKS, 1)
    if wanted > most:
        return max(most // day_slots * day_slots, min(day_slots, most))
    return min(-(-wanted // day_slots) * day_slots, max(most // day_slots * day_slots, wanted))


@dataclass(frozen=True)
class Orders:
    """Orders of a signal's blocks: for each phase (slots it is turned by first) permutations i8[draws, blocks]."""

    block: int
    phases: tuple[int, ...]
    permutations: tuple[Array, ...]

    @property
    def draws(self) -> int:
        """How many there are."""
        return sum(len(some) for some in self.permutations)

    @classmethod
    def drawn(cls, slots: int, block: int, day_slots: int, draws: int, seed: Sequence[int]) -> Orders:
        """Random orders, the same for equal seeds; turned by whole days, never by none where blocks allow it."""
        rng = np.random.default_rng(list(seed))
        turns = np.arange(day_slots, block, day_slots)
        if not len(turns):
            turns = np.arange(min(1, block - 1), block)
        if len(turns) > PHASES_MOST:
            turns = np.sort(rng.choice(turns, PHASES_MOST, replace=False))
        each = -(-draws // len(turns))
        blocks = slots // block
        orders = tuple(rng.permuted(np.tile(np.arange(blocks), (each, 1)), axis=1) for _ in turns)
        return cls(block, tuple(turns.tolist()), orders)


def placebo(x: Array, y: Array, orders: Orders) -> Array:
    """Rank correlations of a signal f8[N], its blocks in those orders, with the return f8[N]: f8[draws].

    A sum over an order's blocks is made of inner products of each block of the signal with each of the return, which
    are worked out once a phase. What is left beyond the last whole block is turned, not reordered.
    """
    theirs = _parts(y)
    found = []
    for phase, order in zip(orders.phases, orders.permutations, strict=True):
        mine = _parts(np.roll(x, phase))
        sums = {}
        for name, (a, b) in _PAIRS.items():
            sums[name] = _reordered(mine[a], theirs[b], orders.block, order)
        found.append(_pearson(**sums))
    return np.concatenate(found)


# What a correlation over the pairs that happen to meet is made of: (part of the signal, part of the return).
_PAIRS = {"n": (0, 0), "sx": (1, 0), "sy": (0, 1), "sxx": (2, 0), "syy": (0, 2), "sxy": (1, 1)}


def _parts(values: Array) -> tuple[Array, Array, Array]:
    """Mask, standardised ranks, their squares."""
    known = np.isfinite(values)
    u = np.zeros(len(values))
    if known.any():
        u[known] = _standard(values[known])
    return known.astype(float), u, u**2


def _reordered(a: Array, b: Array, block: int, order: Array) -> Array:
    blocks = order.shape[1]
    whole = blocks * block
    inner = a[:whole].reshape(blocks, block) @ b[:whole].reshape(blocks, block).T
    total: Array = inner[order, np.arange(blocks)].sum(axis=1) + float(a[whole:] @ b[whole:])
    return total


def _pearson(n: Array, sx: Array, sy: Array, sxx: Array, syy: Array, sxy: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        cov, vx, vy = sxy / n - sx * sy / n**2, sxx / n - (sx / n) ** 2, syy / n - (sy / n) ** 2
        value: Array = np.where((n > 1.0) & (vx > 1e-12) & (vy > 1e-12), cov / np.sqrt(np.abs(vx * vy)), np.nan)
    return value


def placebo_chance(ic: float, draws: Array) -> float:
    """Share of placebos at least as far from 0 as `ic`, it among them: a two-sided p-value, never 0."""
    known = draws[np.isfinite(draws)]
    if not math.isfinite(ic) or not len(known):
        return 1.0
    return float((1 + np.count_nonzero(np.abs(known) >= abs(ic))) / (1 + len(known)))


def holm(chances: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down: below a level, a false one is no likelier than that.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(chances, kind="stable")
    corrected = [1.0] * len(chances)
    most = 0.0
    for place, index in enumerate(order.tolist()):
        most = max(most, min(1.0, float(chances[index]) * (len(chances) - place)))
        corrected[index] = most
    return corrected
