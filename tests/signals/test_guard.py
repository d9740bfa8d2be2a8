"""Who is behind the posts: near-duplicates, floods and jumps, against crowds made for it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals import Attention, Mood, MoodAge, MoodNovelty, SentimentTape, evaluate
from signals.guard import OFF, WHY, Guard, GuardLimits, floods, is_flood, verdicts
from signals.inputs import Inputs, ids_of, of_closes
from signals.kernels_guard import COIN_SLOTS
from signals.kernels_tables import TABLE_PLACES
from signals.ops import (
    AUTHOR,
    DUPLICATES,
    FINE,
    JUMP,
    OK,
    SMALL,
    SOURCE,
    STALE,
    STRANGERS,
    SUSPECT,
    TEMPLATE,
    TRICKS,
)  # fmt: skip

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LIMITS = GuardLimits(posts=15, z=6.0, share=0.5, pause_ns=6 * HOUR, jump=0.5)
NO_JUMPS = replace(LIMITS, jump=math.inf)
Posts = list[dict[str, Any]]


def tape(posts: Posts) -> SentimentTape:
    """Posts by their columns; what isn't said is ordinary: a known author with followers, a text of its own."""
    full = []
    for number, post in enumerate(sorted(posts, key=lambda post: post["known_ns"])):
        ordinary = {"coin": 0, "event_ns": post["known_ns"], "score": 0.2, "weight": 3.0, "author": 10 + number % 40}
        ordinary |= {"source": 1 + number % 2, "revision": 0, "trusted": 1, "cluster": 10**6 + number, "flags": 0}
        full.append(ordinary | post)
    return SentimentTape(**{name: np.array([post[name] for post in full]) for name in full[0]})


def crowd(days: float = 10.0, every: int = 20 * MINUTE, **columns: Any) -> Posts:
    """An ordinary crowd of two sources and forty authors."""
    return [{"known_ns": at, **columns} for at in range(HOUR, int(days * DAY), every)]


def burst(at_ns: int, count: int = 200, minutes: int = 30, **columns: Any) -> Posts:
    """Posts evenly within some minutes; a column may be a function of the post's number."""
    step = minutes * MINUTE // count
    return [
        {"known_ns": at_ns + i * step} | {k: v(i) if callable(v) else v for k, v in columns.items()}
        for i in range(count)
    ]


def judged(posts: Posts, limits: GuardLimits = NO_JUMPS, bars: int = 300) -> tuple[Inputs, list[int]]:
    """Inputs of one symbol with these posts, and why each was discounted."""
    inputs = of_closes([1.0] * bars, sentiment=tape(posts))
    return inputs, verdicts(inputs, limits).why.tolist()


def own(i: int) -> int:
    """An author of his own for each post."""
    return 10**9 + i


# --- near-duplicates --------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999), size=st.integers(1, 60))
def test_the_kth_of_near_duplicates_counts_one_over_k(seed: int, size: int) -> None:
    """Against a plain count by coin and text, which begins anew after a day without the text."""
    rng = np.random.default_rng(seed)
    known = np.sort(rng.integers(1, 6 * DAY, size))
    posts = [
        {"known_ns": int(ns), "cluster": int(rng.integers(0, 4)), "coin": int(rng.integers(-1, 1))} for ns in known
    ]
    inputs = of_closes([1.0], sentiment=tape(posts))
    seen: dict[tuple[int, int], tuple[int, int]] = {}
    expected = []
    for post in posts:
        key = (post["coin"], post["cluster"])
        count, last = seen.get(key, (0, 0))
        count = 1 if post["cluster"] == 0 or post["known_ns"] - last > DAY else count + 1
        seen[key] = (count, post["known_ns"])
        expected.append(1.0 / count)
    assert verdicts(inputs, OFF).share.tolist() == expected


def test_a_mood_of_copies_weighs_little_more_than_one() -> None:
    copies = burst(HOUR, 100, 10, score=1.0, weight=1.0, cluster=5)
    value = evaluate({"m": Mood("1000d", prior=1.0)}, of_closes([1.0, 1.0], sentiment=tape(copies)))[0][1, 0, 0]
    harmonic = sum(1 / k for k in range(1, 101))
    assert value == pytest.approx(harmonic / (harmonic + 1.0), rel=1e-4)


def test_novelty_of_mood_is_the_share_of_what_is_new() -> None:
    texts = [1, 2, 2, 2, 3, 0, 0, 1]
    posts = [{"known_ns": HOUR - 8 + i, "cluster": text, "weight": 1.0 + i} for i, text in enumerate(texts)]
    found = evaluate({"n": MoodNovelty("6h")}, of_closes([1.0], sentiment=tape(posts)))[0][0, 0, 0]
    new = sum(1.0 + i for i in (0, 1, 4, 5, 6))
    assert found == pytest.approx(new / sum(range(1, 9)))


# --- control 21 -------------------------------------------------------------------------------------------------------

FLOODS: dict[int, dict[str, Any]] = {
    DUPLICATES: {"cluster": lambda i: 7 + i % 20, "author": own, "source": lambda i: 1 + i % 2},
    TRICKS: {"flags": 1, "author": own, "source": lambda i: 1 + i % 2},
    TEMPLATE: {"cluster": 7, "author": own},
    AUTHOR: {"author": 77, "source": lambda i: 1 + i % 2},
    STRANGERS: {"author": own, "flags": SMALL, "source": lambda i: 1 + i % 2},
    SOURCE: {"author": own, "source": 9},
}


@pytest.mark.parametrize("why", FLOODS)
def test_each_sign_of_coordination_is_found_out(why: int) -> None:
    """Within the first sixty posts, by the sign that was planted, and frozen until six hours after the last sign."""
    at = 9 * DAY
    inputs, found = judged(crowd() + burst(at, score=1.0, **FLOODS[why]))
    first = next(f for f, reason in enumerate(found) if reason)
    assert found[first] == why or (why == TEMPLATE and found[first] == DUPLICATES), WHY[found[first]]
    before = (inputs.sentiment.known_ns >= at).nonzero()[0][0]
    assert first - before < 60
    last = max(f for f, reason in enumerate(found) if reason)
    until_ns = int(inputs.sentiment.known_ns[last]) + 6 * HOUR
    states = evaluate({"m": Mood()}, inputs, guard=NO_JUMPS)[1][:, 0]
    closes = inputs.close_ns
    frozen = (closes > inputs.sentiment.known_ns[first]) & (closes < until_ns)
    assert (states[frozen] == SUSPECT).all() and frozen.sum() >= 6
    assert (states[~frozen & (closes > 2 * HOUR) & (closes < 10 * DAY)] == OK).all()
    assert [k for _, k in zip(*floods(inputs, NO_JUMPS, None), strict=True)] == [0] * sum(map(is_flood, found))


def test_a_genuine_wave_passes() -> None:
    """Twenty thousand posts of as many authors with followers, each in words of its own, by both sources."""
    wave = burst(9 * DAY, 20_000, 60, score=1.0, author=own, source=lambda i: 1 + i % 2)
    inputs, found = judged(crowd() + wave, LIMITS)
    assert set(found) == {FINE}
    rows, states = evaluate({"m": Mood()}, inputs, guard=LIMITS)
    assert (states[2 : 10 * 24] == OK).all() and rows[9 * 24 + 1, 0, 0] > 0.95


def test_new_faces_in_a_calm_hour_are_no_flood() -> None:
    """Unknown authors count in a burst only, and a coin's first week is all new faces."""
    assert set(judged(crowd(author=0, flags=SMALL))[1]) == {FINE}
    early = crowd(3.0) + burst(2 * DAY, author=own, flags=SMALL, source=lambda i: 1 + i % 2)
    assert set(judged(early)[1]) == {FINE}


def test_what_is_usual_is_no_flood() -> None:
    """A feed that repeats itself day after day, and one author who writes most of it."""
    ticker = crowd(20.0, 3 * MINUTE, cluster=5, author=77, source=1)
    _, found = judged(ticker)
    settled = found[len(found) // 2 :]
    assert set(settled) == {FINE}
    assert DUPLICATES in found  # at first it looks like one


def test_few_posts_are_never_a_flood() -> None:
    quiet = crowd(10.0, 5 * HOUR) + burst(9 * DAY, 12, 30, cluster=7, author=77, flags=SMALL | 1)
    assert set(judged(quiet)[1]) == {FINE}


def test_a_flood_does_not_make_itself_usual() -> None:
    """A day of it, and the next one is found out as quickly."""
    again = [burst(at, 3000, 24 * 60, cluster=7, author=own, score=1.0) for at in (9 * DAY, 12 * DAY)]
    inputs, found = judged(crowd(15.0) + again[0] + again[1], bars=360)
    known = inputs.sentiment.known_ns
    firsts = [
        int(known[next(f for f, w in enumerate(found) if w and known[f] >= at)]) - at for at in (9 * DAY, 12 * DAY)
    ]
    assert max(firsts) < 20 * MINUTE


def test_what_a_flood_had_contributed_is_taken_back() -> None:
    """After the pause the mood is that of the crowd before the flood, as if nobody had shouted."""
    quiet = [post for post in crowd(score=-0.5) if not 9 * DAY - 2 * HOUR < post["known_ns"] < 9 * DAY + 12 * HOUR]
    flood = burst(9 * DAY, 2000, 30, score=1.0, weight=7.0, author=own, cluster=7)
    bound = {"mood": Mood(max_age="never"), "age": MoodAge(), "loud": Attention("2d")}
    alone = evaluate(bound, judged(quiet)[0], guard=NO_JUMPS)[0]
    flooded, states = evaluate(bound, judged(quiet + flood)[0], guard=NO_JUMPS)
    over = 9 * 24 + 7  # the first close after the pause
    assert (states[9 * 24 : over - 1, 0] == SUSPECT).all() and states[over, 0] == OK
    np.testing.assert_array_equal(flooded[over : over + 5, 0, :2], alone[over : over + 5, 0, :2])
    np.testing.assert_array_equal(flooded[over:, 0, 2], alone[over:, 0, 2])


def test_a_flood_of_one_coin_leaves_the_others_alone() -> None:
    both = [{**post, "coin": coin} for post in crowd() for coin in (0, 1)]
    flood = burst(9 * DAY, 500, 30, score=1.0, cluster=7, coin=1)
    closes = of_closes([1.0] * 240)
    columns = {name: np.ones((240, 2)) for name in ("open", "high", "low", "close", "volume")}
    inputs = Inputs.at_closes(
        ("A/USDT", "B/USDT"), ("A", "B"), HOUR, closes.close_ns, columns, sentiment=tape(both + flood)
    )
    bound = {"own": Mood(), "market": Mood(coin="B")}
    states = evaluate({"own": Mood()}, inputs, guard=NO_JUMPS)[1]
    assert (states[3:, 0] == OK).all() and (states[9 * 24, 1] == SUSPECT)
    assert (evaluate(bound, inputs, guard=NO_JUMPS)[1][9 * 24] & 7 == SUSPECT).all()  # both symbols look at B
    known, symbols = floods(inputs, NO_JUMPS, None)
    assert set(symbols.tolist()) == {1} and len(known) > 100
    assert set(floods(inputs, NO_JUMPS, "B")[1].tolist()) == {0, 1}
    assert len(floods(inputs, NO_JUMPS, "*")[0]) == 0


# --- control 22 -------------------------------------------------------------------------------------------------------


def said(at_ns: int, **columns: Any) -> dict[str, Any]:
    """One loud post."""
    return {"known_ns": at_ns, "score": 1.0, "weight": 7.0, "source": 5, "author": 500, "cluster": 900} | columns


def jumps(posts: Posts) -> list[int]:
    """Which of the loud posts, in order, counted in part only."""
    inputs, found = judged(crowd(10.0, 5 * HOUR, score=0.0, weight=0.2) + posts, LIMITS)
    return [int(found[f] == JUMP) for f in range(len(found)) if inputs.sentiment.score[f] != 0.0]


AT = 9 * DAY


@pytest.mark.parametrize(
    ("posts", "expected"),
    [
        ([said(AT)], [1]),
        ([said(AT), said(AT + MINUTE, author=501, cluster=901)], [1, 1]),  # the same source, however many write there
        ([said(AT), said(AT + MINUTE, source=6, author=501, cluster=901)], [1, 0]),
        ([said(AT), said(AT + MINUTE, source=6, author=501)], [1, 1]),  # the same text
        ([said(AT), said(AT + MINUTE, source=6, cluster=901)], [1, 1]),  # the same author
        ([said(AT), said(AT + MINUTE, source=6, author=501, cluster=901, score=-1.0)], [1, 1]),  # the other way
        ([said(AT), said(AT + 61 * MINUTE, source=6, author=501, cluster=901)], [1, 1]),  # too late
        ([said(AT, author=0, cluster=0), said(AT + MINUTE, source=6, author=0, cluster=0)], [1, 0]),  # nobody looked
        ([said(AT), said(AT, source=6, author=501, cluster=901), said(AT + 2 * MINUTE)], [1, 0, 0]),
        ([said(AT, weight=0.9)], [0]),  # one faint voice is no jump
    ],
)  # fmt: skip
def test_a_jump_needs_two_independent_sources(posts: Posts, expected: list[int]) -> None:
    assert jumps(posts) == expected


def test_a_jump_counts_in_part_and_is_suspect_until_a_witness_comes() -> None:
    quiet = crowd(10.0, HOUR, score=0.0, weight=0.5)
    bound = {"m": Mood(max_age="never")}
    alone, states = evaluate(bound, judged([*quiet, said(AT + 5 * MINUTE)])[0], guard=LIMITS)
    bar = 9 * 24
    assert [states[b, 0] for b in (bar - 1, bar, bar + 1)] == [OK, SUSPECT, OK]  # faded after an hour
    assert alone[bar + 1, 0, 0] < 0.5  # and never counted for more than this
    witness = said(AT + 10 * MINUTE, source=6, author=501, cluster=901)
    rows, states = evaluate(bound, judged([*quiet, said(AT + 5 * MINUTE), witness])[0], guard=LIMITS)
    assert states[bar, 0] == OK and rows[bar, 0, 0] > 0.6


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), side=st.sampled_from([-1.0, 1.0]))
def test_one_source_alone_never_moves_the_mood_by_more_than_the_limit(seed: int, side: float) -> None:
    """Whatever it writes within an hour, however often and loud."""
    rng = np.random.default_rng(seed)
    loud = [
        said(AT + int(rng.integers(0, HOUR)), score=side * rng.uniform(0.1, 1.0), weight=rng.uniform(0.1, 7.0),
             author=int(rng.integers(1, 9)), cluster=int(rng.integers(1, 99)))
        for _ in range(int(rng.integers(1, 60)))
    ]  # fmt: skip
    quiet = [post for post in crowd(10.0, HOUR, score=0.0) if post["known_ns"] < AT]
    inputs = judged(quiet + loud)[0]
    off = replace(LIMITS, share=math.inf)
    mood = evaluate({"m": Mood(max_age="never")}, inputs, guard=off)[0][:, 0, 0]
    assert np.nanmax(np.abs(mood)) <= 0.5 + 1e-9


# --- a source that falls silent ---------------------------------------------------------------------------------------


def test_a_source_that_falls_silent_makes_no_jump() -> None:
    """A cheerful and a gloomy source; the cheerful one stops: the mood moves over as its posts fade, bar by bar."""
    posts = [
        {"known_ns": at, "score": 0.8 if at % HOUR else -0.8, "source": 1 + int(at % HOUR == 0)}
        for at in range(HOUR, 10 * DAY, HOUR // 2)
        if at % HOUR == 0 or at < 8 * DAY
    ]
    found = evaluate({"m": Mood("6h")}, judged(posts)[0], guard=LIMITS)[0][:, 0, 0]
    moves = np.diff(found[8 * 24 - 1 : 10 * 24])
    most = 2.0 * (1.0 - 2.0 ** (-1 / 6))
    assert (np.abs(moves) < most).all() and np.abs(moves).max() < 0.1
    assert found[8 * 24 - 2] > -0.1 and found[10 * 24 - 2] < -0.65


def test_when_all_fall_silent_the_mood_fades_and_its_age_tells() -> None:
    inputs = judged(crowd(5.0, score=0.8), bars=200)[0]
    rows, states = evaluate({"m": Mood("6h"), "age": MoodAge()}, inputs, guard=LIMITS)
    last = 5 * 24
    assert (np.abs(np.diff(rows[last - 1 : last + 20, 0, 0])) < 0.06).all()
    assert rows[last + 10, 0, 1] == pytest.approx(rows[last + 9, 0, 1] + 1.0)
    assert states[last + 26, 0] == STALE and rows[last + 26, 0, 1] > 26.0


# --- how it is kept ---------------------------------------------------------------------------------------------------


def test_memory_is_fixed_however_many_write() -> None:
    """More authors and texts than there are places: the guard forgets whom it saw longest ago, and grows by nothing."""
    guard = Guard(LIMITS, 1)
    before = {name: part.nbytes for name, part in guard.snapshot().items()}
    count = TABLE_PLACES + 20_000
    at = HOUR + np.arange(count) * 5 * MINUTE
    many = SentimentTape(
        coin=np.zeros(count), event_ns=at, known_ns=at, score=np.zeros(count), weight=np.ones(count),
        author=ids_of([f"a{i}" for i in range(count)]), source=np.ones(count), revision=np.zeros(count),
        cluster=np.arange(1, count + 1), flags=np.full(count, SMALL),
    )  # fmt: skip
    assert not guard.judge_all(many).why.any()
    assert {name: part.nbytes for name, part in guard.snapshot().items()} == before
    assert before["_slab"] == 2 * COIN_SLOTS * 8


def test_one_at_a_time_and_restarted_is_all_at_once() -> None:
    posts = tape(crowd() + burst(9 * DAY, 400, 30, score=1.0, cluster=lambda i: i % 3, author=own, flags=SMALL))
    whole = Guard(LIMITS, 1).judge_all(posts)
    guard = Guard(LIMITS, 1)
    columns: Sequence[str] = (
        *("coin", "event_ns", "known_ns", "score", "weight"),
        *("author", "source", "cluster", "flags", "revision", "trusted"),
    )
    for f in range(len(posts)):
        if f % 300 == 7:
            fresh = Guard(LIMITS, 1)
            fresh.restore(guard.snapshot())
            guard = fresh
        found = guard.judge(*(getattr(posts, name)[f].item() for name in columns))
        assert found == tuple(column[f].item() for column in vars(whole).values())
    assert whole.back.max() > 0


def test_names_have_the_same_number_in_every_run() -> None:
    assert ids_of(["ann", "", "bob"]).tolist() == [ids_of(["ann"])[0], 0, ids_of(["bob", "zoe"])[0]]
    assert len(set(ids_of([f"a{i}" for i in range(1000)]).tolist())) == 1000


def test_a_ninth_source_takes_the_place_of_the_one_silent_longest() -> None:
    """Eight are remembered: the ninth still finds its witness, and memory doesn't grow."""
    before = [said(AT - (40 - i) * MINUTE, source=20 + i, author=600 + i, cluster=700 + i) for i in range(9)]
    assert jumps([*before[:1], before[8], said(AT)])[:2] == [1, 0]
    assert jumps(before) == [1, *[0] * 8]  # the second, and whoever follows, has a witness among those remembered
