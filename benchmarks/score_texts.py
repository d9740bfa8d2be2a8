"""Posts, headlines and articles of realistic lengths, made by a small grammar: what scoring is timed on.

They are no training texts and mean little; what counts is that their lengths, in tokens of a WordPiece vocabulary, are
spread as real ones are: posts around 28, headlines around 16, articles around 330.
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


def post(draw: random.Random) -> str:
    """A few clauses, as people write them."""
    words = [draw.choice(VOICES)] if draw.random() < 0.7 else []
    for _ in range(1 + (draw.random() < 0.55) + (draw.random() < 0.2)):
        words += [draw.choice(COINS), draw.choice(MOVES), draw.choice(LEVELS)]
        if draw.random() < 0.7:
            words.append(draw.choice(REASONS))
        words[-1] += draw.choice((".", ",", " and", "!"))
    return " ".join([*words, draw.choice(TAILS), f"{draw.randrange(1, 999)}" if draw.random() < 0.4 else ""]).strip()


def headline(draw: random.Random) -> str:
    """One sentence of the press."""
    coin, firm = draw.choice(COINS).strip("$").capitalize(), draw.choice(FIRMS).capitalize()
    if draw.random() < 0.5:
        return f"{coin} {draw.choice(MOVES)} {draw.choice(LEVELS)} {draw.choice(REASONS)}"
    return f"{firm} {draw.choice(DEEDS)} {draw.choice(THINGS)} {draw.choice(REASONS)}"


def article(draw: random.Random) -> str:
    """A headline and a dozen or two sentences."""
    sentences = [headline(draw) + "." for _ in range(draw.randrange(14, 32))]
    return headline(draw) + ". " + " ".join(sentences)


KINDS: Final[dict[str, Callable[[random.Random], str]]] = {"posts": post, "headlines": headline, "articles": article}


def texts(kind: str, count: int, seed: int = 7) -> list[str]:
    """So many texts of a kind, the same ones for the same seed."""
    draw = random.Random(f"{kind} {seed}")
    return [KINDS[kind](draw) for _ in range(count)]
