"""The sample's planted edge, measured with VADER: where it is declared, nowhere else, gone when shuffled."""

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from data.sample import COIN_NAMES, INTERVAL_NS, PLANTED, START_NS, SYMBOLS, sample_tables, sample_truth

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
Bars = dict[str, tuple[I8, F8]]  # close times and closes by symbol


@pytest.fixture(scope="module")
def year() -> dict[str, pa.Table]:
    return sample_tables(7)


@pytest.fixture(scope="module")
def bars(year: dict[str, pa.Table]) -> Bars:
    symbols = np.array(year["bars"]["symbol"].to_pylist())
    close_ns, close = year["bars"]["event_ns"].to_numpy() + INTERVAL_NS, year["bars"]["close"].to_numpy()
    return {symbol: (close_ns[symbols == symbol], close[symbols == symbol]) for symbol in SYMBOLS}


class Crowd:
    """VADER's scores of one coin's posts and the mood that a six-hour half-life makes of them at each bar's close."""

    def __init__(self, event_ns: I8, known_ns: I8, scores: F8) -> None:
        self.event_ns, self.known_ns, self.scores = event_ns, known_ns, scores

    def mood(self, close_ns: I8) -> F8:
        rate = np.log(2.0) / (6 * HOUR_NS)
        order = np.argsort(self.known_ns, kind="stable")
        at = np.searchsorted(close_ns, self.known_ns[order])  # the first close that may know the post
        usable = at < len(close_ns)
        order, at = order[usable], at[usable]
        weight = np.exp(-rate * (close_ns[at] - self.event_ns[order]))
        total = np.bincount(at, weights=weight * self.scores[order], minlength=len(close_ns))
        mass = np.bincount(at, weights=weight, minlength=len(close_ns))
        keep = float(np.exp(-rate * HOUR_NS))
        result, top, bottom = np.empty(len(close_ns)), 0.0, 0.0
        for step, (more, heavier) in enumerate(zip(total.tolist(), mass.tolist(), strict=True)):
            top, bottom = keep * top + more, keep * bottom + heavier
            result[step] = top / (bottom + 1.0)
        return result

    def shuffled(self, rng: np.random.Generator) -> "Crowd":
        """The same posts with their weeks in another order."""
        week = (self.event_ns - START_NS) // (7 * DAY_NS)
        shift = (rng.permutation(int(week.max()) + 1)[week] - week) * 7 * DAY_NS
        return Crowd(self.event_ns + shift, self.known_ns + shift, self.scores)


def information(mood: F8, close: F8, hours: int) -> tuple[float, float]:
    """Rank correlation of mood with the return of the next hours, and its t-statistic (Newey and West 1987)."""
    start = np.arange(48, len(close) - hours)
    ahead = np.log(close[start + hours] / close[start])
    ranks = [np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (mood[start], ahead)]
    first, second = ((rank - rank.mean()) / rank.std() for rank in ranks)
    product = first * second
    centred = product - product.mean()
    lags = 2 * hours
    variance = np.mean(centred**2)
    for lag in range(1, lags):
        variance += 2.0 * (1.0 - lag / lags) * np.mean(centred[lag:] * centred[:-lag])
    return float(product.mean()), float(product.mean() / np.sqrt(variance / len(product)))


@pytest.fixture(scope="module")
def crowds(year: dict[str, pa.Table]) -> dict[str, Crowd]:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    posts = year["posts"].filter(pa.array(year["posts"]["revision"].to_numpy() == 0))
    about = dict(zip(*[sample_truth(7)[name].to_pylist() for name in ("key", "coin")], strict=True))
    coins = np.array([about[key] for key in posts["key"].to_pylist()])
    vader = SentimentIntensityAnalyzer()
    texts = posts["text"].to_pylist()
    score = {text: vader.polarity_scores(text)["compound"] for text in sorted(set(texts))}
    scores = np.array([score[text] for text in texts])
    event_ns, known_ns = posts["event_ns"].to_numpy(), posts["known_ns"].to_numpy()
    return {
        f"{coin}/USDT": Crowd(event_ns[coins == coin], known_ns[coins == coin], scores[coins == coin])
        for coin in COIN_NAMES
    }


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_mood_leads_price_where_it_is_planted_and_nowhere_else(
    bars: Bars, crowds: dict[str, Crowd], symbol: str
) -> None:
    close_ns, close = bars[symbol]
    mood = crowds[symbol].mood(close_ns)
    for hours in (6, 12, 24):
        correlation, t_statistic = information(mood, close, hours)
        if symbol not in PLANTED:
            assert abs(t_statistic) < 2.0
        elif hours == 6:
            assert 0.08 <= correlation < 0.2 and t_statistic > 4.0
        else:
            assert correlation >= 0.08 and t_statistic > 2.5
    past = np.log(close[24:] / close[:-24])
    assert np.corrcoef(mood[24:], past)[0, 1] > 0.15  # everywhere the crowd reacts to what was


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_edge_vanishes_when_the_posts_times_are_shuffled(bars: Bars, crowds: dict[str, Crowd], symbol: str) -> None:
    close_ns, close = bars[symbol]
    rng = np.random.default_rng(11)
    found = [information(crowds[symbol].shuffled(rng).mood(close_ns), close, 6) for _ in range(8)]
    correlations, t_statistics = np.array(found).T
    assert abs(correlations.mean()) < 0.03 and np.abs(correlations).max() < 0.08
    assert abs(t_statistics.mean()) < 1.0


@pytest.mark.parametrize("symbol", PLANTED)
def test_the_edge_is_a_small_one(bars: Bars, crowds: dict[str, Crowd], symbol: str) -> None:
    close_ns, close = bars[symbol]
    mood = crowds[symbol].mood(close_ns)
    returns = close[1:] / close[:-1] - 1.0
    gains = np.where(mood[:-1] > 0.05, returns, 0.0)  # long or flat, before any cost
    sharpe = gains.mean() / gains.std() * np.sqrt(8766)
    assert 1.3 < sharpe < 3.0
    assert abs(returns.mean() / returns.std() * np.sqrt(8766)) < 0.6  # holding is mediocre
