"""The synthetic crowd at work: who writes what about which coin, when, and when it reaches us.

The law of this file: a post written in hour h draws its tone from the mood at the start of hour h and quotes prices
of hours that had closed by then. Nothing in a post looks forward; in the planted coins it is the price that follows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from data.sample_market import COINS, F8, HOUR_NS, HOURS, I8, START_NS, Market, activity, stream
from data.sample_voices import DESKS, HANDLE_FIRST, HANDLE_LAST
from data.sample_writer import BOT, DESK, FLOOD, MARKET_TOPIC, SPAM, Draw, Writer

SOCIAL: Final = "synthetic:social"
NEWS: Final = "synthetic:news"
_ORGANIC_POSTS = 38_900  # floods add about 1,100
_FLOOD_COUNT = 28
_AUTHORS = (2600, 700, len(DESKS), 24, 900, 180, 60)  # per voice
_FIRST_AUTHOR = tuple(int(value) for value in np.concatenate(([0], np.cumsum(_AUTHORS)[:-1])))
_VOICE_SHARES = (0.50, 0.13, 0.13, 0.09, 0.11, 0.04)
_VOICE_SHARES_MARKET = (0.42, 0.05, 0.15, 0.00, 0.34, 0.04)
_EDITS: Final = ("EDIT: typo", "(edit: fixed a typo)", "edit: levels updated", "EDIT: still my view", "edit: no link")
_UPDATES: Final = ("UPDATE: ", "CORRECTED: ", "Updated: ")


@dataclass(frozen=True)
class Plan:
    """Posts before they have words, ascending by `event_ns`; arrays of one length.

    `topic` is a coin's number or `MARKET_TOPIC`, `tone` -1, 0 or 1 is what the writer means, `burst` the flood's number
    or -1, `nonce` seeds the wording. `edited_ns` is when an edited version became known, or -1.
    """

    event_ns: I8
    known_ns: I8
    edited_ns: I8
    topic: I8
    voice: I8
    tone: I8
    author: I8
    burst: I8
    nonce: NDArray[np.uint64]


# ---- who writes when ---------------------------------------------------------------------------------------------


def _arrivals(rng: np.random.Generator, market: Market) -> tuple[I8, I8]:
    """Return hour and topic of each organic post: more by day, in wild hours and when feelings run high."""
    mood = np.column_stack([market.mood, market.crowd])
    moved = np.abs(np.column_stack([market.shock, market.shock[:, 0]]))
    before = np.minimum(np.concatenate([np.ones((1, mood.shape[1])), moved[:-1]]), 4.0)
    rate = activity(HOURS)[:, None] * (0.7 + 0.3 * before) * (0.9 + 0.12 * np.abs(mood))
    shares = np.array([*(coin.share for coin in COINS), 1.0 - sum(coin.share for coin in COINS)])
    counts = rng.poisson(rate / rate.sum(axis=0) * shares * _ORGANIC_POSTS)
    cells = np.repeat(np.arange(counts.size), counts.ravel())
    return cells // counts.shape[1], cells % counts.shape[1]


def _floods(rng: np.random.Generator) -> tuple[I8, I8, I8, I8]:
    """Return hour, topic, offset in ns and burst number of the near-duplicate posts of all floods."""
    size = rng.integers(20, 60, size=_FLOOD_COUNT)
    hour = rng.integers(24, HOURS - 1, size=_FLOOD_COUNT)
    topic = rng.integers(0, len(COINS), size=_FLOOD_COUNT)
    span_ms = rng.integers(8 * 60_000, 40 * 60_000, size=_FLOOD_COUNT)
    burst = np.repeat(np.arange(_FLOOD_COUNT), size)
    offset = (rng.random(len(burst)) * span_ms[burst]).astype(np.int64) * 1_000_000
    return hour[burst], topic[burst], offset, burst


def _tones(rng: np.random.Generator, market: Market, hour: I8, topic: I8, voice: I8, author: I8) -> I8:
    """Return what each writer means: the mood of the hour, the writer's own leaning, and noise."""
    feeling = np.column_stack([market.mood, market.crowd])[hour, topic]
    leaning = 0.45 * rng.standard_normal(sum(_AUTHORS))
    level = 0.85 * feeling + leaning[author] + 0.9 * rng.standard_normal(len(hour))
    day = np.cumsum(np.concatenate([np.zeros((1, len(COINS))), market.shock]), axis=0)
    past = (day[hour] - day[np.maximum(hour - 24, 0)]) / np.sqrt(24.0)  # shocks of the 24 hours before this one
    reported = np.append(past, past.mean(axis=1)[:, None], axis=1)[np.arange(len(hour)), topic]
    level = np.where(voice == DESK, 0.75 * feeling + 0.4 * reported + 0.6 * rng.standard_normal(len(hour)), level)
    tone = np.where(level > 0.55, 1, np.where(level < -0.55, -1, 0))
    return np.where(voice <= DESK, tone, 0).astype(np.int64)


def make_plan(seed: int, market: Market) -> Plan:
    """Return the whole year's posts without words, in the order they were written."""
    rng = stream(seed, 30)
    hour, topic = _arrivals(rng, market)
    offset = (rng.random(len(hour)) * 3_600_000).astype(np.int64) * 1_000_000
    usual = np.searchsorted(np.cumsum(_VOICE_SHARES)[:-1], rng.random(len(hour)), side="right")
    general = np.searchsorted(np.cumsum(_VOICE_SHARES_MARKET)[:-1], rng.random(len(hour)), side="right")
    voice = np.where(topic == MARKET_TOPIC, general, usual)

    flood_hour, flood_topic, flood_offset, burst = _floods(stream(seed, 31))
    hour, topic = np.concatenate([hour, flood_hour]), np.concatenate([topic, flood_topic])
    offset = np.concatenate([offset, flood_offset])
    voice = np.concatenate([voice, np.full(len(flood_hour), FLOOD)]).astype(np.int64)
    burst = np.concatenate([np.full(len(hour) - len(burst), -1), burst]).astype(np.int64)
    event_ns = START_NS + hour * HOUR_NS + offset
    order = np.lexsort((np.arange(len(hour)), event_ns))
    order = order[event_ns[order] < START_NS + HOURS * HOUR_NS]
    hour, topic, voice, burst, event_ns = (values[order] for values in (hour, topic, voice, burst, event_ns))

    rng = stream(seed, 32)
    # A few write much, most write little: the square of a uniform draw favours low numbers.
    members = np.array(_AUTHORS)[voice]
    author = np.array(_FIRST_AUTHOR)[voice] + (rng.random(len(hour)) ** 2 * members).astype(np.int64)
    tone = _tones(rng, market, hour, topic, voice, author)
    known_ns, edited_ns = _delays(stream(seed, 33), event_ns, voice)
    nonce = stream(seed, 34).integers(0, 2**64, size=len(hour), dtype=np.uint64)
    return Plan(event_ns, known_ns, edited_ns, topic, voice, tone, author, burst, nonce)


def _delays(rng: np.random.Generator, event_ns: I8, voice: I8) -> tuple[I8, I8]:
    """Return when each post arrived (seconds to minutes, 1.5 % hours late) and when 2 % of them were edited."""
    count = len(event_ns)
    median_s = np.where(voice == DESK, 75.0, 22.0)
    delay_s = 2.0 + median_s * np.exp(0.9 * rng.standard_normal(count))
    late = rng.random(count) < 0.015
    delay_s = np.where(late, 3_600.0 * (1.0 + 8.0 * rng.random(count)), delay_s)
    known_ns = event_ns + np.rint(delay_s * 1_000).astype(np.int64) * 1_000_000
    edit_ms = (180_000 + rng.random(count) * 6 * 3_600_000).astype(np.int64)
    edited = (rng.random(count) < 0.02) & (voice < BOT)
    return known_ns, np.where(edited, known_ns + edit_ms * 1_000_000, -1)


# ---- who they are ------------------------------------------------------------------------------------------------


def make_authors(seed: int) -> tuple[list[str], F8]:
    """Return handles and follower counts by author: a fat tail, desks large, spammers small, 3 % unknown (NaN)."""
    rng = stream(seed, 40)
    names: list[str] = []
    pairs = len(HANDLE_FIRST) * len(HANDLE_LAST)
    for number in range(sum(_AUTHORS)):
        voice = int(np.searchsorted(_FIRST_AUTHOR, number, side="right")) - 1
        within = number - _FIRST_AUTHOR[voice]
        if voice == DESK:
            names.append(DESKS[within])
        elif voice == BOT:
            names.append(f"pricefeed_{within:02d}")
        elif voice >= SPAM:
            names.append(f"{'winbig' if voice == SPAM else 'pumpcall'}{within * 7919 % 10_007:05d}")
        else:
            first = HANDLE_FIRST[number % len(HANDLE_FIRST)]
            last = HANDLE_LAST[number // len(HANDLE_FIRST) % len(HANDLE_LAST)]
            names.append(f"{first}_{last}{number // pairs:02d}")
    voices = np.repeat(np.arange(len(_AUTHORS)), _AUTHORS)
    tail = 90.0 * ((1.0 - rng.random(len(names))) ** (-1.0 / 1.15) - 0.9)  # Pareto, exponent 1.15
    scale = np.array([1.0, 1.2, 0.0, 6.0, 0.6, 0.05, 0.02])[voices]
    followers = np.floor(np.minimum(tail * scale, 2_500_000.0))
    followers[voices == DESK] = np.floor(40_000 + 860_000 * rng.random(len(DESKS)) ** 2)
    unknown = (rng.random(len(names)) < 0.03) & (voices != DESK)
    return names, np.where(unknown, np.nan, followers)


# ---- all together ------------------------------------------------------------------------------------------------


def cut_plan(plan: Plan, until_ns: int) -> Plan:
    """Return the posts written before `until_ns`: a short sample is the beginning of the long one."""
    count = int(np.searchsorted(plan.event_ns, until_ns))
    return replace(plan, **{name: values[:count] for name, values in vars(plan).items()})


def post_columns(seed: int, market: Market, plan: Plan) -> dict[str, Any]:
    """Return the columns of the posts' table, first versions and edited ones, ordered by `known_ns`."""
    names, followers = make_authors(seed)
    writer = Writer(market)
    columns = (plan.event_ns, plan.topic, plan.voice, plan.tone, plan.burst, plan.nonce, plan.edited_ns)
    texts: list[str] = []
    edited_texts: list[str] = []
    for event_ns, topic, voice, tone, burst, nonce, edited_ns in zip(*(c.tolist() for c in columns), strict=True):
        draw = Draw(nonce)
        hour = (event_ns - START_NS) // HOUR_NS
        words = writer.text(draw, topic=topic, hour=hour, voice=voice, tone=tone, burst=burst)
        texts.append(words)
        if edited_ns >= 0:
            edited_texts.append(draw.pick(_UPDATES) + words if voice == DESK else f"{words} {draw.pick(_EDITS)}")
    edited = np.flatnonzero(plan.edited_ns >= 0)
    at = np.concatenate([np.arange(len(texts)), edited])
    known_ns = np.concatenate([plan.known_ns, plan.edited_ns[edited]])
    order = np.lexsort((at, known_ns))
    at, all_texts = at[order], texts + edited_texts
    desk = (plan.voice[at] == DESK).tolist()
    keys = [f"synthetic-{number:06d}" for number in at.tolist()]
    return {
        "source": [NEWS if is_desk else SOCIAL for is_desk in desk],
        "key": keys,
        "event_ns": plan.event_ns[at],
        "known_ns": known_ns[order],
        "revision": (order >= len(texts)).astype(np.int32),
        "quality": "recorded",
        "text": [all_texts[number] for number in order.tolist()],
        "author": [names[number] for number in plan.author[at].tolist()],
        "followers": followers[plan.author[at]],
        "url": [f"https://{'news' if d else 'social'}.synthetic.invalid/{k}" for d, k in zip(desk, keys, strict=True)],
    }
