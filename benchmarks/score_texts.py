"""Posts, headlines and articles of realistic lengths, made by a small grammar: what scoring is timed on.

They are no training texts and mean little. What counts is that their lengths are spread as real ones are, since padding
is the main loss of a naive batch: batches of 32 posts in the order they come are half padding.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

COINS: Final = ("bitcoin", "ethereum", "$SOL", "solana", "$BTC", "$ETH", "dogecoin", "$XRP", "cardano", "chainlink")
MOVES: Final = (
    *(
        "breaks out above",
        "slips below",
        "holds",
        "retests",
        "rejects",
        "climbs past",
        "crashes through",
        "hovers near",
    ),
    *("closes above", "wicks under"),
)
LEVELS: Final = (
    "support",
    "resistance",
    "the 200 day average",
    "the weekly open",
    "last month's high",
    "the range low",
)
REASONS: Final = (
    *("as volume dries up", "while funding turns negative", "after the exchange halted withdrawals", "on ETF inflows"),
    *("because miners keep selling", "as whales accumulate", "ahead of the unlock", "despite the lawsuit"),
    *("with open interest at a record", "and nobody is talking about it", "after a short squeeze", "on thin liquidity"),
)
VOICES: Final = (
    *(
        "honestly not worried,",
        "this is it guys,",
        "called it last week:",
        "I was wrong,",
        "stay patient,",
        "careful here,",
    ),
    *("unpopular opinion:", "chart looks clean,", "can't believe it,", "my plan is simple:", "just sold half,", "gm,"),
)
TAILS: Final = (
    *("adding on every dip", "taking profit here", "no position for now", "stop is tight", "let's see the close first"),
    *("this time looks different", "not financial advice", "what are you doing?", "the trend is still down", "LFG 🚀"),
)
FIRMS: Final = (
    "the regulator",
    "a London fund",
    "the exchange",
    "a large custodian",
    "the foundation",
    "its developers",
)
DEEDS: Final = (
    "approves",
    "delays",
    "sues over",
    "expands",
    "halts",
    "audits",
    "quietly drops",
    "prices in",
    "reviews",
)
THINGS: Final = (
    "staking products",
    "the listing",
    "a token sale",
    "the bridge",
    "its reserves",
    "a new fund",
    "the upgrade",
)


# Words at the quantiles SHARES: tweets about bitcoin, headlines of crypto sites, and articles of a newspaper's length.
SHARES: Final = (0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
WORDS: Final = {
    "posts": (1, 2, 4, 9, 18, 33, 41, 49, 55),
    "headlines": (4, 6, 8, 9, 11, 14, 17, 22, 26),
    "articles": (60, 80, 140, 185, 230, 280, 330, 420, 500),
}


def _length(kind: str, draw: random.Random) -> int:
    """Words of the next text, between the quantiles by straight lines."""
    at = draw.random()
    high = next(index for index, share in enumerate(SHARES) if share >= at and index)
    low = high - 1
    part = (at - SHARES[low]) / (SHARES[high] - SHARES[low])
    return round(WORDS[kind][low] + part * (WORDS[kind][high] - WORDS[kind][low]))


def _cut(kind: str, draw: random.Random, clause: Callable[[random.Random], str]) -> str:
    """Clauses one behind the other, as many words as were drawn."""
    wanted = _length(kind, draw)
    words: list[str] = []
    while len(words) < wanted:
        words += clause(draw).split()
    return " ".join(words[:wanted])


def _said(draw: random.Random) -> str:
    """A clause as people write it."""
    words = [draw.choice(VOICES)] if draw.random() < 0.5 else []
    words += [draw.choice(COINS), draw.choice(MOVES), draw.choice(LEVELS)]
    if draw.random() < 0.6:
        words.append(draw.choice(REASONS))
    words[-1] += draw.choice((".", ",", " and", "!"))
    return " ".join([*words, draw.choice(TAILS), f"{draw.randrange(1, 999)}" if draw.random() < 0.3 else ""]).strip()


def _printed(draw: random.Random) -> str:
    """A sentence of the press."""
    coin, firm = draw.choice(COINS).strip("$").capitalize(), draw.choice(FIRMS).capitalize()
    if draw.random() < 0.5:
        return f"{coin} {draw.choice(MOVES)} {draw.choice(LEVELS)} {draw.choice(REASONS)}."
    return f"{firm} {draw.choice(DEEDS)} {draw.choice(THINGS)} {draw.choice(REASONS)}."


def post(draw: random.Random) -> str:
    """A post."""
    return _cut("posts", draw, _said)


def headline(draw: random.Random) -> str:
    """A headline."""
    return _cut("headlines", draw, _printed)


def article(draw: random.Random) -> str:
    """An article."""
    return _cut("articles", draw, _printed)


KINDS: Final[dict[str, Callable[[random.Random], str]]] = {"posts": post, "headlines": headline, "articles": article}


def texts(kind: str, count: int, seed: int = 7) -> list[str]:
    """So many texts of a kind, the same ones for the same seed."""
    draw = random.Random(f"{kind} {seed}")
    return [KINDS[kind](draw) for _ in range(count)]
