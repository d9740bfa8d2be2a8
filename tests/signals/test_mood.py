"""Signals moved by posts against plain sums over all posts known."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from signals import Attention, Disagreement, Inputs, Mood, MoodChange, SentimentTape, evaluate, post_weight
from signals.inputs import of_closes
from signals.mood import post_weights
from signals.ops import NO_BAR, OK, ORIGIN, STALE, WARMING

HOUR_NS = 3_600_000_000_000


def tape(posts: list[dict[str, Any]]) -> SentimentTape:
    """Posts by their columns; what isn't said is ordinary."""
    ordinary = {"coin": 0, "score": 0.0, "weight": 1.0, "author": 0, "source": 0, "revision": 0, "trusted": 1}
    full = [ordinary | {"event_ns": post["known_ns"]} | post for post in posts]
    full.sort(key=lambda post: post["known_ns"])
    names = (*ordinary, "event_ns", "known_ns")
    return SentimentTape(**{name: np.array([post[name] for post in full]) for name in names})


def values(signal: Any, posts: list[dict[str, Any]], bars: int, **more: Any) -> Any:
    """Values at the closes of hourly bars, f8[d]."""
    return evaluate({"it": signal}, of_closes([1.0] * bars, sentiment=tape(posts)), **more)[0][:, 0, 0]


def states(signal: Any, posts: list[dict[str, Any]], bars: int, **more: Any) -> list[int]:
    """States at the closes of hourly bars."""
    found: list[int] = evaluate({"it": signal}, of_closes([1.0] * bars, sentiment=tape(posts)), **more)[1][
        :, 0
    ].tolist()
    return found


def made(seed: int, size: int = 60, hours: int = 30) -> list[dict[str, Any]]:
    """Posts that come up to ten hours late."""
    rng = np.random.default_rng(seed)
    known = np.sort(rng.integers(1, hours * HOUR_NS, size))
    late = (rng.random(size) ** 4 * 10 * HOUR_NS).astype(int)
    return [
        {"known_ns": int(k), "event_ns": int(k - x), "score": s, "weight": w}
        for k, x, s, w in zip(known, late, rng.uniform(-1, 1, size), rng.uniform(0.5, 5, size), strict=True)
    ]


def sums(posts: list[dict[str, Any]], now_ns: int, half_life_ns: float) -> tuple[float, float, float]:
    """Faded weights, weighted scores and weighted squares of the posts known."""
    weight = total = squares = 0.0
    for post in posts:
        if post["known_ns"] <= now_ns:
            left = post["weight"] * 2 ** (-(now_ns - post["event_ns"]) / half_life_ns)
            weight += left
            total += left * post["score"]
            squares += left * post["score"] ** 2
    return weight, total, squares


def test_mood_is_the_faded_weighted_mean() -> None:
    posts = made(1)
    found = values(Mood("3h", prior=2.0, max_age="never"), posts, 40)
    for bar in range(5, 40):
        weight, total, _ = sums(posts, (bar + 1) * HOUR_NS, 3 * HOUR_NS)
        assert found[bar] == pytest.approx(total / (weight + 2.0), rel=1e-9), bar


def test_change_and_disagreement() -> None:
    posts = made(2)
    change = values(MoodChange("2h", against="12h", max_age="never"), posts, 36)
    split = values(Disagreement("5h", max_age="never"), posts, 36)
    for bar in range(8, 36):
        now = (bar + 1) * HOUR_NS
        weight, total, _ = sums(posts, now, 2 * HOUR_NS)
        slow_weight, slow_total, _ = sums(posts, now, 12 * HOUR_NS)
        assert change[bar] == pytest.approx(total / (weight + 1) - slow_total / (slow_weight + 1), rel=1e-7, abs=1e-10)
        weight, total, squares = sums(posts, now, 5 * HOUR_NS)
        assert split[bar] == pytest.approx(math.sqrt(squares / weight - (total / weight) ** 2), rel=1e-7)


@given(seed=st.integers(0, 10_000), size=st.integers(0, 40))
def test_the_order_in_which_posts_come_makes_no_difference_once_all_are_known(seed: int, size: int) -> None:
    posts = made(seed, size, hours=5)
    shuffled = [post | {"known_ns": 5 * HOUR_NS} for post in reversed(posts)]
    np.testing.assert_allclose(values(Mood("3h"), posts, 6)[5], values(Mood("3h"), shuffled, 6)[5], rtol=1e-9)


def test_a_late_post_counts_from_when_it_is_known_for_what_is_left_of_it() -> None:
    post = {"event_ns": HOUR_NS, "known_ns": 3 * HOUR_NS, "score": 1.0}
    found = values(Mood("1h", prior=0.0, min_weight=0.1), [post, {"known_ns": 1, "score": -1.0}], 3)
    assert found[:2].tolist() == [-1.0, -1.0]
    left, old = 2.0**-2, 2.0 ** (-(3 * HOUR_NS - 1) / HOUR_NS)
    assert found[2] == pytest.approx((left - old) / (left + old))


def test_only_the_first_score_of_a_post_counts() -> None:
    posts = [{"known_ns": 5, "score": 0.5}, {"known_ns": 6, "score": -1.0, "revision": 1}]
    assert values(Mood("6h", prior=0.0), posts, 1)[0] == 0.5


def test_a_score_that_is_no_number_and_a_post_without_weight_are_no_posts() -> None:
    posts = [
        {"known_ns": 5, "score": 0.5},
        {"known_ns": 6, "score": math.nan},
        {"known_ns": 7, "weight": 0.0, "score": 1.0},
    ]
    assert values(Mood("6h", prior=0.0), posts, 1)[0] == 0.5


def test_warming_ready_and_stale() -> None:
    posts = [{"known_ns": HOUR_NS, "score": 1.0, "weight": 0.6}, {"known_ns": 2 * HOUR_NS, "score": 1.0, "weight": 0.6}]
    signal = Mood("6h", min_weight=1.0, max_age="3h")
    assert states(signal, posts, 6) == [WARMING, OK, OK, OK, OK, STALE]
    assert states(Mood("1h"), [{"known_ns": 1}], 6) == [OK, OK, OK, OK, STALE, STALE]  # four half-lives
    assert states(Mood("1h", max_age="never"), [{"known_ns": 1}], 30)[-1] == OK
    assert states(Mood("6h"), [{"known_ns": 1}], 5, max_age_ns=2 * HOUR_NS) == [OK, OK, STALE, STALE, STALE]
    assert states(Mood("6h"), [], 2) == [WARMING, WARMING]


def test_scores_of_a_model_that_is_not_pinned_are_ignored_and_named() -> None:
    known = {"known_ns": 1, "score": 1.0}
    stray = {"known_ns": 2 * HOUR_NS, "score": -1.0, "weight": 9.0, "trusted": 0}
    assert values(Mood("6h", prior=0.0), [known, stray], 3).tolist() == [1.0, 1.0, 1.0]
    assert states(Mood("6h", max_age="2h"), [known, stray], 4) == [OK, OK, ORIGIN, ORIGIN]
    assert states(Mood("6h"), [stray], 2) == [WARMING, ORIGIN]


def test_own_coin_other_coin_and_market() -> None:
    posts = [{"known_ns": 1, "coin": coin, "score": score} for coin, score in ((0, 0.2), (1, 0.4), (-1, 0.8), (2, 1.0))]
    closes = of_closes([1.0, 1.0])
    columns = {name: np.ones((2, 2)) for name in ("open", "high", "low", "close", "volume")}
    both = Inputs.at_closes(
        ("A/USDT", "B/USDT"), ("A", "B", "C"), HOUR_NS, closes.close_ns, columns, sentiment=tape(posts)
    )
    bound = {
        name: Mood("6h", prior=0.0, coin=coin)
        for name, coin in (("own", None), ("market", "*"), ("other", "C"), ("no", "X"))
    }
    rows, found = evaluate(bound, both)
    np.testing.assert_allclose(rows[0, :, :4], [[0.2, 0.8, 1.0, np.nan], [0.4, 0.8, 1.0, np.nan]])
    assert (found == WARMING | 3 << 3).all()


def test_attention_is_a_score_over_hours_without_the_running_one() -> None:
    rng = np.random.default_rng(4)
    counts = rng.poisson(6, 60)
    posts = [{"known_ns": int(hour * HOUR_NS + 1 + i)} for hour, count in enumerate(counts) for i in range(count)]
    found = values(Attention("24h"), posts, 60)
    for hour in range(60):
        past = counts[hour - 24 : hour] if hour > 24 else None  # the first hour was seen in part only
        if past is None:
            assert math.isnan(found[hour])
        else:
            assert found[hour] == pytest.approx((counts[hour] - past.mean()) / max(past.std(), 1.0))


def test_a_post_on_the_hour_belongs_to_the_hour_it_ends() -> None:
    steady = [{"known_ns": hour * HOUR_NS} for hour in range(1, 12)]
    assert values(Attention("4h"), steady, 11)[-1] == 0.0
    burst = steady + [{"known_ns": 11 * HOUR_NS}] * 3
    assert values(Attention("4h"), burst, 11)[-1] == 3.0


def test_late_posts_go_to_the_hour_they_were_written_in() -> None:
    steady = [{"known_ns": hour * HOUR_NS} for hour in range(1, 13)]
    late = {"known_ns": 12 * HOUR_NS, "event_ns": 10 * HOUR_NS}
    found = values(Attention("4h"), [*steady, late], 12)[-1]
    assert found == pytest.approx((1 - 1.25) / 1.0)
    ancient = {"known_ns": 12 * HOUR_NS, "event_ns": -300 * HOUR_NS}
    assert values(Attention("4h"), [*steady, ancient], 12)[-1] == 0.0


def test_a_crowd_that_falls_silent() -> None:
    posts = [{"known_ns": hour * HOUR_NS} for hour in range(1, 12)]
    assert states(Attention("4h"), posts, 20)[10:] == [OK] * 5 + [STALE] * 5


def test_no_bar_comes_before_all_else() -> None:
    rows, found = evaluate(
        {"mood": Mood()}, of_closes([1.0, math.nan], sentiment=tape([{"known_ns": 1, "score": 1.0}]))
    )
    assert found[:, 0].tolist() == [OK, NO_BAR]
    assert math.isnan(rows[1, 0, 0])


def test_weights_of_posts() -> None:
    followers = np.array([math.nan, 0.0, 9.0, 99.0, 1e6, 1e9, -5.0])
    expected = [1.0, 1.0, 2.0, 3.0, 7.0, 7.0, 1.0]
    np.testing.assert_allclose([post_weight(number) for number in followers], expected, atol=1e-5)
    np.testing.assert_allclose(post_weights(followers, 0.5), 0.5 * np.array(expected), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Mood("soon"), "Mood.half_life"),
        (lambda: Mood(0), "Mood.half_life"),
        (lambda: Mood("6h", prior=-1), "Mood.prior"),
        (lambda: Mood("6h", coin=""), "coin"),
        (lambda: MoodChange("6h", against="2h"), "MoodChange.against"),
        (lambda: Attention("90m"), r"Attention.window / every"),
        (lambda: Attention("1h"), r"Attention.window / every"),
        (lambda: Disagreement("6h", min_weight=math.nan), "Disagreement.min_weight"),
    ],
)
def test_what_a_mood_can_not_be(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()
