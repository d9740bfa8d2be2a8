"""How the synthetic crowd words a post: a template of its voice, filled, dressed and now and then disguised."""

from __future__ import annotations

import html
from typing import Final

import numpy as np

from data.sample_market import COINS, Market
from data.sample_voices import (
    CORES,
    FLOODS,
    LOOK_ALIKES,
    MARKET_NAMES,
    NOBODY,
    SPAM_MANY,
    SPAM_ONE,
    WORDS,
    ZERO_WIDTH,
    Template,
    compiled,
)

MARKET_TOPIC: Final = len(COINS)  # the market in general, or nothing in particular
VOICES: Final = ("trader", "holder", "desk", "bot", "chatter", "spam", "flood")
TONES: Final = ("down", "flat", "up")  # index = tone + 1

TRADER, HOLDER, DESK, BOT, CHATTER, SPAM, FLOOD = range(7)
_FORMS: Final = {
    "trader": ("plain",) * 67 + ("slang",) * 18 + ("negated",) * 10 + ("sarcasm",) * 5,
    "holder": ("plain",),
    "desk": ("plain",) * 85 + ("reversed",) * 15,
}
_COMPILED: Final[dict[str, Template]] = {
    text: compiled(text) for block in (*CORES.values(), *NOBODY.values(), SPAM_ONE, SPAM_MANY, FLOODS) for text in block
}


class Draw:
    """A small generator for wording: one multiplication a choice, and each post's words depend on its nonce alone."""

    __slots__ = ("state",)

    def __init__(self, nonce: int) -> None:
        self.state = nonce

    def number(self, below: int) -> int:
        """Return a whole number in [0, below); multiplier and increment by Knuth (MMIX)."""
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & 0xFFFF_FFFF_FFFF_FFFF
        return (self.state >> 33) % below

    def pick(self, options: tuple[str, ...]) -> str:
        """Return one of the options."""
        return options[self.number(len(options))]

    def chance(self, percent: float) -> bool:
        """Return True in `percent` of 100 calls."""
        return self.number(10_000) < percent * 100


def _mentions(ticker: str, name: str) -> tuple[str, ...]:
    """Return the ways people write a coin, repeated by how usual they are; `_dress` adds a cue to a bare ticker."""
    usual = (f"${ticker}",) * 9 + (name,) * 4 + (name.capitalize(),) * 3
    return usual + (f"#{name}",) * 2 + (f"${ticker.lower()}",) * 2 + (ticker,) * 3


_AS_WRITTEN: Final = tuple(_mentions(coin.coin, coin.name) for coin in COINS)
_IN_CONTEXT: Final = tuple(
    (f"the {coin.coin} chart", f"{coin.coin} price", f"{coin.coin}/USDT", f"{coin.coin} price action") for coin in COINS
)
_BY_DESK: Final = tuple((coin.name.capitalize(),) * 3 + (f"{coin.name.capitalize()} ({coin.coin})",) for coin in COINS)
_OTHERS: Final = tuple(
    tuple(f"${other.coin}" for other in COINS if other is not coin)
    + tuple(other.name for other in COINS if other is not coin)
    for coin in COINS
)
_ALL: Final = tuple(f"${coin.coin}" for coin in COINS)


def _price(value: float, decimals: int) -> str:
    return f"{value:,.{min(decimals, 2) if value >= 10 else decimals}f}"


def _round_level(value: float, direction: int, step: int) -> str:
    """Return a round price `step` notches above or below: what people draw lines at."""
    notch = 10.0 ** np.floor(np.log10(value)) / 20.0
    level = (np.floor(value / notch) + (step if direction > 0 else 1 - step)) * notch
    return f"{level:,.0f}" if level >= 1_000 else f"{level:.3g}"


class Writer:
    """Fills the slots of templates for one market, post by post."""

    def __init__(self, market: Market) -> None:
        # Row h is what the tape showed when hour h began: no post quotes a close that was still to come.
        self.last = np.vstack([market.open[:1], market.close])
        self.common = np.log(self.last / self.last[0]).mean(axis=1)

    def slots(self, draw: Draw, *, topic: int, hour: int, voice: int) -> dict[str, str]:
        """Return the words of this post's own slots."""
        before = max(hour - 24, 0)
        number = draw.number(900_000) + 1_000
        if topic == MARKET_TOPIC:
            name = draw.pick(MARKET_NAMES)
            change = self.common[hour] - self.common[before]
            slots = {"c": name, "k": name, "n": name, "t": "", "o": draw.pick(("stocks", "gold", "cash"))}
            slots |= {"px": "these prices", "lvl": "the highs", "sup": "the lows"}
        else:
            coin = COINS[topic]
            price = float(self.last[hour, topic])
            change = price / float(self.last[before, topic]) - 1.0
            name = draw.pick(_BY_DESK[topic]) if voice == DESK else coin.name.capitalize()
            slots = {"c": draw.pick(_AS_WRITTEN[topic]), "k": draw.pick(_IN_CONTEXT[topic]), "n": name, "t": coin.coin}
            slots |= {"o": draw.pick(_OTHERS[topic]), "px": _price(price, coin.decimals)}
            slots["lvl"] = _round_level(price, 1, 1 + draw.number(3))
            slots["sup"] = _round_level(price, -1, 1 + draw.number(3))
        return slots | {"chg": f"{100 * change:+.1f}%", "amt": str(number)}

    def text(self, draw: Draw, *, topic: int, hour: int, voice: int, tone: int, burst: int) -> str:
        """Return the words of one post."""
        slots = self.slots(draw, topic=topic, hour=hour, voice=voice)
        if voice >= SPAM:
            return _disguise(draw, _spam(draw, slots, voice, burst), 22.0)
        name = VOICES[voice]
        core, form = _core(draw, name, TONES[tone + 1], topic)
        words = _fill(draw, core, slots, _style(draw, name, tone))
        if voice == DESK:
            words = words[0].upper() + words[1:]
        elif voice != BOT:
            words = _dress(draw, words, tone if form != "sarcasm" else 0, slots["c"])
        return _disguise(draw, words, 1.0)


def _core(draw: Draw, voice: str, tone: str, topic: int) -> tuple[str, str]:
    """Return a template and its form."""
    if topic == MARKET_TOPIC and voice in ("trader", "chatter") and draw.chance(55.0):
        return draw.pick(NOBODY[tone]), "plain"
    form = "plain" if tone == "flat" else draw.pick(_FORMS[voice])
    return draw.pick(CORES[voice, tone, form]), form


def _style(draw: Draw, voice: str, tone: int) -> int:
    """Return -1 to write everything small, 1 to shout, 0 to leave it."""
    if voice in ("desk", "bot"):
        return 0
    at = draw.number(100)
    if tone and at < 4:
        return 1
    return -1 if at < 45 else 0


def _fill(draw: Draw, template: str, slots: dict[str, str], style: int) -> str:
    """Return the template with its slots filled; style changes our words, never the names of coins."""
    pieces: list[str] = []
    for literal, slot in _COMPILED[template]:
        own = literal
        if slot and slot not in slots:
            own += draw.pick(WORDS[slot])
            slot = ""
        pieces.append(own.lower() if style < 0 else own.upper() if style > 0 else own)
        if slot:
            pieces.append(slots[slot])
    return "".join(pieces)


def _dress(draw: Draw, words: str, tone: int, mention: str) -> str:
    """Return the words with an opener and a tail as the mood has it, and a crypto cue behind a bare ticker."""
    if draw.chance(20.0):
        words = f"{draw.pick(WORDS['opener'])} {words}"
    if draw.chance(42.0):
        words = f"{words} {draw.pick(WORDS[('gloom', 'shrug', 'joy')[tone + 1]])}"
    if mention.isupper() and mention.isalpha():
        words = f"{words} {draw.pick(WORDS['cue'])}"
    return words


def _spam(draw: Draw, slots: dict[str, str], voice: int, burst: int) -> str:
    """Return spam: posts of one flood share a template, the rest sells something or lists every cashtag there is."""
    if voice == FLOOD:
        return _fill(draw, FLOODS[burst % len(FLOODS)], slots | {"c": f"${slots['t']}"}, 0)
    if slots["t"] == "" or draw.chance(45.0):
        shift = draw.number(len(_ALL))
        return _fill(draw, draw.pick(SPAM_MANY), slots | {"all": " ".join(_ALL[shift:] + _ALL[:shift])}, 0)
    return _fill(draw, draw.pick(SPAM_ONE), slots, 0)


def _disguise(draw: Draw, words: str, percent: float) -> str:
    """Return the words, now and then with look-alike letters, a mark without width, or HTML entities left in."""
    if draw.chance(percent):
        letters = [at for at, letter in enumerate(words) if letter in LOOK_ALIKES]
        for _ in range(min(1 + draw.number(3), len(letters))):
            at = letters[draw.number(len(letters))]
            words = words[:at] + LOOK_ALIKES.get(words[at], words[at]) + words[at + 1 :]
    if draw.chance(percent * 0.6):
        at = 1 + draw.number(max(len(words) - 1, 1))
        words = words[:at] + draw.pick(ZERO_WIDTH) + words[at:]
    return html.escape(words) if draw.chance(5.0) else words
